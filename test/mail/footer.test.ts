/** The footer: where it goes, where it must not, and that it reads as it was written. */
import fc from 'fast-check';
import { simpleParser } from 'mailparser';
import { expect, test } from 'vitest';
import { cook } from '../../src/mail/cook.ts';
import { message, RECIPE, split, text } from './cook-support.ts';

const PLAIN = { ...RECIPE, footer: 'The footer of dev.\n' };
const bodyOf = (raw: Uint8Array, recipe = PLAIN): string => split(cook(raw, recipe).bytes).body;

test.each([
  'multipart/signed; protocol="application/pgp-signature"; boundary=b',
  'MULTIPART/Signed; boundary=b',
  'multipart/encrypted; boundary=b',
  'multipart/report; report-type=delivery-status; boundary=b',
  'application/pkcs7-mime; smime-type=enveloped-data',
  'application/x-pkcs7-mime',
  'message/rfc822',
  'message/partial; number=1; total=2; id=x',
])('%s is never touched', (type) => {
  const raw = message(`Content-Type: ${type}`, '', '--b', '', 'text ', '--b--', '');
  expect(bodyOf(raw)).toBe(split(raw).body);
  expect(text(cook(raw, PLAIN).bytes)).toContain(`Content-Type: ${type}\r\n`);
});

test.each([
  'multipart/mixed',
  'multipart/mixed; boundary=""',
  'multipart/mixed; boundary=other',
  'multipart/alternative; boundary=other',
  'text',
  '',
])('a message of type %j is malformed, and gets no footer', (type) => {
  const raw = message(`Content-Type: ${type}`, '', '--b', '', 'text', '--b--', '');
  expect(bodyOf(raw)).toBe(split(raw).body);
});

test('a multipart whose encoding is not an identity is malformed, and gets no footer', () => {
  const raw = message(
    'Content-Type: multipart/mixed; boundary=b',
    'Content-Transfer-Encoding: base64',
    ...['', '--b', '', 'text', '--b--', ''],
  );
  expect(bodyOf(raw)).toBe(split(raw).body);
});

test('a closing delimiter counts only after an opening one, at the start of a line', () => {
  const raw = message(
    'Content-Type: multipart/mixed; boundary=b',
    ...['', '--b--', 'x --b--', '--b', '', 'text --b--', '--bb--', '--b--', ''],
  );
  expect(bodyOf(raw)).toMatch(/\r\n--bb--\r\n--b\r\nContent-Type[\s\S]*dev\.\r\n--b--\r\n$/);
});

test('where two lines could close a multipart, none is taken', () => {
  const raw = message(
    'Content-Type: multipart/mixed; boundary=b',
    ...['', '--b', 'Content-Type: multipart/mixed; boundary=b', ''],
    ...['--b', '', 'text', '--b--', '--b--', ''],
  );
  expect(bodyOf(raw)).toBe(split(raw).body);
});

test.each(['utf-16', 'iso-2022-jp', 'utf-7', 'x-unknown'])(
  'a text in %s cannot take ASCII at its end: the footer is a part of its own',
  (charset) => {
    const raw = message(`Content-Type: text/plain; charset=${charset}`, '', 'text', '');
    expect(bodyOf(raw)).toContain(`Content-Type: text/plain; charset=${charset}\r\n\r\ntext\r\n`);
    expect(bodyOf(raw)).toContain('Content-Disposition: inline\r\n\r\nThe footer of dev.\r\n');
  },
);

test('a text that is an attachment is a file: the footer is not written into it', () => {
  const raw = message(
    'Content-Type: text/plain',
    'Content-Disposition: attachment; filename=a.txt',
    ...['', 'text', ''],
  );
  expect(bodyOf(raw)).toMatch(/filename=a\.txt\r\n\r\ntext\r\n\r\n--=_/);
});

test('a footer line too long for mail is a part of its own, in quoted-printable', () => {
  const body = bodyOf(message('Subject: x', '', 'text', ''), {
    ...PLAIN,
    footer: 'y'.repeat(1_200),
  });
  expect(body).toContain('Content-Transfer-Encoding: quoted-printable');
  expect(body.split('\r\n').every((line) => line.length <= 76)).toBe(true);
});

test('a message without a body has a footer and nothing else', () => {
  expect(bodyOf(message('Subject: x', '', ''))).toBe('The footer of dev.\r\n');
});

test('readers see the words of the author, then the footer, whatever the encoding', async () => {
  const words = fc.string({ unit: fc.constantFrom(...'abc é€=? .\t-я', '\n'), maxLength: 80 });
  const encoding = fc.constantFrom('8bit', 'quoted-printable', 'base64');
  const footers = fc.constantFrom('The footer.', 'Grüße — dev = list', '-- \nдев\n trailing ', '.');
  await fc.assert(
    fc.asyncProperty(words, encoding, footers, async (author, cte, footer) => {
      const raw = encodedMessage(author, cte);
      const { bytes } = cook(raw, { ...RECIPE, footer });
      const [was, is] = [
        await simpleParser(Buffer.from(raw)),
        await simpleParser(Buffer.from(bytes)),
      ];
      const all = (is.text ?? '').replace(/\r\n/g, '\n');
      expect(all.startsWith((was.text ?? '').trimEnd())).toBe(true);
      expect(all.trimEnd().endsWith(footer.trimEnd())).toBe(true);
    }),
    { numRuns: 150 },
  );
});

function encodedMessage(words: string, encoding: string): Uint8Array {
  const bytes = Buffer.from(words.replaceAll('\n', '\r\n'), 'utf8');
  const header = message(
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Transfer-Encoding: ${encoding}`,
    ...['', ''],
  );
  if (encoding === 'base64') return Buffer.concat([header, Buffer.from(bytes.toString('base64'))]);
  if (encoding === '8bit') return Buffer.concat([header, bytes]);
  const quoted = [...bytes].map((byte) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`);
  return Buffer.concat([header, Buffer.from(quoted.join('=\r\n'))]);
}
