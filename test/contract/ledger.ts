/**
 * What anything behind the `Ledger` seam must show: the real one on a nats-server, and the fake.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ListKey, listKeyOf, slotOf } from '../../src/mail/list-key.ts';
import type { Ledger } from '../../src/world.ts';

export type LedgerUnderTest = { readonly ledger: Ledger; close(): Promise<void> };

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** A new list each time, so that the tests of one suite do not see each other. */
export const newKey = (): ListKey => listKeyOf(crypto.getRandomValues(new Uint8Array(26)));

/** A new list in this slot. */
function newKeyIn(slot: number): ListKey {
  for (;;) {
    const key = newKey();
    if (slotOf(key) === slot) return key;
  }
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

export function ledgerContract(name: string, make: () => Promise<LedgerUnderTest>): void {
  describe(`ledger: ${name}`, () => {
    let it: LedgerUnderTest;
    beforeAll(async () => {
      it = await make();
    });
    afterAll(() => it.close());

    const append = async (
      key: ListKey,
      text: string,
      expected: number,
    ): Promise<number | string> => {
      const outcome = await it.ledger.append(slotOf(key), key, bytesOf(text), expected);
      return outcome.kind === 'stored' ? outcome.seq : outcome.kind;
    };
    const appended = async (key: ListKey, text: string, expected: number): Promise<number> => {
      const outcome = await append(key, text, expected);
      if (typeof outcome === 'string') throw new Error(outcome);
      return outcome;
    };
    const texts = async (key: ListKey, after = 0): Promise<string[]> =>
      (await all(it.ledger.read(slotOf(key), key, after))).map(({ bytes }) => textOf(bytes));

    appending();
    reading();
    scanning();

    function appending(): void {
      test('a record is stored after the one that was expected', async () => {
        const key = newKey();
        const first = await appended(key, 'first', 0);
        const second = await appended(key, 'second', first);
        expect(second).toBeGreaterThan(first);
        expect(await texts(key)).toEqual(['first', 'second']);
      });

      test('a record with the wrong expected sequence is refused and not stored', async () => {
        const key = newKey();
        const first = await appended(key, 'first', 0);
        expect(await append(key, 'stale', 0)).toBe('refused');
        expect(await append(key, 'ahead', first + 1_000_000)).toBe('refused');
        expect(await texts(key)).toEqual(['first']);
      });

      test('the same bytes again are refused; the last record says they are there', async () => {
        const key = newKey();
        const seq = await appended(key, 'once', 0);
        expect(await append(key, 'once', 0)).toBe('refused');
        const last = await it.ledger.last(slotOf(key), key);
        expect(last?.seq).toBe(seq);
        expect(textOf(last?.bytes ?? new Uint8Array())).toBe('once');
        expect(await texts(key)).toEqual(['once']);
      });

      test('records of other lists do not move the expected sequence of a list', async () => {
        const [one, other] = [newKey(), newKey()];
        const first = await appended(one, 'a', 0);
        await appended(other, 'b', 0);
        await appended(one, 'c', first);
        expect(await texts(one)).toEqual(['a', 'c']);
      });

      test('of rivals who expect the same, one is stored and the others are refused', async () => {
        const key = newKey();
        const rivals = Array.from({ length: 20 }, (_, i) => append(key, `rival ${i}`, 0));
        const outcomes = await Promise.all(rivals);
        expect(outcomes.filter((outcome) => typeof outcome === 'number')).toHaveLength(1);
        expect(outcomes.filter((outcome) => outcome === 'refused')).toHaveLength(19);
        expect(await texts(key)).toHaveLength(1);
      });

      test('whatever is expected, the history is what was answered “stored”', async () => {
        const step = fc.record({ list: fc.nat(2), lag: fc.nat(2) });
        await fc.assert(
          fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
            const keys = [newKey(), newKey(), newKey()];
            const model = keys.map((): { seq: number; text: string }[] => []);
            for (const [i, { list, lag }] of steps.entries()) {
              const [key, history] = [keys[list] ?? newKey(), model[list] ?? []];
              const expected = history.at(-1 - lag)?.seq ?? 0;
              const outcome = await append(key, `${i}`, expected);
              const isLast = expected === (history.at(-1)?.seq ?? 0);
              expect(typeof outcome).toBe(isLast ? 'number' : 'string');
              if (typeof outcome === 'number') history.push({ seq: outcome, text: `${i}` });
            }
            for (const [list, key] of keys.entries()) {
              expect(await texts(key)).toEqual(model[list]?.map(({ text }) => text));
            }
          }),
          { numRuns: 15 },
        );
      });
    }

    function reading(): void {
      test('a list without a record has no last one, and reads as empty', async () => {
        const key = newKey();
        expect(await it.ledger.last(slotOf(key), key)).toBeNull();
        expect(await texts(key)).toEqual([]);
      });

      test('reading after a sequence gives what came later, and nothing else', async () => {
        const key = newKey();
        const seqs: number[] = [];
        for (const text of ['a', 'b', 'c', 'd']) {
          seqs.push(await appended(key, text, seqs.at(-1) ?? 0));
        }
        expect(await texts(key, seqs[1])).toEqual(['c', 'd']);
        expect(await texts(key, seqs[3])).toEqual([]);
        expect(await texts(key, (seqs[3] ?? 0) + 1_000_000)).toEqual([]);
      });

      test('a record comes back byte for byte, whatever it holds', async () => {
        const key = newKey();
        const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i % 256);
        await it.ledger.append(slotOf(key), key, bytes, 0);
        const [record] = await all(it.ledger.read(slotOf(key), key, 0));
        expect(Buffer.compare(record?.bytes ?? new Uint8Array(), bytes)).toBe(0);
        const last = await it.ledger.last(slotOf(key), key);
        expect(Buffer.compare(last?.bytes ?? new Uint8Array(), bytes)).toBe(0);
      });

      test('a reader that stops early leaves nothing behind that hinders the next', async () => {
        const key = newKey();
        const first = await appended(key, 'a', 0);
        await appended(key, 'b', first);
        for await (const record of it.ledger.read(slotOf(key), key, 0)) {
          expect(textOf(record.bytes)).toBe('a');
          break;
        }
        expect(await texts(key)).toEqual(['a', 'b']);
      });

      test('the slot’s own history stands beside its lists’', async () => {
        const slot = 7;
        const before = await it.ledger.last(slot, 'owner');
        const outcome = await it.ledger.append(
          slot,
          'owner',
          bytesOf('acquired'),
          before?.seq ?? 0,
        );
        expect(outcome.kind).toBe('stored');
        const last = await it.ledger.last(slot, 'owner');
        expect(textOf(last?.bytes ?? new Uint8Array())).toBe('acquired');
      });
    }

    function scanning(): void {
      test('a scan gives the lists of the slots in order, without the owners', async () => {
        const after = await it.ledger.end();
        const [one, two, elsewhere] = [newKeyIn(1), newKeyIn(2), newKeyIn(3)];
        const a = await appended(one, 'a', 0);
        await appended(two, 'b', 0);
        await appended(elsewhere, 'not mine', 0);
        const owner = await it.ledger.last(2, 'owner');
        await it.ledger.append(2, 'owner', bytesOf('acquired'), owner?.seq ?? 0);
        await appended(one, 'c', a);
        const found = await all(it.ledger.scan([1, 2], after));
        expect(found.map(({ slot, key, bytes }) => [slot, key, textOf(bytes)])).toEqual([
          [1, one, 'a'],
          [2, two, 'b'],
          [1, one, 'c'],
        ]);
        const seqs = found.map(({ seq }) => seq);
        expect(seqs).toEqual(seqs.toSorted((x, y) => x - y));
      });

      test('who follows is given what lists and owners of the slots append, in order, what was there and what comes', async () => {
        const after = await it.ledger.end();
        const [one, elsewhere] = [newKeyIn(1), newKeyIn(3)];
        const a = await appended(one, 'a', 0);
        await appended(elsewhere, 'not mine', 0);
        const ending = new AbortController();
        const found: [number, string, string][] = [];
        for await (const record of it.ledger.follow([1, 2], after, ending.signal)) {
          found.push([record.slot, record.whose, textOf(record.bytes)]);
          if (found.length === 1) {
            await appended(one, 'b', a);
            const owner = await it.ledger.last(2, 'owner');
            await it.ledger.append(2, 'owner', bytesOf('acquired'), owner?.seq ?? 0);
          }
          if (found.length === 3) ending.abort();
        }
        expect(found).toEqual([
          [1, one, 'a'],
          [1, one, 'b'],
          [2, 'owner', 'acquired'],
        ]);
      });

      test('a scan of all slots after the end is empty, and one before it is not', async () => {
        const slots = Array.from({ length: 64 }, (_, slot) => slot);
        const before = await it.ledger.end();
        await appended(newKey(), 'new', 0);
        expect(await all(it.ledger.scan(slots, before))).toHaveLength(1);
        expect(await all(it.ledger.scan(slots, await it.ledger.end()))).toEqual([]);
        expect(await all(it.ledger.scan([], 0))).toEqual([]);
      });

      test('the end is the sequence of the last record of all', async () => {
        const seq = await appended(newKey(), 'x', 0);
        expect(await it.ledger.end()).toBe(seq);
      });
    }
  });
}
