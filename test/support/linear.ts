/**
 * Shows that a cost grows with its input and not with its square, whatever else the machine does
 * meanwhile.
 */
import { expect } from 'vitest';

/** How much longer the larger input is: a square would take 64 times as long. */
const GROWTH = 8;
const RATIO_MAX = 28;
const ROUNDS = 7;
/** Differences below this are noise. */
const NOISE_MS = 3;

/**
 * Fails if `run` over an input eight times as long takes more than 28 times as long, best of seven.
 */
export function expectLinear<T>(
  make: (size: number) => T,
  run: (input: T) => unknown,
  size: number,
): void {
  const small = make(size);
  const large = make(size * GROWTH);
  const before = fastest(() => run(small));
  const after = fastest(() => run(large));
  expect(after, `${before} ms for ${size}`).toBeLessThan(before * RATIO_MAX + NOISE_MS);
}

function fastest(run: () => unknown): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < ROUNDS; i++) {
    const from = performance.now();
    run();
    best = Math.min(best, performance.now() - from);
  }
  return best;
}
