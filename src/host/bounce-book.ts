/**
 * The rows of the bounce actor, with what is folded since the last checkpoint laid over them.
 *
 *   [key, 'score', member]           {score, due}: `due` is where the row stands in the index below
 *   [key, 'post', number]            Tally
 *   [key, 'day', number]             Day
 *   [key, 'stake', post, member]     what is asked of the member, or was, rests on this post
 *   [key, 'hints']                   the addresses that plain DSNs spoke of today
 *   ['#ask', slot, key, kind, n]     what is to be asked of a list; gone once its mailbox has it
 *   ['#due', slot, at, key, member]  when time alone changes something about a member
 *   ['#slot', slot]                  Checkpoint: how far BOUNCES is folded
 *   ['#suspects', slot]              how far its lists were told of suspects (`suspicion.ts`)
 */

import { nextOf } from '../../actors/bounces/due.ts';
import type { Book, Score, Tail } from '../../actors/bounces/score.ts';
import type { Rules } from '../../actors/bounces/scoring.ts';
import type { Asking } from '../../actors/bounces.ts';
import { rulesOf } from '../../actors/list/troubles.ts';
import type { ListKey } from '../mail/list-key.ts';
import { slotOf } from '../mail/list-key.ts';
import { listKeys, openDraft } from '../store/list-rows.ts';
import type { Row, RowKey, Rows } from '../world.ts';

/** `v`: by which version of the fold; rows of another are folded anew. */
export type Checkpoint = { readonly v: number; readonly seq: number; readonly at: number };
export const FOLD_VERSION = 2;
export type ScoreRow = { readonly score: Score; readonly due: number };
/** A row of `#ask` or `#due`, taken apart. */
export type Ask = { readonly row: RowKey; readonly key: ListKey; readonly asking: Asking };
export type Due = { readonly row: RowKey; readonly key: ListKey; readonly member: number };

export type Books = {
  of(key: ListKey): Book;
  /** Rows changed since the last checkpoint. */
  dirty(): number;
  /** Writes all that changed, and the checkpoint, in one transaction; about how many bytes. */
  checkpoint(slot: number, reached: Omit<Checkpoint, 'v'>): number;
  remove(row: RowKey): void;
  get(row: RowKey): unknown;
  /** Puts off what is due. */
  postpone(due: Due, at: number): void;
};

/** The rows of the lists themselves, from which sizes and settings are read. */
type Lists = { readonly rows: Rows };

type State = {
  readonly bounces: Rows;
  readonly lists: Rows;
  /** What changed since the last checkpoint, by {@link idOf}. */
  over: Map<string, Row>;
  known: Map<ListKey, Known>;
  /** The row that was read last: a fold asks for a member's score more than once before it changes it. */
  last: { readonly id: string; readonly value: unknown } | null;
};

/** What is read of a list once a checkpoint: a setting that is changed counts from the next one on. */
type Known = {
  readonly slot: number;
  readonly rules: Rules;
  readonly sent: Map<number, ReturnType<Book['sent']>>;
};

export function openBooks(bounces: Rows, { rows: lists }: Lists): Books {
  const state: State = { bounces, lists, over: new Map(), known: new Map(), last: null };
  return {
    of: (key) => bookOf(state, key),
    dirty: () => state.over.size,
    checkpoint: (slot, reached) => {
      const checkpoint = { v: FOLD_VERSION, ...reached };
      const writes = [...state.over.values(), [['#slot', slot], checkpoint] as const];
      bounces.commit(writes);
      state.over = new Map();
      state.known = new Map();
      state.last = null;
      return bytesOf(writes);
    },
    remove: (row) => put(state, row, undefined),
    get: (row) => get(state, row),
    postpone: ({ row, key, member }, at) => {
      const there = get(state, [key, 'score', member]) as ScoreRow | undefined;
      put(state, row, undefined);
      if (there === undefined) return;
      put(state, [key, 'score', member], { ...there, due: at });
      put(state, ['#due', slotOf(key), at, key, member], true);
    },
  };
}

// ── Rows, and what is laid over them ──────────────────────────────────────

const idOf = (row: RowKey): string => row.join(' ');

function get(state: State, row: RowKey): unknown {
  const id = idOf(row);
  const mine = state.over.get(id);
  if (mine !== undefined) return mine[1];
  if (state.last?.id !== id) state.last = { id, value: state.bounces.get(row) };
  return state.last.value;
}

function put({ over }: State, row: RowKey, value: unknown): void {
  over.set(idOf(row), [row, value]);
}

