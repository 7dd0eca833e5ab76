/** What rows must do, real or in memory: the host's store stands on it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RowKey, Rows } from '../../src/world.ts';

/** Runs the suite; `open` gives rows that are empty. */
export function rowsContract(name: string, open: () => Promise<Rows>): void {
  const keys = (rows: Rows, from: RowKey, to: RowKey, limit?: number) =>
    [...rows.range(from, to, limit)].map(([key]) => key);

  test(`${name}: what was committed is read back, and undefined deletes`, async () => {
    const rows = await open();
    rows.commit([
      [['k', 'a', 1], { x: [1, 'two', null], y: { z: true } }],
      [['k', 'a', 2], 'text'],
    ]);
    expect(rows.get(['k', 'a', 1])).toEqual({ x: [1, 'two', null], y: { z: true } });
    rows.commit([[['k', 'a', 2], undefined]]);
    expect(rows.get(['k', 'a', 2])).toBeUndefined();
    expect(rows.get(['k', 'a', 3])).toBeUndefined();
    await rows.close();
  });

  test(`${name}: a read in the tick of a commit sees it`, async () => {
    const rows = await open();
    for (let i = 0; i < 100; i++) {
      rows.commit([[['k', 'n'], i]]);
      expect(rows.get(['k', 'n'])).toBe(i);
      expect([...rows.range(['k'], ['l'])]).toEqual([[['k', 'n'], i]]);
    }
    await rows.close();
  });

  test(`${name}: a range is from ≤ key < to, in order, and no longer than asked`, async () => {
    const rows = await open();
    rows.commit([10, 9, 2, 1].map((n) => [['k', 'member', n], n] as const));
    rows.commit([
      [['k', 'list'], 1],
      [['k2', 'member', 5], 1],
      [['#slot', 3], 1],
    ]);
    expect(keys(rows, ['k', 'member', 2], ['k', 'member', 10])).toEqual([
      ['k', 'member', 2],
      ['k', 'member', 9],
    ]);
    expect(keys(rows, ['k', 'member', 0], ['k', 'member', 1e9], 2)).toHaveLength(2);
    expect(keys(rows, ['$'], ['{'], 1)).toEqual([['k', 'list']]);
    expect(keys(rows, ['k', '\uffff'], ['{'], 1)).toEqual([['k2', 'member', 5]]);
    await rows.close();
  });

  test(`${name}: keys of any shape keep one order`, async () => {
    const part = fc.oneof(
      fc.integer({ min: 0, max: 2 ** 45 }),
      fc.string({
        unit: fc.constantFrom('a', 'b', '-', '.', 'z', '7', 'é', '～', '😀'),
        maxLength: 8,
      }),
    );
    const key = fc.tuple(fc.constantFrom('k', 'm'), fc.constantFrom('x', 'y'), part, part);
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(key, { maxLength: 30, selector: String }), async (many) => {
        const rows = await open();
        rows.commit(many.map((one) => [one, 1] as const));
        const { compareKeys } = await import('../../src/store/key-order.ts');
        expect(keys(rows, ['#'], ['{'])).toEqual([...many].sort(compareKeys));
        await rows.close();
      }),
      { numRuns: 25 },
    );
  });

  test(`${name}: cleared, nothing is left`, async () => {
    const rows = await open();
    rows.commit([[['k', 'a'], 1]]);
    rows.clear();
    expect(keys(rows, ['#'], ['{'])).toEqual([]);
    await rows.flushed();
    await rows.close();
  });
}
