import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { endWith, within } from '../src/ending.ts';
import { createFakeClock } from './support/fake/clock.ts';

test('what is made for something shorter ends with the longer', () => {
  const longer = new AbortController();
  const shorter = endWith(longer.signal);
  expect(shorter.signal.aborted).toBe(false);
  longer.abort();
  expect(shorter.signal.aborted).toBe(true);
  expect(endWith(longer.signal).signal.aborted).toBe(true);
});

test('once ended it leaves nothing on a signal that lives on', () => {
  const longer = new AbortController();
  for (let i = 0; i < 1_000; i++) {
    const shorter = endWith(longer.signal);
    shorter.signal.addEventListener('abort', () => undefined);
    shorter.end();
    expect(shorter.signal.aborted).toBe(true);
  }
  expect(longer.signal.aborted).toBe(false);
  expect(getEventListeners(longer.signal, 'abort')).toEqual([]);
});

test('work is waited for no longer than its time', async () => {
  const clock = createFakeClock();
  const waiting = within(clock, 100, new Promise(() => undefined));
  await clock.advance(100);
  await waiting;
  expect(clock.sleepers()).toBe(0);
});

test('work that ends in time, well or not, leaves nobody asleep', async () => {
  const clock = createFakeClock();
  await within(clock, 100, Promise.resolve());
  await expect(within(clock, 100, Promise.reject(new Error('bad')))).rejects.toThrow('bad');
  expect(clock.sleepers()).toBe(0);
});
