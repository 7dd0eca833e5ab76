/** Machine addresses and web tokens: what is made verifies, and nothing else does. */
import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAddress } from '../../src/mail/address.ts';
import { BASE32, type ListKey, listKeyOf } from '../../src/mail/list-key.ts';
import {
  MEMBER_NUMBER_MAX,
  makeMachineAddress,
  makeToken,
  POST_NUMBER_MAX,
  parseConfirmAddress,
  parseMachineAddress,
  parseToken,
  TOKEN_LENGTH,
  type TokenKind,
  verifyMachine,
} from '../../src/mail/machine-address.ts';

const KEY = listKeyOf(new Uint8Array(26).fill(3));
const SECRET = new Uint8Array(32).fill(7);
const IDS = { key: KEY, member: 12, post: 34 };

const KEYS = fc.uint8Array({ minLength: 26, maxLength: 26 }).map(listKeyOf);
const SECRETS = fc.uint8Array({ minLength: 32, maxLength: 32 });
const MEMBERS = fc.oneof(fc.nat(), fc.constantFrom(0, MEMBER_NUMBER_MAX));
const POSTS = fc.oneof(fc.nat(1_000_000), fc.constantFrom(0, POST_NUMBER_MAX));

const localPart = (address: string) => address.slice(0, address.indexOf('@'));
const parsed = (local: string) => parseMachineAddress(local) ?? expect.unreachable(local);

test('the local part has 39 characters: kind, key prefix, member, post, MAC', () => {
  const address = makeMachineAddress('b', IDS, SECRET, 'lists.example');
  expect(address).toMatch(/^b\+dddddddd[a]{5}am[a]{4}bc[a-z2-7]{16}@lists\.example$/);
  expect(localPart(address)).toHaveLength(39);
  expect(parseAddress(address)).toBe(address);
});

