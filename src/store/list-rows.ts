/**
 * The rows of one list, and the draft of a turn over them.
 *
 *   [key, 'head']                     Head: how far the ledger is folded, and how far the outbox is done
 *   [key, 'list']                     ListRow: the chart's version, value and context
 *   [key, 'roles']                    {owner, moderator}: addresses, at most 100 each
 *   [key, 'member', number]           MemberRow: the roster, one row a member
 *   [key, 'address', addressKey]      the number of the member with that address
 *   [key, 'left', number]             MemberRow: who left, for 60 days, so that late bounces find whose they were
 *   [key, 'post', number]             PostRow
 *   [key, 'hold', id]                 HeldPost
 *   [key, 'trouble', number]           DeliveryRow: a member whose mail came back, now or once
 *   [key, 'verdict', id]              what was decided about a hold, for a week
 *   [key, 'repair', n]                 Repair: what the record `n` left out of the ledger
 *   [key, 'seen', commandId]          [n, index, answer] for a week
 *   [key, 'outbox', n, index, k]      Effect: the k-th effect of entry `index` of record `n`
 *   [key, 'expiry', at, n, x]         the tail of a row that goes when the records' time passes `at`
 */

import type { DeliveryRow } from '../../actors/delivery.ts';
import { type ListRow, NEW_LIST, NO_TROUBLE, upgraded } from '../../actors/list/state.ts';
import type { Mode, SentPost, Standing, State, Verdict, View } from '../../actors/list/view.ts';
import type { Answer, HeldPost, Role } from '../../actors/protocol.ts';
import { type Address, addressKey } from '../mail/address.ts';
import type { PostOrder } from '../mail/chunk.ts';
import type { MailRef } from '../mail/envelope.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { Row, RowKey, Rows } from '../world.ts';
import { compareKeys } from './key-order.ts';

/** Rows of the outbox before this one are done, and `chunk` chunks of it. */
export type Done = {
  readonly n: number;
  readonly index: number;
  readonly k: number;
  readonly chunk: number;
};

export type Head = {
  /** Number, stream sequence, hash, epoch and time of the last record folded; all 0 or '' before the first. */
  readonly n: number;
  readonly seq: number;
  readonly hash: string;
  readonly epoch: number;
  readonly at: number;
  /** Rows of the outbox that no record has told to be done. */
  readonly waiting: number;
  readonly done: Done;
};

export const NO_HEAD: Head = {
  n: 0,
  seq: 0,
  hash: '',
  epoch: 0,
  at: 0,
  waiting: 0,
  done: { n: 1, index: 0, k: 0, chunk: 0 },
};

/** `off`: gets no posts. */
export type MemberRow = {
  readonly address: Address;
  readonly name: string;
  readonly at: number;
  readonly off?: true;
};
export type PostRow = {
  readonly id: string;
  readonly at: number;
  readonly counter: number;
  readonly width: number;
  /** Members then who got posts. */
  readonly live: number;
  readonly subject: string;
  /** Absent: nobody said anything about it. */
  readonly order?: PostOrder;
  /** How often it was sent again to some; absent: never. */
  readonly resends?: number;
  /** What sending it again needs. `messageId` only where the mail had none. */
  readonly hold: number | null;
  readonly mail: MailRef;
  readonly messageId: string;
  readonly smtputf8: boolean;
  readonly trace: string;
  /** The domain of its author, where it has one. */
  readonly author?: string;
  /** Its bounces were a storm. */
  readonly storm?: true;
};
export type RolesRow = Readonly<Record<Role, readonly Address[]>>;
/** What a command was answered when it was first asked. */
export type Seen = readonly [n: number, index: number, answer: Answer];

type Tail = readonly [kind: string, ...rest: (string | number)[]];

/** A view of one list within a turn: reads fall through to the store, writes stay here until committed. */
export type Draft = View & {
  readonly key: ListKey;
  head(): Head;
  list(): ListRow;
  seen(commandId: string): Seen | null;
  memberRow(number: number): MemberRow | null;
  /** Of a member who left, for 60 days. */
  leftRow(number: number): MemberRow | null;
  postRow(number: number): PostRow | null;
  rolesRow(): RolesRow;
  hasTrouble(number: number): boolean;
  /** Members who get no posts. */
  offCount(): number;
  put(tail: Tail, value: unknown): void;
  remove(tail: Tail): void;
  /** Rows of one kind with from ≤ tail < to, as the draft stands. */
  range(kind: string, from: readonly number[], to: readonly number[], limit: number): Row[];
  /** All that was written, as rows of the store; `undefined` deletes. */
  writes(): (readonly [RowKey, unknown])[];
  size(): number;
};

const NO_ROLES: RolesRow = { owner: [], moderator: [] };

