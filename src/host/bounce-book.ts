/**
 * The rows of the bounce actor, with what is folded since the last checkpoint laid over them.
 *
 *   [key, 'score', member]           {score, due}: `due` is where the row stands in the index below
 *   [key, 'post', number]            Tally
 *   [key, 'day', number]             Day
 *   [key, 'hints']                   the addresses that plain DSNs spoke of today
 *   ['#ask', slot, key, kind, n]     what is to be asked of a list; gone once its mailbox has it
 *   ['#due', slot, at, key, member]  when time alone changes something about a member
 *   ['#slot', slot]                  Checkpoint: how far BOUNCES is folded
 */

import type { Rules } from '../../actors/bounces/scoring.ts';
import { type Asking, type Book, nextOf, type Score, type Tail } from '../../actors/bounces.ts';
import { rulesOf } from '../../actors/list/troubles.ts';
import type { ListKey } from '../mail/list-key.ts';
import { slotOf } from '../mail/list-key.ts';
import { openDraft } from '../store/list-rows.ts';
import type { Row, RowKey, Rows } from '../world.ts';

export type Checkpoint = { readonly seq: number; readonly at: number };
export type ScoreRow = { readonly score: Score; readonly due: number };
/** A row of `#ask` or `#due`, taken apart. */
export type Ask = { readonly row: RowKey; readonly key: ListKey; readonly asking: Asking };
export type Due = { readonly row: RowKey; readonly key: ListKey; readonly member: number };

export type Books = {
  of(key: ListKey): Book;
  /** Rows changed since the last checkpoint. */
  dirty(): number;
  /** Writes all that changed, and the checkpoint, in one transaction; about how many bytes. */
  checkpoint(slot: number, at: Checkpoint): number;
  remove(row: RowKey): void;
  get(row: RowKey): unknown;
  /** Puts off what is due. */
  postpone(due: Due, at: number): void;
};

/** The rows of the lists themselves, from which sizes and settings are read. */
type Lists = { readonly rows: Rows };

export function openBooks(bounces: Rows, lists: Lists): Books {
  let over = new Map<string, Row>();
  let known = new Map<ListKey, Known>();
  const idOf = (row: RowKey): string => row.join(' ');
  const get = (row: RowKey): unknown => {
    const mine = over.get(idOf(row));
    return mine === undefined ? bounces.get(row) : mine[1];
  };
  const put = (row: RowKey, value: unknown): void => {
    over.set(idOf(row), [row, value]);
  };

  /** Read once a checkpoint: a setting that is changed counts from the next one on. */
  function knownOf(key: ListKey): Known {
    const there = known.get(key);
    if (there !== undefined) return there;
    const { settings } = openDraft(lists.rows, key, 0).state();
    const made = { slot: slotOf(key), rules: rulesOf(settings), members: new Map() };
    known.set(key, made);
    return made;
  }

  function membersOf(key: ListKey, post: number): number | null {
    const { members } = knownOf(key);
    const before = members.get(post);
    if (before !== undefined) return before;
    const size = openDraft(lists.rows, key, 0).postRow(post)?.live ?? null;
    members.set(post, size);
    return size;
  }

  function putScore(key: ListKey, member: number, score: Score | undefined): void {
    const row: RowKey = [key, 'score', member];
    const before = get(row) as ScoreRow | undefined;
    const { slot, rules } = knownOf(key);
    const due = score === undefined ? 0 : nextOf(member, score, rules).due;
    const index = (at: number): RowKey => ['#due', slot, at, key, member];
    if (before !== undefined && before.due !== due) put(index(before.due), undefined);
    put(row, score === undefined ? undefined : { score, due });
    if (score !== undefined && before?.due !== due) put(index(due), true);
  }

  const rowOf = (key: ListKey, tail: Tail): RowKey =>
    tail[0] === 'ask' ? ['#ask', knownOf(key).slot, key, ...tail.slice(1)] : [key, ...tail];

  /** The first that is stored and not deleted since, or the first that is new. */
  function first(key: ListKey, kind: Tail[0]): Row | null {
    const stored = [...bounces.range([key, kind], [key, kind, Number.MAX_SAFE_INTEGER], FIRST_MAX)];
    const mine = [...over.values()].filter(([row]) => row[0] === key && row[1] === kind);
    const all = [...stored.filter(([row]) => !over.has(idOf(row))), ...mine];
    const live = all.filter(([, value]) => value !== undefined);
    live.sort(([a], [b]) => Number(a[2]) - Number(b[2]));
    return live[0] ?? null;
  }

  return {
    of: (key) => ({
      get: (tail) => {
        const value = get(rowOf(key, tail));
        return tail[0] === 'score' ? (value as ScoreRow | undefined)?.score : value;
      },
      put: (tail, value) => {
        if (tail[0] === 'score') putScore(key, Number(tail[1]), value as Score | undefined);
        else put(rowOf(key, tail), value);
      },
      first: (kind) => {
        const found = first(key, kind);
        if (found === null) return null;
        const [row, value] = found;
        return { tail: [kind, ...row.slice(2)], value };
      },
      membersOf: (post) => membersOf(key, post),
      rules: () => knownOf(key).rules,
    }),
    dirty: () => over.size,
    checkpoint: (slot, at) => {
      const writes = [...over.values(), [['#slot', slot], at] as const];
      bounces.commit(writes);
      over = new Map();
      known = new Map();
      return bytesOf(writes);
    },
    remove: (row) => put(row, undefined),
    get,
    postpone: ({ row, key, member }, at) => {
      const there = get([key, 'score', member]) as ScoreRow | undefined;
      put(row, undefined);
      if (there === undefined) return;
      put([key, 'score', member], { ...there, due: at });
      put(['#due', slotOf(key), at, key, member], true);
    },
  };
}

