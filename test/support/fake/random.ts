/** Randomness from a seed: the same seed, the same run. Never for anything but tests. */
import type { Random } from '../../../src/world.ts';

/** mulberry32: small, fast, good enough to spread tests. */
export function createFakeRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return {
    bytes: (length) => Uint8Array.from({ length }, () => next() & 255),
    fraction: () => next() / 2 ** 32,
  };
}
