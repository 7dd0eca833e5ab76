/** What every key-value bucket must show, real or simulated. */
import { describe, expect, test } from 'vitest';
import type { Kv } from '../../src/world.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | null | undefined): string | null =>
  value === null || value === undefined ? null : new TextDecoder().decode(value);

type Row = { readonly key: string; readonly value: Uint8Array | null; readonly revision: number };

/** The next `count` things a watch tells: `key=value`, `key deleted` or `ready`. */
export async function told(
  watch: AsyncIterator<Row | 'ready'>,
  count: number,
): Promise<readonly string[]> {
  const all: string[] = [];
  while (all.length < count) {
    const { value: row, done } = await watch.next();
    if (done === true) return [...all, 'end'];
    if (row === 'ready') all.push(row);
    else all.push(row.value === null ? `${row.key} deleted` : `${row.key}=${text(row.value)}`);
  }
  return all;
}

/** `open` gives an empty bucket each time. */
export function kvContract(name: string, open: () => Promise<Kv>): void {
  describe(`a bucket (${name})`, () => {
    test('has nothing under a key that was never made', async () => {
      const kv = await open();
      expect(await kv.get('a')).toBeNull();
    });

    test('gives back what was made, with its revision', async () => {
      const kv = await open();
      const revision = await kv.create('a.b', bytes('1'));
      const entry = await kv.get('a.b');
      expect([entry?.key, text(entry?.value), entry?.revision]).toEqual(['a.b', '1', revision]);
    });

    test('makes a key once only, and keeps what was there', async () => {
      const kv = await open();
      await kv.create('a', bytes('1'));
      expect(await kv.create('a', bytes('2'))).toBeNull();
      expect(text((await kv.get('a'))?.value)).toBe('1');
    });

    test('lets exactly one of many make the same key', async () => {
      const kv = await open();
      const made = await Promise.all(
        Array.from({ length: 20 }, (_, i) => kv.create('a', bytes(String(i)))),
      );
      const winners = made.filter((revision) => revision !== null);
      expect(winners).toHaveLength(1);
      expect(text((await kv.get('a'))?.value)).toBe(String(made.indexOf(winners[0] ?? null)));
    });

    test('changes a key only for who knows its last revision', async () => {
      const kv = await open();
      const first = (await kv.create('a', bytes('1'))) ?? 0;
      const second = (await kv.update('a', bytes('2'), first)) ?? 0;
      expect(second).toBeGreaterThan(first);
      expect(await kv.update('a', bytes('3'), first)).toBeNull();
      expect(text((await kv.get('a'))?.value)).toBe('2');
      expect(await kv.update('b', bytes('1'), first)).toBeNull();
    });

    test('forgets a deleted key, and makes it again', async () => {
      const kv = await open();
      const first = (await kv.create('a', bytes('1'))) ?? 0;
      await kv.delete('a');
      expect(await kv.get('a')).toBeNull();
      expect(await kv.update('a', bytes('2'), first)).toBeNull();
      expect(await kv.create('a', bytes('3'))).toBeGreaterThan(first);
      expect(text((await kv.get('a'))?.value)).toBe('3');
    });

    test('tells a watcher all there is, then that it is ready, then each change', async () => {
      const kv = await open();
      await kv.create('a', bytes('1'));
      await kv.update('a', bytes('2'), (await kv.get('a'))?.revision ?? 0);
      await kv.create('b', bytes('1'));
      const ending = new AbortController();
      const watch = kv.watch(ending.signal)[Symbol.asyncIterator]();
      expect(await told(watch, 3)).toEqual(['a=2', 'b=1', 'ready']);
      await kv.create('c', bytes('1'));
      await kv.delete('a');
      expect(await told(watch, 2)).toEqual(['c=1', 'a deleted']);
      ending.abort();
      expect(await told(watch, 1)).toEqual(['end']);
    });

    test('is ready at once when it is empty', async () => {
      const kv = await open();
      const ending = new AbortController();
      const watch = kv.watch(ending.signal)[Symbol.asyncIterator]();
      expect(await told(watch, 1)).toEqual(['ready']);
      ending.abort();
    });

    test('ends a watch that waits for a change', async () => {
      const kv = await open();
      const ending = new AbortController();
      const watch = kv.watch(ending.signal)[Symbol.asyncIterator]();
      await told(watch, 1);
      const next = told(watch, 1);
      ending.abort();
      expect(await next).toEqual(['end']);
    });
  });
}
