/**
 * Smuggling probes (reliability §4.3 rows 1, 3 and 4; row 2 is exit-smuggling.test.ts, row 5
 * edge-limits.test.ts): what ends a message, against a strict model of bytes.
 *
 * The model: DATA ends at CRLF.CRLF and nowhere else; every other line end is content, and becomes
 * CRLF.
 */
import type { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { SMTPStream } from 'smtp-server/lib/smtp-stream.js';
import { afterEach, describe, expect, test } from 'vitest';
import { createLineEnds } from '../../src/smtp/edge-body.ts';
import { openEdge, type TestEdge } from '../support/edge.ts';
import { connectSmtp, type SmtpClient } from '../support/smtp-client.ts';

let edge: TestEdge;
afterEach(() => edge?.close());

const HEADER = 'Subject: probe\r\n\r\n';
const SMUGGLED = 'MAIL FROM:<evil@x.example>\r\nRCPT TO:<dev@lists.localhost>\r\nDATA\r\nevil';

/** What DATA's bytes say: the message, and what is left for commands; null without an end. */
function model(bytes: string): { message: string; rest: string } | null {
  const end = bytes.startsWith('.\r\n') ? 0 : bytes.indexOf('\r\n.\r\n');
  if (end < 0) return null;
  const isEmpty = bytes.startsWith('.\r\n');
  const stuffed = isEmpty ? '' : bytes.slice(0, end + 2);
  return {
    message: unstuffed(stuffed).replace(/\r\n|\r|\n/g, '\r\n'),
    rest: bytes.slice(isEmpty ? 3 : end + 5),
  };
}

/** One dot of two at the start of a line; a line may follow a bare LF too. */
function unstuffed(text: string): string {
  const rest = text.startsWith('..') ? text.slice(1) : text;
  // A bare LF as the first byte starts no line.
  const fixed = rest.slice(0, rest.length === text.length ? 1 : 0);
  return fixed + rest.slice(fixed.length).replace(/\n\.\./g, '\n.');
}

async function inData(): Promise<SmtpClient> {
  edge = await openEdge();
  const client = await connectSmtp(edge.smtp);
  await client.read();
  await client.sayAll('EHLO x.example', 'MAIL FROM:<a@x.example>', 'RCPT TO:<dev@lists.localhost>');
  await client.sayAll('DATA');
  return client;
}

describe('row 1', () => {
  const ends = ['\n.\n', '\n.\r\n', '\r\n.\n', '\r.\r', '\r.\r\n', '\r\n.\r', '\n.\r', '\r.\n'];
  const dressed = [
    '\r\n\0.\r\n',
    '\r\n.\0\r\n',
    '\r\n. \r\n',
    '\r\r\n.\r\r\n',
    '\n\n.\n\n',
    '\r\n..\r\n',
  ];

  test.each([...ends, ...dressed])('%j does not end a message', async (probe) => {
    const client = await inData();
    const bytes = `${HEADER}one${probe}${SMUGGLED}\r\n.\r\n`;
    await client.write(bytes);
    expect((await client.read()).code).toBe(250);
    expect((await client.say('QUIT')).code).toBe(221);
    expect(edge.accepted.map(({ raw }) => raw.toString('latin1'))).toEqual([model(bytes)?.message]);
    expect(edge.accepted[0]?.raw.toString()).toContain('MAIL FROM:<evil@x.example>\r\n');
  });

  test.each([...ends, ...dressed])('%j split into bytes does not end a message', async (probe) => {
    const client = await inData();
    const bytes = `${HEADER}one${probe}evil\r\n.\r\n`;
    for (const byte of bytes) await client.write(byte);
    expect((await client.read()).code).toBe(250);
    expect(edge.accepted.map(({ raw }) => raw.toString('latin1'))).toEqual([model(bytes)?.message]);
  });

  test('no bare CR or LF is left, and they are counted', async () => {
    const client = await inData();
    await client.write(`${HEADER}a\rb\nc\n\rd\r\n.\r\n`);
    expect((await client.read()).code).toBe(250);
    expect(edge.accepted[0]?.raw.toString()).toBe(`${HEADER}a\r\nb\r\nc\r\n\r\nd\r\n`);
    expect(edge.counted('edge_bare_line_ends')).toBe(4);
  });

  test('where they are to be refused, the message is refused with 554 5.6.0', async () => {
    edge = await openEdge({ limits: { bareLineEnds: 'refuse' } });
    const client = await connectSmtp(edge.smtp);
    await client.read();
    await client.sayAll('EHLO x', 'MAIL FROM:<>', 'RCPT TO:<dev@lists.localhost>', 'DATA');
    await client.write(`${HEADER}a\nb\r\n.\r\n`);
    expect(await client.read()).toMatchObject({ code: 554, status: '5.6.0' });
    expect(edge.accepted).toEqual([]);
  });
});

describe('row 3', () => {
  test('a stranger that speaks before the greeting is closed with 421', async () => {
    edge = await openEdge();
    const client = await connectSmtp(edge.smtp, '127.0.0.9');
    await client.write('EHLO x.example\r\nMAIL FROM:<>\r\n');
    expect((await client.read()).code).toBe(421);
    await client.closed;
  });

  test('an HTTP request is closed with 421', async () => {
    edge = await openEdge();
    const client = await connectSmtp(edge.smtp);
    await client.read();
    expect((await client.say('POST / HTTP/1.1')).code).toBe(421);
    await client.closed;
  });
});

describe('row 4', () => {
  test.each([
    ['with its end', `EHLO ${'x'.repeat(20_000)}\r\n`],
    ['without an end', 'x'.repeat(20_000)],
    ['as a path', `MAIL FROM:<${'"\\a'.repeat(6_000)}>\r\n`],
  ])('a command of more than 16 KB %s is 500, and the connection ends', async (_, line) => {
    edge = await openEdge();
    const client = await connectSmtp(edge.smtp);
    await client.read();
    await client.write(line);
    expect(await client.read()).toMatchObject({ code: 500, status: '5.5.2' });
    await client.closed;
  });
});

// ── However the bytes are cut ─────────────────────────────────────────────

const byte = fc.constantFrom('\r', '\n', '.', '\r\n', '\r\n.', 'a', '\0', '\xff');
const content = fc.array(byte, { maxLength: 40 }).map((bytes) => bytes.join(''));
const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 20 });

