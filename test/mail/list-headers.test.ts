/** The fields of RFC 2369, RFC 2919 and RFC 8058 on what leaves. */
import { expect, test } from 'vitest';
import type { Address } from '../../src/mail/address.ts';
import { cook } from '../../src/mail/cook.ts';
import { parseHeader } from '../../src/mail/header.ts';
import { listHeaders, robotAddress, safeWeb } from '../../src/mail/list-headers.ts';
import { loopOfAny, loopOfPost } from '../../src/mail/loops.ts';
import { assemble } from '../../src/mail/pieces.ts';
import { fieldOf, message, RECIPE, text } from './cook-support.ts';

const headerOf = (changes: Partial<typeof RECIPE>): Uint8Array =>
  Buffer.concat([assemble(listHeaders({ ...RECIPE, ...changes })).bytes, Buffer.from('\r\n')]);

test('a copy of one’s own can be left with one click, or by mail', () => {
  const header = headerOf({});
  expect(fieldOf(header, 'List-Unsubscribe')).toMatch(
    /^<https:\/\/lists\.example\.org\/u\/-{37}>,\r\n <mailto:-{39}@example\.org>$/,
  );
  expect(fieldOf(header, 'List-Unsubscribe-Post')).toBe('List-Unsubscribe=One-Click');
});

test('a shared copy names no member, so it has no one-click', () => {
  const header = headerOf({ mode: 'shared' });
  expect(fieldOf(header, 'List-Unsubscribe')).toBe('<mailto:dev-leave@example.org>');
  expect(fieldOf(header, 'List-Unsubscribe-Post')).toBeNull();
});

test('a site without a web address is left by mail', () => {
  const header = headerOf({ web: '' });
  expect(fieldOf(header, 'List-Unsubscribe')).toMatch(/^<mailto:-{39}@example\.org>$/);
  expect(fieldOf(header, 'List-Unsubscribe-Post')).toBeNull();
  expect(fieldOf(header, 'List-Archive')).toBeNull();
});

test.each([
  ['Developers', 'Developers <dev.example.org>'],
  ['', '<dev.example.org>'],
  ['Dev. team', '"Dev. team" <dev.example.org>'],
  ['The "dev" \\ team', '"The \\"dev\\" \\\\ team" <dev.example.org>'],
  ['Développeurs', '=?utf-8?B?RMOpdmVsb3BwZXVycw==?= <dev.example.org>'],
  ['=?utf-8?q?x?=', '=?utf-8?B?PT91dGYtOD9xP3g/PQ==?= <dev.example.org>'],
])('the name %j stands in List-Id as %j', (displayName, expected) => {
  expect(fieldOf(headerOf({ displayName }), 'List-Id')).toBe(expected);
});

test('a web address that could break a header is made safe, or left out', () => {
  expect(safeWeb('https://a.example/\r\nX: <y> "z"')).toBe('https://a.example/X:yz');
  expect(safeWeb(`https://${'a'.repeat(1_000)}`)).toBe('');
});

test('what leaves is recognised as a loop when it comes back', () => {
  const other = 'other@example.com' as Address;
  const cooked = cook(message('Subject: x', '', 'y'), RECIPE).bytes;
  const forwarded = cook(message('Subject: x', '', 'y'), { ...RECIPE, kind: 'forward' }).bytes;
  const onward = cook(cooked, { ...RECIPE, list: other }).bytes;
  const looped = (bytes: Uint8Array, list: Address): unknown => {
    const header = parseHeader(bytes);
    return 'problem' in header ? header.problem : loopOfPost(header, list);
  };
  expect(looped(cooked, RECIPE.list)).toBe('own-list-id');
  expect(looped(onward, RECIPE.list)).toBe('own-loop-mark');
  expect(looped(forwarded, RECIPE.list)).toBeNull();
  const header = parseHeader(forwarded);
  expect('problem' in header || loopOfAny(header, robotAddress(RECIPE.list, 'owner'))).toBe(
    'own-loop-mark',
  );
  expect(text(forwarded)).toMatch(/^X-Loop: dev-owner@example\.org\r\n/);
});
