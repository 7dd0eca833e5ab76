/**
 * The chain of one list: which record follows which, and what becomes of a list whose records do not.
 *
 *   rows that do not fit a whole ledger   are folded anew
 *   a ledger that does not fit itself     sets its list aside, and no other
 */
import { type LeftOut, type Numbers, numbersAfter } from '../../actors/list/repairing.ts';
import type { Fact } from '../../actors/protocol.ts';
import { BugError } from '../assert.ts';
import { textOf } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import { lookAgain } from '../nats/look-again.ts';
import { asideRow } from '../store/aside.ts';
import { openDraft } from '../store/list-rows.ts';
import type { StoredRecord } from '../world.ts';
import { apply } from './apply.ts';
import { decodeRecord, type Entry, hashOf, type LedgerRecord } from './record.ts';
import type { HostWorld } from './world.ts';

/**
 * A history that does not continue what is stored, or that cannot be read: cut, mended, or another cluster's. The list is set aside,
 * not guessed at.
 */
export class BrokenChainError extends Error {
  override readonly name = 'BrokenChainError';
  /** The sequence of the record that cannot be folded. */
  readonly seq: number;
  constructor(seq: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.seq = seq;
  }
}

/** All that folding needs: no queue, no outgoing. */
export type Folding = Pick<HostWorld, 'rows' | 'ledger' | 'clock' | 'nextTick'>;

/**
 * Folds one record into the store's rows; returns the writes, or null if it was folded before. Throws BrokenChainError for a record
 * that does not follow, that is none, or that its list cannot take.
 */
export function foldRecord(
  world: Pick<HostWorld, 'rows'>,
  key: ListKey,
  { seq, bytes }: StoredRecord,
): { writes: ReturnType<ReturnType<typeof openDraft>['writes']>; epoch: number } | null {
  const head = openDraft(world.rows, key, 0).head(); // A store that fails does so here, apart from the record.
  if (seq <= head.seq) return null;
  const record = decoded(seq, bytes);
  if (record.n !== head.n + 1 || record.prev !== head.hash) throw brokenAt(record.n, seq, head.n);
  const draft = openDraft(world.rows, key, record.at);
  blaming(seq, () => apply(draft, record, { seq, hash: hashOf(bytes) }));
  return { writes: draft.writes(), epoch: record.epoch };
}

const decoded = (seq: number, bytes: Uint8Array): LedgerRecord =>
  blaming(seq, () => decodeRecord(bytes));

const brokenAt = (n: number, seq: number, after: number): BrokenChainError =>
  new BrokenChainError(seq, `record ${n} at ${seq} does not follow record ${after}`);

/** What a record is to blame for becomes BrokenChainError; failures of the store are thrown as they are. */
function blaming<T>(seq: number, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!BLAMED.some((kind) => error instanceof kind)) throw error;
    const why = `the record at ${seq} cannot be folded: ${textOf(error)}`;
    throw new BrokenChainError(seq, why, { cause: error });
  }
}

/** No JSON, not what the chart takes, or not of the shape that a fact has. */
const BLAMED = [SyntaxError, BugError, TypeError, RangeError];

/**
 * True if the list's rows end where its ledger ends, or before: the last record folded is the one that the ledger has there. A
 * turn over other rows would write a history that nobody can follow.
 */
export async function isWhole(world: Folding, slot: number, key: ListKey): Promise<boolean> {
  const head = openDraft(world.rows, key, 0).head();
  const look = (): Promise<StoredRecord | null> => world.ledger.last(slot, key);
  const last = await lookAgain(world.clock, look, (found) => (found?.seq ?? 0) >= head.seq);
  if (last === null) return head.seq === 0;
  if (last.seq === head.seq) return hashOf(last.bytes) === head.hash;
  return last.seq > head.seq; // What is missing is folded before anything is appended, and must fit.
}

/**
 * Folds a list anew where its rows do not fit. Null if that mended it; else what is wrong with its ledger, and the list's row in
 * `aside.ts` says so from now on. Where records do not follow each other the rows are left as they are; where the list cannot take
 * one, what comes before it is folded. Cut short, the list's next turn folds the rest.
 */
