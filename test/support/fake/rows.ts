/** Rows in memory, in LMDB's order; held to the same contract as the real ones. */
import { compareKeys } from '../../../src/store/key-order.ts';
import type { Row, RowKey, Rows } from '../../../src/world.ts';

export function fakeRows(): Rows {
  let rows: Row[] = [];
  /** The index of the first row that is not below `key`. */
  const at = (key: RowKey): number => {
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const row = rows[middle];
      if (row !== undefined && compareKeys(row[0], key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const find = (key: RowKey): Row | undefined => {
    const row = rows[at(key)];
    return row !== undefined && compareKeys(row[0], key) === 0 ? row : undefined;
  };
  return {
    get: (key) => copyOf(find(key)?.[1]),
    range: (from, to, limit) => rows.slice(at(from), at(to)).slice(0, limit),
    commit: (writes) => {
      for (const [key, value] of writes) {
        const index = at(key);
        const there = rows[index];
        const isThere = there !== undefined && compareKeys(there[0], key) === 0;
        if (value === undefined) rows.splice(index, isThere ? 1 : 0);
        else if (isThere) rows[index] = [there[0], copyOf(value)];
        else rows.splice(index, 0, [[...key], copyOf(value)]);
      }
    },
    flushed: async () => {},
    clear: () => {
      rows = [];
    },
    close: async () => {},
  };
}

/** As `structuredClone`, many times faster for what rows are made of. */
function copyOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(copyOf);
  if (Object.getPrototypeOf(value) !== Object.prototype) return structuredClone(value);
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(value)) copy[name] = copyOf(Reflect.get(value, name));
  return copy;
}
