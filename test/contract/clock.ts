/** What every clock must show, real or simulated. */
import { describe, expect, test } from 'vitest';
import type { Clock } from '../../src/world.ts';

/** `pass` lets at least so many ms go by on the clock. */
export function clockContract(
  name: string,
  open: () => { readonly clock: Clock; pass(ms: number): Promise<void> },
): void {
  describe(`a clock (${name})`, () => {
    test('goes on, and its monotonic time never goes back', async () => {
      const { clock, pass } = open();
      const [wall, before] = [clock.now(), clock.monotonic()];
      await pass(20);
      expect(clock.monotonic() - before).toBeGreaterThanOrEqual(19);
      expect(clock.now() - wall).toBeGreaterThanOrEqual(15);
    });

    test('wakes a sleeper when its time has come, not before', async () => {
      const { clock, pass } = open();
      const before = clock.monotonic();
      const slept = clock.sleep(30).then(() => clock.monotonic() - before);
      await pass(60);
      expect(await slept).toBeGreaterThanOrEqual(29);
    });

    test('wakes sleepers in the order of their times', async () => {
      const { clock, pass } = open();
      const order: number[] = [];
      const sleepers = [40, 5, 20].map((ms) => clock.sleep(ms).then(() => order.push(ms)));
      await pass(60);
      await Promise.all(sleepers);
      expect(order).toEqual([5, 20, 40]);
    });

    test('wakes a sleeper at once when its signal aborts, and never rejects', async () => {
      const { clock } = open();
      const ending = new AbortController();
      const before = clock.monotonic();
      const slept = clock.sleep(600_000, ending.signal);
      ending.abort();
      await slept;
      await clock.sleep(600_000, ending.signal);
      expect(clock.monotonic() - before).toBeLessThan(10_000);
    });
  });
}
