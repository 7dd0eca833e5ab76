/** The order of row keys, as LMDB's ordered-binary encoding has it: element by element, numbers before strings, a prefix first. */
import type { RowKey } from '../world.ts';

/** Negative, zero or positive, as for `sort`. */
export function compareKeys(a: RowKey, b: RowKey): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const order = compareParts(a[i], b[i]);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

function compareParts(a: string | number | undefined, b: string | number | undefined): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return compareTexts(a, b);
  return typeof a === 'number' ? -1 : 1;
}

/** Below it, the order of UTF-16 is that of UTF-8, and nothing need be encoded. */
const FIRST_SURROGATE = 0xd800;

function compareTexts(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left === right) continue;
    if (left < FIRST_SURROGATE && right < FIRST_SURROGATE) return left - right;
    return Buffer.compare(Buffer.from(a), Buffer.from(b));
  }
  return a.length - b.length;
}
