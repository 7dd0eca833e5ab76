/** Encoded words of headers, decoded for people's eyes. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  DECODED_INPUT_LENGTH_MAX,
  decodeCharset,
  decodeWords,
} from '../../src/mail/encoded-words.ts';
import { expectLinear } from '../support/linear.ts';

test.each([
  ['plain text', 'plain text'],
  ['=?utf-8?q?Gr=C3=BC=C3=9Fe?=', 'Grüße'],
  ['=?UTF-8?B?R3LDvMOfZQ==?=', 'Grüße'],
  ['=?iso-8859-1?Q?Gr=FC=DFe_an_alle?=', 'Grüße an alle'],
  ['=?iso-8859-1*de?q?=FC?=', 'ü'],
  ['=?koi8-r?B?8NLJ18XU?=', 'Привет'],
  ['=?iso-2022-jp?B?GyRCJDMkcyRLJEEkTxsoQg==?=', 'こんにちは'],
  ['=?gb2312?B?xOO6ww==?=', '你好'],
  ['Re: =?utf-8?q?=C3=BC?= und mehr', 'Re: ü und mehr'],
  ['=?utf-8?q?a?= =?utf-8?q?b?=', 'ab'],
  ['=?utf-8?q?a?=\r\n =?iso-8859-1?q?b?=', 'ab'],
  ['=?utf-8?q?a?= und =?utf-8?q?b?=', 'a und b'],
  ['=?utf-8?q?this is not quite RFC 2047?=', 'this is not quite RFC 2047'],
])('%j says %j', (value, text) => {
  expect(decodeWords(value)).toBe(text);
});

test('a character split between two words is put together', () => {
  expect(decodeWords('=?utf-8?B?w7w=?= =?utf-8?B?wg==?= =?utf-8?Q?=A7?=')).toBe('ü§');
});

test('bytes that the charset does not know stand as U+FFFD', () => {
  expect(decodeWords('=?utf-8?q?Gr=FCn?=')).toBe('Gr\ufffdn');
});

test('of an unknown charset only the ASCII is believed', () => {
  expect(decodeWords('=?x-unknown?q?Gr=FCn?=')).toBe('Gr\ufffdn');
  expect(decodeCharset('x-unknown', Buffer.from([65, 255]))).toBe('A\ufffd');
});

test('an encoded line end or control never makes a new line', () => {
  expect(decodeWords('=?utf-8?q?a=0D=0ABcc:_b?=')).toBe('a  Bcc: b');
  expect(decodeWords('=?utf-8?b?AAoNfw==?=\u2028x')).toBe('     x');
});

test.each(['=?', '=?utf-8?', '=?utf-8?q?', '=?utf-8?q?abc', '=?utf-8?x?abc?=', '=??q?a?='])(
  '%j is no encoded word and stays',
  (text) => {
    expect(decodeWords(text)).toBe(text);
  },
);

test('a value too long to be meant is cut', () => {
  expect(decodeWords('x'.repeat(1_000_000))).toHaveLength(DECODED_INPUT_LENGTH_MAX);
});

test('text that was encoded is decoded to itself', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.boolean(), (any, isBase64) => {
      const text = any.replace(/[\p{Cc}\u2028\u2029]/gu, '');
      const bytes = Buffer.from(text);
      const word = isBase64
        ? `=?utf-8?B?${bytes.toString('base64')}?=`
        : `=?utf-8?Q?${[...bytes].map((b) => `=${b.toString(16).padStart(2, '0')}`).join('')}?=`;
      expect(decodeWords(word)).toBe(text.toWellFormed());
    }),
  );
});

test('nothing throws, and no control is left', () => {
  const piece = fc.oneof(
    fc.constantFrom('=?', '?=', '?q?', '?B?', 'utf-8', 'utf-7', '=', '_', ' ', '\r\n', '\0'),
    fc.string({ unit: 'binary', maxLength: 4 }),
  );
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      expect(decodeWords(pieces.join(''))).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
    }),
  );
});

test('the cost is linear', () => {
  for (const shape of ['=?', '=?a?q?', '=?utf-8?q?a?= ', '=?utf-8?b?', ' ', '?', '='])
    expectLinear((n) => shape.repeat(n), decodeWords, Math.floor(8_000 / shape.length));
});
