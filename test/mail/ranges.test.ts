import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isIn, rangeOf, rangesOf as rangesBy } from '../../src/mail/ranges.ts';

const rangesOf = (said: ReadonlyMap<number, string>) => rangesBy(said, Object.is);
const all = (reply: string, ...numbers: readonly number[]): Map<number, string> =>
  new Map(numbers.map((number) => [number, reply]));

test('neighbours who were told the same are one range', () => {
  expect(rangesOf(all('ok', 1, 2, 3, 9))).toEqual([
    [1, 3, 'ok'],
    [9, 9, 'ok'],
  ]);
  expect(rangesOf(new Map([...all('ok', 2), ...all('queued', 1), ...all('', 3)]))).toEqual([
    [1, 1, 'queued'],
    [2, 2, 'ok'],
    [3, 3, ''],
  ]);
  expect(rangesOf(new Map())).toEqual([]);
});

test('ranges hold every number with its reply, and no other number', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(200), { maxLength: 100 }),
      fc.infiniteStream(fc.constantFrom('', 'ok', 'queued')),
      (numbers, replies) => {
        const accepted = new Map(numbers.map((n) => [n, String(replies.next().value)]));
        const ranges = rangesOf(accepted);
        for (let number = 0; number <= 200; number += 1) {
          expect(isIn(ranges, number)).toBe(accepted.has(number));
          const reply = rangeOf(ranges, number)?.[2];
          expect(reply).toBe(accepted.get(number));
        }
      },
    ),
  );
});
