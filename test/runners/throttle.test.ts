/** What is said at most once in a while. */
import { expect, test } from 'vitest';
import { createThrottle } from '../../src/runners/throttle.ts';

test('a key speaks once in the time given; others are not held up', () => {
  let now = 0;
  const may = createThrottle({ monotonic: () => now }, 100);
  expect([may('a'), may('a'), may('b')]).toEqual([true, false, true]);
  now = 99;
  expect(may('a')).toBe(false);
  now = 100;
  expect([may('a'), may('a')]).toEqual([true, false]);
});

test('a flood of keys is bounded: the one that spoke longest ago is forgotten first', () => {
  const may = createThrottle({ monotonic: () => 0 }, 100);
  for (let i = 0; i < 10_000; i++) expect(may(`key ${i}`)).toBe(true);
  expect(may('key 0')).toBe(false);
  expect(may('one more')).toBe(true);
  expect(may('key 9999')).toBe(false);
  expect(may('key 0')).toBe(true);
});