/** The bytes in chunks of these lengths, again and again. */
function chunksOf(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = lengths[i % lengths.length] ?? 1;
    chunks.push(bytes.subarray(at, at + length));
    at += length;
  }
  return chunks;
}

/**
 * The library's parser in DATA mode and our line ends, without a socket, so that each chunk is as
 * it was cut.
 */
async function received(chunks: readonly Buffer[]): Promise<{ message: string; rest: string }> {
  const parser = new SMTPStream();
  const out: Buffer[] = [];
  const commands: string[] = [];
  const lineEnds = createLineEnds((bytes) => out.push(Buffer.from(bytes)));
  parser.oncommand = (command, next) => {
    commands.push(command.toString('latin1'));
    next?.();
  };
  const stream: PassThrough = parser.startDataMode();
  const ended = new Promise<void>((resolve) => {
    stream.on('data', (chunk: Buffer) => lineEnds.write(chunk));
    stream.on('end', () => {
      lineEnds.end();
      parser.continue();
      resolve();
    });
  });
  for (const chunk of chunks) {
    await new Promise<void>((resolve) => parser.write(chunk, () => resolve()));
  }
  await ended;
  await new Promise<void>((resolve) => parser.end(() => resolve()));
  return { message: Buffer.concat(out).toString('latin1'), rest: commands.join('\n') };
}

test('a message is the same however its bytes are cut, and ends where the model says', async () => {
  await fc.assert(
    fc.asyncProperty(content, cuts, async (text, lengths) => {
      const bytes = `${text}\r\n.\r\n`;
      const expected = model(bytes);
      const got = await received(chunksOf(Buffer.from(bytes, 'latin1'), lengths));
      expect(got.message).toBe(expected?.message);
    }),
    { numRuns: 2_000 },
  );
});

test('line ends are CRLF however the bytes are cut', () => {
  fc.assert(
    fc.property(content, cuts, (text, lengths) => {
      const out: string[] = [];
      const ends = createLineEnds((bytes) => out.push(Buffer.from(bytes).toString('latin1')));
      for (const chunk of chunksOf(Buffer.from(text, 'latin1'), lengths)) ends.write(chunk);
      ends.end();
      expect(out.join('')).toBe(text.replace(/\r\n|\r|\n/g, '\r\n'));
      const bare = text.replaceAll('\r\n', '').replace(/[^\r\n]/g, '').length;
      expect(ends.rewritten()).toBe(bare);
    }),
    { numRuns: 2_000 },
  );
});

test('over a real socket the same holds, and the session stays in step', async () => {
  edge = await openEdge();
  const client = await connectSmtp(edge.smtp);
  await client.read();
  await client.sayAll('EHLO x.example');
  await fc.assert(
    fc.asyncProperty(content, cuts, async (text, lengths) => {
      const expected = model(`${text}\r\n.\r\n`);
      fc.pre(expected?.rest === '');
      await client.sayAll('MAIL FROM:<>', 'RCPT TO:<dev@lists.localhost>', 'DATA');
      const before = edge.accepted.length;
      for (const chunk of chunksOf(Buffer.from(`${text}\r\n.\r\n`, 'latin1'), lengths)) {
        await client.write(chunk);
      }
      expect((await client.read()).code).toBe(250);
      expect((await client.say('NOOP')).code).toBe(250);
      const mails = edge.accepted.slice(before).map(({ raw }) => raw.toString('latin1'));
      expect(mails).toEqual([expected?.message]);
    }),
    { numRuns: 100 },
  );
});
