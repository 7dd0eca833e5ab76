/**
 * Recipients of a chunk as inclusive ranges of member numbers: so that 5,000 of them are a few
 * bytes.
 */

export type Range = readonly [from: number, to: number];

/**
 * The fewest ranges that hold every number of `chosen` and no other number of `all`, which is
 * ascending. A number in neither may fall into a range where `mayBridge`; else it splits it.
 */
export function rangesOf(
  chosen: ReadonlySet<number>,
  all: readonly number[],
  mayBridge: boolean,
): readonly Range[] {
  const ranges: [number, number][] = [];
  let isOpen = false;
  for (const number of all) {
    const last = ranges.at(-1);
    if (!chosen.has(number)) isOpen = false;
    else if (last !== undefined && (mayBridge ? isOpen : last[1] === number - 1)) last[1] = number;
    else {
      ranges.push([number, number]);
      isOpen = true;
    }
  }
  return ranges;
}

/** Whether a number lies in one of the ranges. */
export function isIn(ranges: readonly Range[], number: number): boolean {
  return ranges.some(([from, to]) => from <= number && number <= to);
}
