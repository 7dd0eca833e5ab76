/** A clock that stands still until it is told to go on. */
import type { Clock } from '../../../src/world.ts';

export type FakeClock = Clock & {
  /**
   * Lets time pass; wakes sleepers at their time, in order, and lets each do what it wanted before
   * time goes on.
   */
  advance(ms: number): Promise<void>;
  /** Moves the wall clock alone, as an operator or NTP may. */
  jump(ms: number): void;
  /** Those who sleep now. */
  sleepers(): number;
};

type Sleeper = { readonly due: number; readonly wake: () => void };

/** Starts at `now`, ms since the epoch. */
export function createFakeClock(now = Date.UTC(2026, 0, 1)): FakeClock {
  const sleepers = new Set<Sleeper>();
  let elapsed = 0;
  let wall = now;

  function earliest(until: number): Sleeper | null {
    let first: Sleeper | null = null;
    for (const one of sleepers) {
      if (one.due <= until && (first === null || one.due < first.due)) first = one;
    }
    return first;
  }

  function goTo(time: number): void {
    wall += time - elapsed;
    elapsed = time;
  }

  return {
    now: () => wall,
    monotonic: () => elapsed,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const wake = (): void => {
          sleepers.delete(sleeper);
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        const sleeper = { due: elapsed + Math.max(0, ms), wake };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', wake, { once: true });
      }),
    async advance(ms) {
      const until = elapsed + ms;
      await settled();
      for (let next = earliest(until); next !== null; next = earliest(until)) {
        goTo(Math.max(elapsed, next.due));
        next.wake();
        await settled();
      }
      goTo(until);
    },
    jump: (ms) => {
      wall += ms;
    },
    sleepers: () => sleepers.size,
  };
}

/** After every promise that can go on without the world has gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
