/** The real clock and the real randomness; handed in, so that a simulated world can hand in others. */
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Clock, Random } from './world.ts';

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = setTimeout(done, ms);
      signal?.addEventListener('abort', done, { once: true });
      function done(): void {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      }
    }),
};

/** Drawn at once, for those who want a few: to ask the system each time costs ten times as much. */
const DRAWN_BYTES = 4_096;

function drawAhead(): Random['bytes'] {
  let drawn = Buffer.alloc(0);
  let next = 0;
  return (length) => {
    if (length > DRAWN_BYTES) return randomBytes(length);
    if (next + length > drawn.length) {
      drawn = randomBytes(DRAWN_BYTES);
      next = 0;
    }
    next += length;
    return drawn.subarray(next - length, next);
  };
}

export const systemRandom: Random = {
  bytes: drawAhead(),
  fraction: () => Math.random(),
};