/** Opens a draft at time `at` (ms; the record's), for one turn. Cheap: nothing is read until it is asked for. */
export function openDraft(rows: Rows, key: ListKey, at: number): Draft {
  const { get, ...written } = overlay(rows, key);
  const list = (): ListRow => upgraded((get(['list']) as ListRow | undefined) ?? NEW_LIST);
  const rolesRow = (): RolesRow => (get(['roles']) as RolesRow | undefined) ?? NO_ROLES;
  const memberRow = (number: number): MemberRow | null =>
    (get(['member', number]) as MemberRow | undefined) ?? null;
  const postRow = (number: number): PostRow | null =>
    (get(['post', number]) as PostRow | undefined) ?? null;
  const sentPost = (number: number): SentPost | null => {
    const row = postRow(number);
    if (row === null) return null;
    return { counter: row.counter, order: row.order ?? 'go', resends: row.resends ?? 0 };
  };
  const standing = (of: Address): Standing => {
    const equal = addressKey(of);
    const roles = rolesRow();
    const isIn = (role: Role) => roles[role].some((address) => addressKey(address) === equal);
    const member = (get(['address', equal]) as number | undefined) ?? null;
    return { member, isOwner: isIn('owner'), isModerator: isIn('moderator') };
  };

  return {
    key,
    at,
    head: () => (get(['head']) as Head | undefined) ?? NO_HEAD,
    list,
    mode: (): Mode => list().value,
    state: (): State => list().context,
    standing,
    member: (number) => memberRow(number)?.address ?? null,
    memberRow,
    leftRow: (number) => (get(['left', number]) as MemberRow | undefined) ?? null,
    postRow,
    post: sentPost,
    roles: (role) => rolesRow()[role],
    rolesRow,
    hold: (id) => (get(['hold', id]) as HeldPost | undefined) ?? null,
    verdict: (id) => (get(['verdict', id]) as Verdict | undefined) ?? null,
    trouble: (number) => (get(['trouble', number]) as DeliveryRow | undefined) ?? NO_TROUBLE,
    hasTrouble: (number) => get(['trouble', number]) !== undefined,
    offCount: () => (get(['off']) as number | undefined) ?? 0,
    isStorm: (number) => postRow(number)?.storm === true,
    seen: (commandId) => (get(['seen', commandId]) as Seen | undefined) ?? null,
    ...written,
  };
}

/** The rows of a list with what a draft wrote laid over them. */
function overlay(rows: Rows, key: ListKey) {
  /** Written rows by kind; the inner key is the tail as JSON. */
  const written = new Map<string, Map<string, readonly [RowKey, unknown]>>();
  /** The rows that a list has one of, which every command asks for: as they are in the store. */
  const known = new Map<string, unknown>();
  let count = 0;

  const put = (tail: Tail, value: unknown): void => {
    let kind = written.get(tail[0]);
    if (kind === undefined) {
      kind = new Map();
      written.set(tail[0], kind);
    }
    count += 1;
    kind.set(JSON.stringify(tail), [[key, ...tail], value]);
  };
  return {
    get(tail: Tail): unknown {
      const mine = written.get(tail[0])?.get(JSON.stringify(tail));
      if (mine !== undefined) return mine[1];
      if (tail.length > 1) return rows.get([key, ...tail]);
      if (!known.has(tail[0])) known.set(tail[0], rows.get([key, ...tail]));
      return known.get(tail[0]);
    },
    put,
    remove: (tail: Tail): void => put(tail, undefined),
    range: (kind: string, from: readonly number[], to: readonly number[], limit: number): Row[] =>
      mergedRange(rows, [key, kind, ...from], [key, kind, ...to], written.get(kind), limit),
    writes: (): (readonly [RowKey, unknown])[] =>
      [...written.values()].flatMap((kind) => [...kind.values()]),
    size: (): number => count,
  };
}

/** Every list that has rows, by skipping from one to the next. */
export function* listKeys(rows: Rows): Iterable<ListKey> {
  let from: readonly string[] = ['$']; // Above '#slot', below every key.
  for (;;) {
    const [next] = [...rows.range(from, ['{'], 1)];
    if (next === undefined) return;
    const key = String(next[0][0]) as ListKey;
    yield key;
    from = [key, '\uffff'];
  }
}

/** Rows of the store with the draft's own laid over them. */
function mergedRange(
  rows: Rows,
  from: RowKey,
  to: RowKey,
  mine: ReadonlyMap<string, readonly [RowKey, unknown]> | undefined,
  limit: number,
): Row[] {
  if (mine === undefined || mine.size === 0) return [...rows.range(from, to, limit)];
  const over = [...mine.values()].filter(
    ([key]) => compareKeys(from, key) <= 0 && compareKeys(key, to) < 0,
  );
  const hidden = new Set(over.map(([key]) => JSON.stringify(key)));
  // As many more as are hidden at most, so that `limit` live ones remain.
  const under = [...rows.range(from, to, limit + hidden.size)].filter(
    ([key]) => !hidden.has(JSON.stringify(key)),
  );
  const live = over.filter(([, value]) => value !== undefined);
  return [...under, ...live].sort((a, b) => compareKeys(a[0], b[0])).slice(0, limit);
}
