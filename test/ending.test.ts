import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { endWith } from '../src/ending.ts';

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
