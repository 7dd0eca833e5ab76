/** Content-Type and its parameters. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseContentType } from '../../src/mail/content-type.ts';
import { expectLinear } from '../support/linear.ts';

const read = (value: string) => {
  const parsed = parseContentType(value);
  return parsed === null ? null : [parsed.type, Object.fromEntries(parsed.parameters)];
};

test.each<[string, unknown]>([
  ['text/plain', ['text/plain', {}]],
  ['Text/HTML; Charset="UTF-8"', ['text/html', { charset: 'UTF-8' }]],
  ['multipart/mixed; boundary=abc', ['multipart/mixed', { boundary: 'abc' }]],
  ['multipart/mixed;boundary="a;b\\"c"; x=y', ['multipart/mixed', { boundary: 'a;b"c', x: 'y' }]],
  ['text / plain ; charset = us-ascii (Plain)', ['text/plain', { charset: 'us-ascii' }]],
  ['text/plain; a=1; a=2', ['text/plain', { a: '1' }]],
  ['text/plain; charset="open', ['text/plain', { charset: 'open' }]],
  ['text', null],
  ['', null],
  ['; boundary=x', null],
])('%j is read', (value, expected) => {
  expect(read(value)).toEqual(expected);
});

test('pieces of a parameter are put together (RFC 2231)', () => {
  const value = "a/b; title*0*=us-ascii'en'This%20is%20; title*1*=%2A%2Afun; title*2=\" isn't\"";
  expect(parseContentType(value)?.parameters.get('title')).toBe("This is **fun isn't");
  expect(parseContentType("a/b; name*=utf-8''%e2%82%ac")?.parameters.get('name')).toBe('€');
});

test('gaps and huge numbers of pieces are ignored', () => {
  const { parameters } =
    parseContentType('a/b; x*0=one; x*2=three; x*999999999=no') ?? expect.unreachable();
  expect(parameters.get('x')).toBe('one');
});

test('nothing throws', () => {
  const piece = fc.constantFrom('text/plain', ';', '=', '"', '\\', '*0', '*', "'", '%', 'a', ' ');
  fc.assert(fc.property(fc.array(piece), (pieces) => void parseContentType(pieces.join(''))));
});

test('the cost is linear', () => {
  for (const shape of [';', '; a=', '"', '\\', ' ', '; a="', 'a/', '/'])
    expectLinear((n) => `a/b${shape.repeat(n)}`, parseContentType, 20_000);
});