/** What is read of a list once a checkpoint. */
type Known = {
  readonly slot: number;
  readonly rules: Rules;
  /** Who got each post. */
  readonly members: Map<number, number | null>;
};

/** One row in so many is measured: to measure each would cost as much as to write it. */
const MEASURED_EVERY = 16;

/** About how many bytes the rows take. */
function bytesOf(writes: readonly (readonly [RowKey, unknown])[]): number {
  const some = writes.filter((_, i) => i % MEASURED_EVERY === 0);
  const bytes = some.reduce((sum, write) => sum + JSON.stringify(write).length, 0);
  return Math.round((bytes * writes.length) / some.length);
}

/** Stored rows looked at for the first: the others of them were deleted since the last checkpoint. */
const FIRST_MAX = 8;

/** What is to be asked, as the last checkpoint has it; at most `limit`. */
export function asksOf(bounces: Rows, slot: number, limit: number): Ask[] {
  return [...bounces.range(['#ask', slot], ['#ask', slot + 1], limit)].map(([row, value]) => ({
    ...{ row, key: row[2] as ListKey, asking: value as Asking },
  }));
}

/** What was due by `now`, as the last checkpoint has it; at most `limit`. */
export function duesOf(bounces: Rows, slot: number, now: number, limit: number): Due[] {
  return [...bounces.range(['#due', slot], ['#due', slot, now + 1], limit)].map(([row]) => ({
    ...{ row, key: row[3] as ListKey, member: Number(row[4]) },
  }));
}

export const checkpointOf = (bounces: Rows, slot: number): Checkpoint | null =>
  (bounces.get(['#slot', slot]) as Checkpoint | undefined) ?? null;

/** Forgets all that was folded of a slot. */
export function forget(bounces: Rows, slot: number): void {
  const gone: (readonly [RowKey, undefined])[] = [[['#slot', slot], undefined]];
  for (const kind of ['#ask', '#due'])
    for (const [row] of bounces.range([kind, slot], [kind, slot + 1])) gone.push([row, undefined]);
  for (let from: RowKey = ['$']; ; ) {
    const [next] = [...bounces.range(from, ['{'], 1)];
    if (next === undefined) break;
    const key = String(next[0][0]) as ListKey;
    const end = [key, '\uffff'];
    if (slotOf(key) === slot)
      for (const [row] of bounces.range([key], end)) gone.push([row, undefined]);
    from = end;
  }
  bounces.commit(gone);
}
