/**
 * Deliberate bugs, put in where the program meets its world: each one must be caught, or the invariants prove nothing.
 */
import { decodeRecord, encodeRecord } from '../../src/host/record.ts';
import type { Appended, Ledger, Results, RowKey, Rows } from '../../src/world.ts';
import type { Life } from './life.ts';

export const MUTANTS = [
  'answers before the append',
  'appends without the fence',
  'effects are not in the fold',
  'new bytes after a doubtful append',
  'seen is forgotten',
  'results are not read before sending',
] as const;

export type Mutant = (typeof MUTANTS)[number];

/** Wraps the seams of one process. */
export type Mutate = {
  ledger(ledger: Ledger, life: Life): Ledger;
  rows(rows: Rows): Rows;
  results(results: Results): Results;
};

export function mutate(mutant: Mutant | null): Mutate {
  return {
    ledger: (ledger, life) => {
      if (mutant === 'answers before the append') return hasty(ledger, life);
      if (mutant === 'appends without the fence') return fenceless(ledger);
      if (mutant === 'new bytes after a doubtful append') return restless(ledger);
      return ledger;
    },
    rows: (rows) => {
      if (mutant === 'seen is forgotten') return without(rows, 'seen');
      if (mutant === 'effects are not in the fold') return forgetful(rows, 'outbox');
      return rows;
    },
    results: (results) =>
      mutant === 'results are not read before sending'
        ? { ...results, last: async () => null, isUntold: async () => true }
        : results,
  };
}

/** Says `stored` when it has sent the record, not when it is stored. */
function hasty(ledger: Ledger, life: Life): Ledger {
  return {
    ...ledger,
    async append(slot, whose, bytes, expected): Promise<Appended> {
      if (whose === 'owner') return ledger.append(slot, whose, bytes, expected);
      const stored = ledger.append(slot, whose, bytes, expected);
      const hurried = life.clock
        .sleep(0)
        .then((): Appended => ({ kind: 'stored', seq: expected + 1 }));
      return Promise.race([stored, hurried]);
    },
  };
}

/** Expects whatever is there. */
function fenceless(ledger: Ledger): Ledger {
  return {
    ...ledger,
    async append(slot, whose, bytes, expected) {
      if (whose === 'owner') return ledger.append(slot, whose, bytes, expected);
      const last = await ledger.last(slot, whose).catch(() => null);
      return ledger.append(slot, whose, bytes, last?.seq ?? expected);
    },
  };
}

/** After a doubt it sends the turn again with another time, as if it had been decided anew. */
function restless(ledger: Ledger): Ledger {
  const doubted = new Map<string, number>();
  return {
    ...ledger,
    async append(slot, whose, bytes, expected) {
      if (whose === 'owner') return ledger.append(slot, whose, bytes, expected);
      const tries = doubted.get(`${whose}.${expected}`) ?? 0;
      const { entries, ...record } = decodeRecord(bytes);
      const texts = entries.map((entry) => JSON.stringify(entry));
      const sent = tries === 0 ? bytes : encodeRecord({ ...record, at: record.at + tries }, texts);
      const outcome = await ledger.append(slot, whose, sent, expected);
      if (outcome.kind === 'doubt') doubted.set(`${whose}.${expected}`, tries + 1);
      return outcome;
    },
  };
}

/** Rows of this kind are never written. */
function without(rows: Rows, kind: string): Rows {
  const isKept = ([key]: readonly [RowKey, unknown]): boolean => key[1] !== kind;
  return { ...rows, commit: (writes) => rows.commit([...writes].filter(isKept)) };
}

/** Rows of this kind are in memory alone, so they end with the process. */
function forgetful(rows: Rows, kind: string): Rows {
  const isOf = ([key]: readonly [RowKey, unknown]): boolean => key[1] === kind;
  const memory = new Map<string, readonly [RowKey, unknown]>();
  const ordered = (): (readonly [RowKey, unknown])[] => [...memory.values()];
  return {
    ...rows,
    range(from, to, limit) {
      if (from[1] !== kind) return rows.range(from, to, limit);
      const numbers = from.slice(2).map(Number);
      return ordered()
        .filter(([key]) => key[0] === from[0] && !isBelow(key.slice(2).map(Number), numbers))
        .filter(([key]) => isBelow(key.slice(2).map(Number), to.slice(2).map(Number)))
        .sort(([a], [b]) => (isBelow(a.slice(2).map(Number), b.slice(2).map(Number)) ? -1 : 1))
        .slice(0, limit);
    },
    commit(writes) {
      const all = [...writes];
      for (const row of all.filter(isOf)) {
        const name = JSON.stringify(row[0]);
        if (row[1] === undefined) memory.delete(name);
        else memory.set(name, row);
      }
      rows.commit(all.filter((row) => !isOf(row)));
    },
  };
}

function isBelow(a: readonly number[], b: readonly number[]): boolean {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [x, y] = [a[i] ?? -1, b[i] ?? -1];
    if (x !== y) return x < y;
  }
  return false;
}
