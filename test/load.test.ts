/** When the machine has a core left for one process more. */
import { expect, test } from 'vitest';
import { createSpareCore } from '../src/load.ts';

test('there is a core to spare when all together were idle for as long as one', () => {
  const cores = [0, 0].map(() => ({ times: { user: 0, nice: 0, sys: 0, idle: 0, irq: 0 } }));
  const hasCoreToSpare = createSpareCore(() => structuredClone(cores));
  const worked = (...shares: readonly number[]): boolean => {
    for (const [i, share] of shares.entries()) {
      const times = cores[i]?.times;
      if (times === undefined) continue;
      times.user += 1_000 * share;
      times.idle += 1_000 * (1 - share);
    }
    return hasCoreToSpare();
  };
  expect(worked(1, 0)).toBe(true);
  expect(worked(0.5, 0.5)).toBe(true);
  expect(worked(1, 0.4)).toBe(false);
  expect(worked(0.8, 0.8)).toBe(false);
  expect(worked(0, 0), 'what was before does not count').toBe(true);
  expect(hasCoreToSpare(), 'in no time nothing is known').toBe(false);
});
