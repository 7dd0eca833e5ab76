import { expect, test } from 'vitest';
import { BACKLOG_MIN, BUSY_LOOKS, createDemand, IDLE_LOOKS } from '../../src/runners/demand.ts';

const BUSY = { isBusy: true, waiting: BACKLOG_MIN };

function looked(most: number, begin: number, ...looks: (typeof BUSY)[]): number {
  const demand = createDemand(most, begin);
  for (const look of looks) demand.see(look);
  return demand.wanted();
}

const times = (count: number, look = BUSY): (typeof BUSY)[] => new Array(count).fill(look);

test('a backlog that stays while this process has no time to spare calls for one more at a time', () => {
  expect(looked(2, 0, ...times(BUSY_LOOKS - 1))).toBe(0);
  expect(looked(2, 0, ...times(BUSY_LOOKS))).toBe(1);
  expect(looked(2, 0, ...times(2 * BUSY_LOOKS - 1))).toBe(1);
  expect(looked(2, 0, ...times(2 * BUSY_LOOKS))).toBe(2);
});

test('never more than configured, whatever an earlier process left', () => {
  expect(looked(2, 0, ...times(9 * BUSY_LOOKS))).toBe(2);
  expect(looked(2, 5)).toBe(2);
  expect(looked(2, 1)).toBe(1);
});

test('short bursts, small backlogs and slow routes call for none', () => {
  const pause = { isBusy: false, waiting: 10 * BACKLOG_MIN };
  const bursts = [...times(BUSY_LOOKS - 1), pause, ...times(BUSY_LOOKS - 1)];
  expect(looked(2, 0, ...bursts)).toBe(0);
  expect(looked(2, 0, ...times(99, { isBusy: true, waiting: BACKLOG_MIN - 1 }))).toBe(0);
  expect(looked(2, 0, ...times(99, pause))).toBe(0);
});

test('they end when there has been no backlog for a while, and not before', () => {
  const none = { isBusy: false, waiting: 0 };
  const one = { isBusy: false, waiting: 1 };
  expect(looked(2, 2, ...times(IDLE_LOOKS - 1, none), one, ...times(IDLE_LOOKS - 1, none))).toBe(2);
  expect(looked(2, 2, ...times(IDLE_LOOKS, none))).toBe(0);
});