test('the MAC of each kind is 80 bits of its own of one HMAC-SHA-512, however long the secret', () => {
  const secrets = fc.uint8Array({ minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(secrets, MEMBERS, POSTS, (secret, member, post) => {
      const text = `troupe token ${KEY} ${member} ${post}`;
      const digest = createHmac('sha512', secret).update(text).digest();
      for (const [i, kind] of (['b', 'u', 'w', 'f'] as const).entries()) {
        const bytes = [...digest.subarray(16 * i, 16 * i + 10)];
        const bits = bytes.map((byte) => byte.toString(2).padStart(8, '0'));
        const fives = bits.join('').match(/.{5}/g) ?? [];
        const mac = fives.map((five) => BASE32.charAt(Number.parseInt(five, 2))).join('');
        expect(makeToken(kind, { key: KEY, member, post }, secret).slice(-16)).toBe(mac);
      }
    }),
  );
});

test('the same copy always has the same address, on any domain', () => {
  expect(makeMachineAddress('b', IDS, SECRET, 'a.example')).toBe(
    makeMachineAddress('b', IDS, SECRET, 'a.example'),
  );
  const renamed = makeMachineAddress('b', IDS, SECRET, 'b.example');
  expect(verifyMachine(parsed(localPart(renamed)), [KEY], [SECRET])).toBe(KEY);
});

test('what was made is read back and verifies, whatever its numbers and case', () => {
  const kinds = fc.constantFrom<'b' | 'u'>('b', 'u');
  fc.assert(
    fc.property(
      kinds,
      KEYS,
      MEMBERS,
      POSTS,
      SECRETS,
      fc.boolean(),
      (kind, key, member, post, secret, shout) => {
        const made = localPart(
          makeMachineAddress(kind, { key, member, post }, secret, 'x.example'),
        );
        const read = parsed(shout ? made.toUpperCase() : made);
        expect(read).toMatchObject({ kind, member, post, prefix: key.slice(0, 8) });
        expect(verifyMachine(read, [key], [secret])).toBe(key);
      },
    ),
  );
});

test('changing any one character leaves nothing that verifies', () => {
  const made = localPart(makeMachineAddress('u', IDS, SECRET, 'x.example'));
  for (let i = 2; i < made.length; i++)
    for (const c of BASE32) {
      if (c === made[i]) continue;
      const read = parsed(made.slice(0, i) + c + made.slice(i + 1));
      expect(verifyMachine(read, [KEY], [SECRET])).toBeNull();
    }
  expect(verifyMachine(parsed(`b${made.slice(1)}`), [KEY], [SECRET])).toBeNull();
});

test('a token is good for one purpose only', () => {
  const kinds: readonly TokenKind[] = ['b', 'u', 'w', 'f'];
  for (const made of kinds)
    for (const used of kinds) {
      const token = parseToken(used, makeToken(made, IDS, SECRET)) ?? expect.unreachable();
      expect(verifyMachine(token, [KEY], [SECRET])).toBe(made === used ? KEY : null);
    }
});

describe('secrets and keys', () => {
  const other = new Uint8Array(32).fill(8);
  const twin = `${KEY.slice(0, 8)}${'a'.repeat(18)}` as ListKey;
  const read = parsed(localPart(makeMachineAddress('b', IDS, SECRET, 'x.example')));

  test('an older secret still verifies; one that was never ours does not', () => {
    expect(verifyMachine(read, [KEY], [other, SECRET])).toBe(KEY);
    expect(verifyMachine(read, [KEY], [other])).toBeNull();
    expect(verifyMachine(read, [KEY], [])).toBeNull();
  });

  test('the MAC says which of the lists with one prefix it is', () => {
    expect(verifyMachine(read, [twin, KEY], [SECRET])).toBe(KEY);
    expect(verifyMachine(read, [KEY, twin], [SECRET])).toBe(KEY);
    expect(verifyMachine(read, [twin], [SECRET])).toBeNull();
    expect(verifyMachine(read, [], [SECRET])).toBeNull();
  });
});

test.each([
  { member: -1, post: 0 },
  { member: 1.5, post: 0 },
  { member: Number.NaN, post: 0 },
  { member: MEMBER_NUMBER_MAX + 1, post: 0 },
  { member: 0, post: POST_NUMBER_MAX + 1 },
])('numbers that do not fit are a bug: %o', (numbers) => {
  expect(() => makeToken('b', { key: KEY, ...numbers }, SECRET)).toThrow('does not fit');
});

test('only the exact shape is read', () => {
  const made = makeToken('b', IDS, SECRET);
  expect(made).toHaveLength(TOKEN_LENGTH);
  for (const local of ['', 'b', 'b+', made, `b-${made}`, `x+${made}`, `c+${made}`, `w+${made}`])
    expect(parseMachineAddress(local)).toBeNull();
  expect(parseMachineAddress(`b+${made}a`)).toBeNull();
  expect(parseMachineAddress(`b+${made.slice(1)}`)).toBeNull();
  expect(parseMachineAddress(`b+${made.slice(1)}1`)).toBeNull();
  expect(parseMachineAddress(`b+${made.slice(1)}İ`)).toBeNull();
});

test('a confirm address is 26 characters after c+', () => {
  const token = 'abcdefghijklmnopqrstuvwxyz';
  expect(parseConfirmAddress(`c+${token}`)).toBe(token);
  expect(parseConfirmAddress(`C+${token.toUpperCase()}`)).toBe(token);
  expect(parseConfirmAddress(`c+${token}a`)).toBeNull();
  expect(parseConfirmAddress(`c+${token.slice(1)}`)).toBeNull();
  expect(parseConfirmAddress(`b+${token}`)).toBeNull();
});

test('no text throws', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (any) => {
      parseMachineAddress(any);
      parseMachineAddress(`b+${any}`.slice(0, 39));
      parseConfirmAddress(any);
      parseToken('w', any);
    }),
  );
});
