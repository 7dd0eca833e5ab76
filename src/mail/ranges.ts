/**
 * Inclusive ranges of member numbers, each with what is said of all in it: every number in a range was meant, so that ranges alone
 * say who and how many.
 */

export type Range = readonly [from: number, to: number];

/** The fewest ranges, ascending; neighbours are one where the same is said of both. */
export function rangesOf<W>(
  said: ReadonlyMap<number, W>,
  isSame: (a: W, b: W) => boolean,
): readonly (readonly [from: number, to: number, word: W])[] {
  const ranges: [from: number, to: number, word: W][] = [];
  for (const [number, word] of [...said].sort(([a], [b]) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === number - 1 && isSame(last[2], word)) last[1] = number;
    else ranges.push([number, number, word]);
  }
  return ranges;
}

/** Of numbers alone. */
export function rangesOfAll(numbers: Iterable<number>): readonly Range[] {
  const all = new Map([...numbers].map((number) => [number, null]));
  return rangesOf(all, () => true).map(([from, to]) => [from, to]);
}

export const numbersIn = ([from, to]: Range): readonly number[] =>
  Array.from({ length: to - from + 1 }, (_, n) => from + n);

/** The range that a number lies in; null if it lies in none. They ascend. */
export function rangeOf<R extends readonly [from: number, to: number, ...unknown[]]>(
  ranges: readonly R[],
  number: number,
): R | null {
  let [low, high] = [0, ranges.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const range = ranges[middle];
    if (range === undefined || range[0] > number) high = middle;
    else if (range[1] < number) low = middle + 1;
    else return range;
  }
  return null;
}

/** Whether a number lies in one of the ranges. */
export const isIn = (
  ranges: readonly (readonly [from: number, to: number, ...unknown[]])[],
  number: number,
): boolean => rangeOf(ranges, number) !== null;
