/** Draws from a seed, in the words that a simulated world needs. */
import type { Random } from '../../src/world.ts';
import { createFakeRandom } from '../support/fake/random.ts';

export type Chance = Random & {
  /** True with probability `p`. */
  is(p: number): boolean;
  /** [from, to) */
  between(from: number, to: number): number;
  /** A whole number, from ≤ it ≤ to. */
  whole(from: number, to: number): number;
  pick<T>(from: readonly T[]): T;
  /** Draws of its own, so that more of one thing does not change all the others. */
  branch(name: string): Chance;
};

export function createChance(seed: number): Chance {
  const random = createFakeRandom(seed);
  const between = (from: number, to: number): number => from + random.fraction() * (to - from);
  return {
    ...random,
    is: (p) => random.fraction() < p,
    between,
    whole: (from, to) => Math.floor(between(from, to + 1)),
    pick(from) {
      const picked = from[Math.floor(random.fraction() * from.length)];
      if (picked === undefined) throw new Error('nothing to pick from');
      return picked;
    },
    branch: (name) => createChance(seed * 31 + hashOf(name)),
  };
}

function hashOf(text: string): number {
  let hash = 17;
  for (const char of text) hash = (Math.imul(hash, 31) + (char.codePointAt(0) ?? 0)) | 0;
  return hash;
}
