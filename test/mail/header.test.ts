/** Reading a header: fields, where they stand, and the bounds. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  HEADER_BYTES_MAX,
  HEADER_LINES_MAX,
  type Header,
  isProblem,
  parseHeader,
} from '../../src/mail/header.ts';
import { expectLinear } from '../support/linear.ts';

function headerOf(raw: string | Uint8Array): Header {
  const header = parseHeader(typeof raw === 'string' ? Buffer.from(raw, 'latin1') : raw);
  if (isProblem(header)) return expect.unreachable(header.problem);
  return header;
}

const pairs = (header: Header) => header.fields.map(({ name, value }) => [name, value]);

describe('fields', () => {
  test('names are lower-case, values unfolded and trimmed, in order', () => {
    const header = headerOf(
      'From: a@x\r\nSUBJECT:  one\r\n\ttwo\r\n  three \r\nTo:\r\n b@y\r\n\r\nbody',
    );
    expect(pairs(header)).toEqual([
      ['from', 'a@x'],
      ['subject', 'one\ttwo  three'],
      ['to', 'b@y'],
    ]);
    expect(header.get('subject')).toBe('one\ttwo  three');
    expect(header.get('cc')).toBeNull();
  });

  test('a name may come more than once', () => {
    const header = headerOf('Received: one\nX: 1\nreceived : two\n\n');
    expect(header.all('received')).toEqual(['one', 'two']);
    expect(header.get('received')).toBe('one');
    expect(header.all('list-id')).toEqual([]);
  });

  test.each([
    ['CRLF', '\r\n'],
    ['LF', '\n'],
  ])('offsets say where each field and the body stand, with %s ends', (_, eol) => {
    const raw = ['A: 1', 'B: 2', '  folded', 'C: 3', '', 'body'].join(eol);
    const header = headerOf(raw);
    const texts = header.fields.map(({ start, end }) => raw.slice(start, end));
    expect(texts).toEqual([`A: 1${eol}`, `B: 2${eol}  folded${eol}`, `C: 3${eol}`]);
    expect(raw.slice(header.end)).toBe(`${eol}body`);
    expect(raw.slice(header.bodyStart)).toBe('body');
  });

  test('raw UTF-8 is read as such, and what is not UTF-8 is shown as U+FFFD', () => {
    expect(headerOf(Buffer.from('Subject: Grüße à\n\n')).get('subject')).toBe('Grüße à');
    expect(headerOf('Subject: Gr\xfc\xdfe\n\n').get('subject')).toBe('Gr\ufffd\ufffde');
  });

  test('a stray CR never stays in a value', () => {
    expect(headerOf('Subject: a\rBcc: b\r\n\r\n').get('subject')).toBe('a Bcc: b');
  });

  test('an mbox line before the header is no field', () => {
    const header = headerOf('From a@x Sat Nov 21 10:00:00 2026\nSubject: x\n\nbody');
    expect(pairs(header)).toEqual([['subject', 'x']]);
    expect(pairs(headerOf('>From a@x Sat Nov 21\nSubject: x\n\n'))).toEqual([['subject', 'x']]);
  });
});

describe('where the header ends', () => {
  test('it may be the whole message', () => {
    expect(headerOf('A: 1\r\nB: 2')).toMatchObject({ end: 10, bodyStart: 10 });
    expect(pairs(headerOf('A: 1\r\nB: 2'))).toEqual([
      ['a', '1'],
      ['b', '2'],
    ]);
  });

  test('it may be empty', () => {
    expect(headerOf('')).toMatchObject({ fields: [], end: 0, bodyStart: 0 });
    expect(headerOf('\r\nbody')).toMatchObject({ fields: [], end: 0, bodyStart: 2 });
  });

  test.each(['no field at all', ': no name', 'two words: x', 'grü: x', ' folded: x'])(
    'a line such as %j begins the body',
    (line) => {
      const header = headerOf(Buffer.from(line.startsWith(' ') ? 'A: 1\n' : `A: 1\n${line}`));
      expect(header).toMatchObject({ end: 5, bodyStart: 5 });
      expect(headerOf(Buffer.from(line))).toMatchObject({ fields: [], bodyStart: 0 });
    },
  );

  test('the body is never read as header', () => {
    expect(headerOf('A: 1\n\nB: 2\n\nC: 3').all('b')).toEqual([]);
  });
});

describe('bounds', () => {
  const filler = (bytes: number) => `${'x'.repeat(900)}\r\n `.repeat(Math.floor(bytes / 903));

  test('a header of 256 KB and 1,000 lines is read', () => {
    const lines = 'A: 1\r\n'.repeat(HEADER_LINES_MAX);
    expect(headerOf(`${lines}\r\nbody`).fields).toHaveLength(HEADER_LINES_MAX);
    const folded = `A: ${filler(HEADER_BYTES_MAX - 1_000)}\r\n`;
    expect(headerOf(`${folded}\r\nbody`).bodyStart).toBe(folded.length + 2);
    expect(headerOf(`${folded}B: 2\r\n\r\n`).get('b')).toBe('2');
  });

  test('exactly 256 KB is still read, one byte more is not', () => {
    const most = `A: ${'x'.repeat(HEADER_BYTES_MAX - 5)}\r\n`;
    expect(most).toHaveLength(HEADER_BYTES_MAX);
    expect(headerOf(`${most}\r\nbody`).end).toBe(HEADER_BYTES_MAX);
    expect(parseHeader(Buffer.from(`x${most}\r\nbody`))).toEqual({ problem: 'header-too-large' });
  });

  test.each([
    ['one field of 1 MB', `A: ${'x'.repeat(1_000_000)}\r\n\r\n`, 'header-too-large'],
    [
      '300 kB without an end',
      `${'A: 1\r\n'.repeat(900)}B: ${'x'.repeat(300_000)}`,
      'header-too-large',
    ],
    ['10,000 fields', `${'A: 1\r\n'.repeat(10_000)}\r\n`, 'header-too-many-lines'],
    ['1,000,000 folds', `A: 1\r\n${' \r\n'.repeat(1_000_000)}\r\n`, 'header-too-many-lines'],
  ])('%s is a problem', (_, raw, problem) => {
    expect(parseHeader(Buffer.from(raw))).toEqual({ problem });
  });

  test('a large body costs nothing', () => {
    const raw = Buffer.concat([Buffer.from('A: 1\r\n\r\n'), Buffer.alloc(5_000_000, 'A: 1\r\n')]);
    expect(headerOf(raw).fields).toHaveLength(1);
  });
});

describe('properties', () => {
  const name = fc.stringMatching(/^[!-9;-~]{1,20}$/);
  const value = fc.stringMatching(/^[!-~]([ -~]{0,40}[!-~])?$/);

  test('fields that were written are read back', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value)), fc.constantFrom('\n', '\r\n'), (fields, eol) => {
        const lines = fields.map(([n, v]) => `${n}: ${v.replaceAll(' ', `${eol} `)}${eol}`);
        const header = headerOf(`${lines.join('')}${eol}body: no`);
        expect(pairs(header)).toEqual(fields.map(([n, v]) => [n.toLowerCase(), v]));
      }),
    );
  });

  test('no bytes throw; fields follow each other, and values hold no line end', () => {
    const piece = fc.oneof(
      fc.constantFrom('A: 1', '\r\n', '\n', '\r', ' ', '\t', ':', '\0', 'From ', '\r\n\r\n'),
      fc.string({ unit: 'binary', maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const raw = Buffer.from(pieces.join(''));
        const header = headerOf(raw);
        for (const [i, field] of header.fields.entries()) {
          const before = header.fields[i - 1];
          if (before !== undefined) expect(field.start).toBe(before.end);
          expect(field.end).toBeGreaterThan(field.start);
          expect(field.value).not.toMatch(/[\r\n]/);
        }
        expect(header.end).toBe(header.fields.at(-1)?.end ?? header.end);
        expect(header.bodyStart).toBeGreaterThanOrEqual(header.end);
        expect(header.bodyStart).toBeLessThanOrEqual(raw.length);
      }),
    );
  });

  test('the cost is linear in the header', () => {
    for (const shape of ['\r', ' ', 'a', ':', '\0', '\xa0', 'a:'])
      expectLinear(
        (n) => Buffer.from(`A: ${shape.repeat(n)}x\n\n`, 'latin1'),
        parseHeader,
        Math.floor(30_000 / shape.length),
      );
  });
});