// ── The book of one list ──────────────────────────────────────────────────

function bookOf(state: State, key: ListKey): Book {
  return {
    get: (tail) => {
      const value = get(state, rowOf(key, tail));
      return tail[0] === 'score' ? (value as ScoreRow | undefined)?.score : value;
    },
    put: (tail, value) => {
      if (tail[0] === 'score') putScore(state, key, Number(tail[1]), value as Score | undefined);
      else put(state, rowOf(key, tail), value);
    },
    first: (kind) => {
      const found = first(state, key, kind);
      if (found === null) return null;
      const [row, value] = found;
      return { tail: [kind, ...row.slice(2)], value };
    },
    stakes: (post) => stakes(state, key, post),
    sent: (post) => sentOf(state, key, post),
    rules: () => knownOf(state, key).rules,
  };
}

const rowOf = (key: ListKey, tail: Tail): RowKey =>
  tail[0] === 'ask' ? ['#ask', slotOf(key), key, ...tail.slice(1)] : [key, ...tail];

function knownOf({ lists, known }: State, key: ListKey): Known {
  const there = known.get(key);
  if (there !== undefined) return there;
  const { settings } = openDraft(lists, key, 0).state();
  const made = { slot: slotOf(key), rules: rulesOf(settings), sent: new Map() };
  known.set(key, made);
  return made;
}

function sentOf(state: State, key: ListKey, post: number): ReturnType<Book['sent']> {
  const { sent } = knownOf(state, key);
  const before = sent.get(post);
  if (before !== undefined) return before;
  const row = openDraft(state.lists, key, 0).postRow(post);
  const found = row === null ? null : { members: row.live, author: row.author ?? '', at: row.at };
  sent.set(post, found);
  return found;
}

function stakes({ bounces, over }: State, key: ListKey, post: number): readonly number[] {
  const stored = bounces.range([key, 'stake', post], [key, 'stake', post + 1]);
  const mine = [...over.values()].filter(
    ([row]) => row[0] === key && row[1] === 'stake' && row[2] === post,
  );
  const live = [...stored].filter(([row]) => !over.has(idOf(row)));
  live.push(...mine.filter(([, value]) => value !== undefined));
  return live.map(([row]) => Number(row[3]));
}

/** The score, and its place in the index of what is due. */
function putScore(state: State, key: ListKey, member: number, score: Score | undefined): void {
  const row: RowKey = [key, 'score', member];
  const before = get(state, row) as ScoreRow | undefined;
  const { slot, rules } = knownOf(state, key);
  const due =
    score === undefined ? 0 : nextOf(member, score, rules, score.standing?.at ?? score.at).at;
  const index = (at: number): RowKey => ['#due', slot, at, key, member];
  if (before !== undefined && before.due !== due) put(state, index(before.due), undefined);
  put(state, row, score === undefined ? undefined : { score, due });
  if (score !== undefined && before?.due !== due) put(state, index(due), true);
}

/** Stored rows looked at for the first: the others of them were deleted since the last checkpoint. */
const FIRST_MAX = 8;

/** The first that is stored and not deleted since, or the first that is new. */
function first({ bounces, over }: State, key: ListKey, kind: Tail[0]): Row | null {
  const stored = [...bounces.range([key, kind], [key, kind, Number.MAX_SAFE_INTEGER], FIRST_MAX)];
  const mine = [...over.values()].filter(([row]) => row[0] === key && row[1] === kind);
  const all = [...stored.filter(([row]) => !over.has(idOf(row))), ...mine];
  const live = all.filter(([, value]) => value !== undefined);
  live.sort(([a], [b]) => Number(a[2]) - Number(b[2]));
  return live[0] ?? null;
}

// ── The checkpoint, and what it lets one find ─────────────────────────────

/** One row in so many is measured: to measure each would cost as much as to write it. */
const MEASURED_EVERY = 16;

/** About how many bytes the rows take. */
function bytesOf(writes: readonly (readonly [RowKey, unknown])[]): number {
  const some = writes.filter((_, i) => i % MEASURED_EVERY === 0);
  const bytes = some.reduce((sum, write) => sum + JSON.stringify(write).length, 0);
  return Math.round((bytes * writes.length) / some.length);
}

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
  for (const key of listKeys(bounces)) {
    if (slotOf(key) !== slot) continue;
    for (const [row] of bounces.range([key], [key, '\uffff'])) gone.push([row, undefined]);
  }
  bounces.commit(gone);
}
