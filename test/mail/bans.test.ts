import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BAN_LENGTH_MAX, createBans, isBan } from '../../src/mail/bans.ts';
import { address } from '../support/list-story.ts';

const isBanned = (ban: string, sender: string): boolean => createBans([ban])(address(sender));

test.each([
  [
    'eve@evil.example',
    ['eve@evil.example', 'EVE@evil.example', 'eve@EVIL.example'],
    ['eva@evil.example', 'eve@x.evil.example'],
  ],
  ['Eve@Evil.Example', ['eve@evil.example'], ['eve@evil.example.org']],
  [
    '@evil.example',
    ['a@evil.example', '"a@b"@evil.example'],
    ['a@x.evil.example', 'a@notevil.example'],
  ],
  [
    '@.evil.example',
    ['a@x.evil.example', 'a@y.x.evil.example'],
    ['a@evil.example', 'a@xevil.example'],
  ],
  ['spam-*@*', ['spam-1@x.example', 'Spam-@y.example'], ['spam@x.example', 'a-spam-1@x.example']],
  ['*@mx?.example', [], ['a@mx1.example']],
  ['*.*@*.evil.*', ['a.b@c.evil.example'], ['ab@c.evil.example', 'a.b@evil.example']],
  ['a*a@x.example', ['aa@x.example', 'aba@x.example'], ['a@x.example']],
  ['@größe.example', ['a@größe.example', 'a@xn--gre-6ka8i.example'], []],
  ['größe@x.example', ['GRÖSSE@x.example'.replace('SS', 'ß')], ['grosse@x.example']],
])('the ban %s names %j, and not %j', (ban, banned, free) => {
  expect(isBan(ban)).toBe(true);
  expect(banned.filter((sender) => !isBanned(ban, sender))).toEqual([]);
  expect(free.filter((sender) => isBanned(ban, sender))).toEqual([]);
});

test.each([
  '',
  '@',
  '@.',
  'eve',
  'eve@',
  'spam*',
  '*',
  '*@a@b',
  'a b@x.example',
  '@ex ample',
  '@1.2.3.4',
  `${'*'.repeat(9)}@x`,
  `${'a'.repeat(BAN_LENGTH_MAX)}*@x`,
])('%j is no ban', (text) => {
  expect(isBan(text)).toBe(false);
  expect(createBans([text])(address('eve@x.example'))).toBe(false);
});

test('a pattern fits what the same regular expression fits', () => {
  const part = fc.stringMatching(/^[ab.]{0,3}$/);
  const pattern = fc.tuple(
    fc.array(part, { minLength: 2, maxLength: 4 }),
    fc.array(part, { minLength: 2, maxLength: 3 }),
  );
  const local = fc.stringMatching(/^[ab]{1,4}(\.[ab]{1,3}){0,2}$/);
  fc.assert(
    fc.property(pattern, local, local, ([before, after], name, domain) => {
      const glob = `${before.join('*')}@${after.join('*')}`;
      const escaped = glob.replaceAll('.', '\\.').replaceAll('*', '.*');
      const sender = `${name}@${domain}`;
      expect(isBanned(glob, sender)).toBe(new RegExp(`^${escaped}$`).test(sender));
    }),
    { numRuns: 2_000 },
  );
});
