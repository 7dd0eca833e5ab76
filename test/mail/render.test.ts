/** One copy of a cooked post: the same bytes but for this member's tokens. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cook } from '../../src/mail/cook.ts';
import { parseMachineAddress, parseToken, verifyMachine } from '../../src/mail/machine-address.ts';
import { render, returnPathOf } from '../../src/mail/render.ts';
import { COPY, message, RECIPE, text } from './cook-support.ts';

const RAW = message('Subject: Hello', '', 'Hello, all.', '');
const keys = [COPY.key];
const secrets = [COPY.secret];

test('each token of a copy is for one purpose, and names its member and post', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat({ max: 2 ** 30 - 1 }), (member, post) => {
      const copy = { ...COPY, member, post };
      const bytes = text(render(cook(RAW, RECIPE), copy));
      const links = [...bytes.matchAll(/https:\/\/lists\.example\.org\/u\/([a-z2-7]{37})/g)];
      const leave = /<mailto:(u\+[a-z2-7]{37})@example\.org>/.exec(bytes)?.[1] ?? '';
      const tokens = [
        parseToken('w', links[0]?.[1] ?? ''),
        parseToken('f', links[1]?.[1] ?? ''),
        parseMachineAddress(leave),
      ];
      for (const token of tokens) {
        expect(token).toMatchObject({ member, post });
        expect(token && verifyMachine(token, keys, secrets)).toBe(COPY.key);
      }
      const crossed = parseToken('w', links[1]?.[1] ?? '');
      expect(crossed && verifyMachine(crossed, keys, secrets)).toBeNull();
    }),
  );
});

test('a copy has the bytes of the cooked post everywhere but in its slots', () => {
  const cooked = cook(RAW, RECIPE);
  const before = text(cooked.bytes);
  const copy = text(render(cooked, COPY));
  expect(copy).toHaveLength(cooked.size);
  expect(cooked.slots.map(({ slot }) => slot)).toEqual(['one-click', 'leave', 'page']);
  const parts = before.split(/-{37,39}/);
  for (const part of parts) expect(copy).toContain(part);
  expect(copy).not.toMatch(/-{37}/);
  expect(text(cooked.bytes)).toBe(before);
});

test('in mode shared all copies are the very same bytes', () => {
  const cooked = cook(RAW, { ...RECIPE, mode: 'shared' });
  expect(render(cooked, COPY)).toBe(cooked.bytes);
  expect(render(cooked, { ...COPY, member: 8 })).toBe(cooked.bytes);
});

test('bounces of a copy of one’s own come back to an address that says whose it was', () => {
  const path = returnPathOf(RECIPE, COPY);
  expect(path).toMatch(/^b\+[a-z2-7]{37}@example\.org$/);
  const token = parseMachineAddress(path.slice(0, path.indexOf('@')));
  expect(token).toMatchObject({ kind: 'b', member: 7, post: 12 });
  expect(token && verifyMachine(token, keys, secrets)).toBe(COPY.key);
});

test('bounces of shared and forwarded copies go to the robot, those of a notice nowhere', () => {
  expect(returnPathOf({ ...RECIPE, mode: 'shared' }, COPY)).toBe('dev-bounces@example.org');
  expect(returnPathOf({ ...RECIPE, kind: 'forward' }, COPY)).toBe('dev-bounces@example.org');
  expect(returnPathOf({ ...RECIPE, kind: 'notice' }, COPY)).toBe('');
});
