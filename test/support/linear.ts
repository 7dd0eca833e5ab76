/**
 * Shows that a cost grows with its input and not with its square, whatever else the machine does
 * meanwhile.
 */
import { expect } from 'vitest';

/** How much longer the larger input is: a square would take 64 times as long. */
const GROWTH = 8;
const RATIO_MAX = 28;
/** Each is timed at its best: on a busy machine few rounds are left alone, so there are as many as it needs. */
const ROUNDS_MIN = 7;
const ROUNDS_MAX = 200;
/** Differences below this are noise. */
const NOISE_MS = 3;

/** Fails if `run` over an input eight times as long takes more than 28 times as long, at the best of each. */
export function expectLinear<T>(
  make: (size: number) => T,
  run: (input: T) => unknown,
  size: number,
): void {
  const small = make(size);
  const large = make(size * GROWTH);
  let before = Number.POSITIVE_INFINITY;
  let after = Number.POSITIVE_INFINITY;
  const most = (): number => before * RATIO_MAX + NOISE_MS;
  for (let round = 0; round < ROUNDS_MIN || (after >= most() && round < ROUNDS_MAX); round++) {
    before = Math.min(
      before,
      timed(() => run(small)),
    );
    after = Math.min(
      after,
      timed(() => run(large)),
    );
  }
  expect(after, `${before} ms for ${size}`).toBeLessThan(most());
}

function timed(run: () => unknown): number {
  const from = performance.now();
  run();
  return performance.now() - from;
}