export async function mend(
  world: Folding,
  slot: number,
  key: ListKey,
): Promise<BrokenChainError | null> {
  const { skips, broken } = await survey(world, slot, key);
  const error = broken ?? (await foldAnew(world, slot, key, skips))?.why ?? null;
  world.rows.commit([[asideRow(key), error?.message]]);
  return error;
}

/** Records of a ledger, by sequence, that a later record says are left out; both included. */
export type Skip = { readonly from: number; readonly to: number };

export type Survey = {
  readonly skips: readonly Skip[];
  /** The first record that does not follow, unless it is left out. */
  readonly broken: BrokenChainError | null;
};

/** Reads a list's ledger and folds nothing. A repair is believed here; whether it follows is seen when it is folded. */
export async function survey(
  { ledger }: Pick<Folding, 'ledger'>,
  slot: number,
  key: ListKey,
): Promise<Survey> {
  const skips: Skip[] = [];
  let broken: BrokenChainError | null = null;
  let before = { n: 0, hash: '' };
  for await (const { seq, bytes } of ledger.read(slot, key, 0)) {
    const record = readable(seq, bytes);
    const skip = record instanceof BrokenChainError ? null : skipOf(record, seq);
    if (skip !== null) {
      skips.push(skip);
      broken = null;
    } else if (record instanceof BrokenChainError) broken ??= record;
    else if (record.n !== before.n + 1 || record.prev !== before.hash)
      broken ??= brokenAt(record.n, seq, before.n);
    if (!(record instanceof BrokenChainError)) before = { n: record.n, hash: hashOf(bytes) };
  }
  return { skips, broken };
}

export const isSkipped = (skips: readonly Skip[], seq: number): boolean =>
  skips.some(({ from, to }) => from <= seq && seq <= to);

function readable(seq: number, bytes: Uint8Array): LedgerRecord | BrokenChainError {
  try {
    return decoded(seq, bytes);
  } catch (error) {
    if (error instanceof BrokenChainError) return error;
    throw error;
  }
}

/** The facts of a record, or null where it is none. */
export function factsOf(bytes: Uint8Array): readonly Fact[] | null {
  const record = readable(0, bytes);
  if (record instanceof BrokenChainError) return null;
  const entries: readonly (Partial<Entry> | null)[] = record.entries;
  const facts = entries.flatMap((entry) => (Array.isArray(entry?.facts) ? entry.facts : []));
  return facts.filter((fact) => typeof fact === 'object' && fact !== null);
}

function skipOf(record: LedgerRecord, seq: number): Skip | null {
  const { entries } = record;
  if (entries.length !== 1 || entries[0]?.facts?.length !== 1) return null;
  const [fact] = entries[0].facts;
  return fact?.type === 'list-repaired' && fact.to < seq ? fact : null;
}

/** What is left of a ledger from the first record on that cannot be folded. */
export type Rest = LeftOut & { readonly why: BrokenChainError; readonly numbers: Numbers };

/** Forgets the rows of a list and folds its ledger, without what is skipped, as far as it goes; null: to its end. */
export async function foldAnew(
  world: Folding,
  slot: number,
  key: ListKey,
  skips: readonly Skip[],
): Promise<Rest | null> {
  const { rows, ledger } = world;
  rows.commit([...rows.range([key], [key, '\uffff'])].map(([row]) => [row, undefined] as const));
  let rest: Rest | null = null;
  for await (const stored of ledger.read(slot, key, 0)) {
    if (isSkipped(skips, stored.seq)) continue;
    try {
      const folded = rest === null ? foldRecord(world, key, stored) : null;
      if (folded !== null) rows.commit(folded.writes);
    } catch (why) {
      if (!(why instanceof BrokenChainError)) throw why;
      const numbers = openDraft(rows, key, 0).state();
      rest = { why, from: stored.seq, to: stored.seq, records: 0, numbers };
    }
    if (rest !== null) rest = withRecord(rest, stored);
  }
  return rest;
}

const withRecord = (rest: Rest, { seq, bytes }: StoredRecord): Rest => ({
  ...rest,
  to: seq,
  records: rest.records + 1,
  numbers: numbersAfter(rest.numbers, factsOf(bytes)),
});
