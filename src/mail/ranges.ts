/**
 * Who was accepted, as inclusive ranges of member numbers, each with what the MTA said: every number in a range was accepted, so
 * that a result alone says who and how many.
 */

/** Ascending where there are several. No reply: the MTA's word was lost in a crash, that it took the mail was not. */
export type Range = readonly [from: number, to: number, reply?: string];

/** The fewest ranges, ascending; neighbours are one range where they were told the same. */
export function rangesOf(accepted: ReadonlyMap<number, string>): readonly Range[] {
  const ranges: [from: number, to: number, reply: string][] = [];
  for (const [number, reply] of [...accepted].sort(([a], [b]) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === number - 1 && last[2] === reply) last[1] = number;
    else ranges.push([number, number, reply]);
  }
  return ranges.map(([from, to, reply]) => (reply === '' ? [from, to] : [from, to, reply]));
}

/** The range that a number lies in; null if it lies in none. */
export function rangeOf(ranges: readonly Range[], number: number): Range | null {
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
export const isIn = (ranges: readonly Range[], number: number): boolean =>
  rangeOf(ranges, number) !== null;
