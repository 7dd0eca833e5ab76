/** Chance by a seed: the same seed, the same faults in the same order. */

export type Chance = {
  /** 0 ≤ x < 1. */
  next(): number;
  /** From `min` to `max`, both included. */
  whole(min: number, max: number): number;
  pick<T>(of: readonly T[]): T;
  shuffled<T>(of: readonly T[]): T[];
};

/** mulberry32. */
export function chanceOf(seed: number): Chance {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const whole = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    whole,
    pick: <T>(of: readonly T[]): T => {
      const found = of[whole(0, of.length - 1)];
      if (found === undefined) throw new RangeError('nothing to pick from');
      return found;
    },
    shuffled: <T>(of: readonly T[]): T[] => {
      const left = [...of];
      return of.flatMap(() => left.splice(whole(0, left.length - 1), 1));
    },
  };
}
