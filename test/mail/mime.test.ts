/** Full MIME in a worker: what comes out, and what a hostile message costs. */
import { afterEach, describe, expect, test } from 'vitest';
import {
  createMimeParser,
  MIME_LIMITS,
  type MimeParser,
  previewText,
  stopMime,
} from '../../src/mail/mime.ts';

const open: MimeParser[] = [];
function parser(limits: Partial<typeof MIME_LIMITS> = {}): MimeParser {
  const made = createMimeParser({ ...MIME_LIMITS, ...limits });
  open.push(made);
  return made;
}

afterEach(async () => {
  for (const made of open.splice(0)) await made.close();
});

const MIXED = Buffer.from(
  [
    'From: jane@example.org',
    'Content-Type: multipart/mixed; boundary=b',
    '',
    '--b',
    'Content-Type: text/plain; charset=iso-8859-1',
    'Content-Transfer-Encoding: quoted-printable',
    '',
    'Gr=FC=DFe',
    '--b',
    'Content-Type: image/png',
    'Content-Disposition: attachment; filename="x.png"',
    'Content-Transfer-Encoding: base64',
    '',
    'AAAA',
    '--b--',
    '',
  ].join('\r\n'),
);
const plain = (text: string) => Buffer.from(`Subject: x\r\n\r\n${text}`);
const flat = (parts: number) =>
  Buffer.from(
    `Content-Type: multipart/mixed; boundary=b\r\n\r\n${'--b\r\n\r\nx\r\n'.repeat(parts)}`,
  );

test('a message gives its text, decoded, and its attachments by name', async () => {
  expect(await parser().parse(MIXED)).toEqual({
    text: expect.stringMatching(/^Grüße\s*$/),
    attachments: [{ name: 'x.png', type: 'image/png', bytes: 3 }],
  });
});

test('the caller keeps its bytes', async () => {
  const raw = Buffer.from(MIXED);
  await parser().parse(raw);
  expect(raw.equals(MIXED)).toBe(true);
});

test('of HTML alone what can be read is given', async () => {
  const raw = Buffer.from(
    'Content-Type: text/html\r\n\r\n<p>Hello <b>you</b></p><script>x()</script>',
  );
  expect(await parser().parse(raw)).toMatchObject({
    text: expect.stringMatching(/^Hello you\s*$/),
  });
});

test('text is cut at its limit', async () => {
  const outcome = await parser({ textLengthMax: 10 }).parse(plain('0123456789abc'));
  expect(outcome).toMatchObject({ text: '0123456789' });
});

test('many at once are answered each with its own', async () => {
  const { parse } = parser();
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, (_, i) => parse(plain(`mail ${i}`))),
  );
  const texts = outcomes.map((outcome) =>
    'text' in outcome ? outcome.text.trim() : outcome.problem,
  );
  expect(texts).toEqual(Array.from({ length: 20 }, (_, i) => `mail ${i}`));
});

describe('limits', () => {
  test('what is too large, too deep or in too many parts never reaches the parser', async () => {
    const { parse } = parser({ bytesMax: 100_000 });
    expect(await parse(Buffer.alloc(100_001, 'a'))).toEqual({ problem: 'too-large' });
    expect(await parse(flat(1_000))).toEqual({ problem: 'too-many-parts' });
    const deep = Buffer.from('Content-Type: message/rfc822\r\n\r\n'.repeat(100));
    expect(await parse(deep)).toEqual({ problem: 'too-deep' });
  });

  test('a message that takes too long costs its worker, and the next gets a new one', async () => {
    const { parse } = parser({ timeMsMax: 1 });
    const large = plain('=41 '.repeat(2_000_000));
    expect(await parse(large)).toEqual({ problem: 'too-slow' });
    const patient = parser();
    expect(await patient.parse(plain('still here'))).toMatchObject({
      text: expect.stringContaining('still'),
    });
  });

  test('a message that takes too much memory costs its worker only', async () => {
    const { parse } = parser({ memoryMbMax: 24, timeMsMax: 60_000 });
    const large = plain('w\r\n'.repeat(8_000_000));
    expect(await parse(large)).toEqual({ problem: 'unreadable' });
    expect(await parser().parse(plain('still here'))).toMatchObject({
      text: expect.stringContaining('still'),
    });
  });

  test('a parser goes on after a message that killed its worker', async () => {
    const { parse } = parser({ memoryMbMax: 24, timeMsMax: 60_000 });
    const [bad, good] = await Promise.all([
      parse(plain('w\r\n'.repeat(8_000_000))),
      parse(plain('still here')),
    ]);
    expect(bad).toEqual({ problem: 'unreadable' });
    expect(good).toMatchObject({ text: expect.stringContaining('still here') });
  });

  test('more than may wait are answered busy', async () => {
    const { parse } = parser({ waitingMax: 2 });
    const outcomes = await Promise.all([1, 2, 3, 4].map(() => parse(plain('x'))));
    expect(outcomes.filter((outcome) => 'problem' in outcome)).toEqual([{ problem: 'busy' }]);
  });

  test('what waits when it is closed is answered, and so is what comes after', async () => {
    const { parse, close } = parser();
    const waiting = Promise.all([parse(plain('x')), parse(plain('y'))]);
    await close();
    expect(await waiting).toEqual([{ problem: 'stopped' }, { problem: 'stopped' }]);
    expect(await parse(plain('z'))).toEqual({ problem: 'stopped' });
  });

  test('a worker that rested is started again when it is needed', async () => {
    const { parse } = parser({ idleMsMax: 0 });
    expect(await parse(plain('one'))).toMatchObject({ text: expect.stringContaining('one') });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await parse(plain('two'))).toMatchObject({ text: expect.stringContaining('two') });
  });
});

test('a preview is the readable text, or nothing', async () => {
  expect(await previewText(MIXED)).toMatch(/^Grüße/);
  expect(await previewText(flat(1_000))).toBe('');
  await stopMime();
});
