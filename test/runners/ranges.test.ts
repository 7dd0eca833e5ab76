import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isIn, rangesOf } from '../../src/runners/ranges.ts';

test('gaps that belong to nobody do not split a range', () => {
  expect(rangesOf(new Set([1, 4, 9]), [1, 4, 9], true)).toEqual([[1, 9]]);
  expect(rangesOf(new Set([1, 9]), [1, 4, 9], true)).toEqual([
    [1, 1],
    [9, 9],
  ]);
  expect(rangesOf(new Set(), [1, 4], true)).toEqual([]);
});

test('where gaps may belong to somebody, no range has a number that was not chosen', () => {
  expect(rangesOf(new Set([1, 2, 4, 9]), [1, 2, 4, 9], false)).toEqual([
    [1, 2],
    [4, 4],
    [9, 9],
  ]);
});

test('of those in the chunk, exactly the chosen are in the ranges', () => {
  const numbers = fc.uniqueArray(fc.nat(500), { maxLength: 200 });
  fc.assert(
    fc.property(numbers, fc.func(fc.boolean()), fc.boolean(), (all, isChosen, mayBridge) => {
      const sorted = all.toSorted((a, b) => a - b);
      const chosen = new Set(sorted.filter((number) => isChosen(number)));
      const ranges = rangesOf(chosen, sorted, mayBridge);
      for (const number of sorted) expect(isIn(ranges, number)).toBe(chosen.has(number));
      if (mayBridge) expect(ranges.length).toBeLessThanOrEqual(Math.ceil(sorted.length / 2));
      else
        for (const [from, to] of ranges)
          for (let n = from; n <= to; n += 1) expect(chosen.has(n)).toBe(true);
    }),
  );
});
