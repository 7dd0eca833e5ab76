/** Holds a route to its rate: each envelope gets its time, evenly apart, without bursts. */
import type { Clock } from '../world.ts';

/** Resolves when the next envelope may begin, or the signal aborts. */
export type Pace = (signal: AbortSignal) => Promise<void>;

/** `perSecond` is asked each time: it changes as nodes come and go. */
export function createPace(perSecond: () => number, clock: Clock): Pace {
  let nextAt = 0;
  return async (signal) => {
    const now = clock.monotonic();
    const at = Math.max(nextAt, now);
    nextAt = at + 1_000 / perSecond();
    if (at > now) await clock.sleep(at - now, signal);
  };
}
