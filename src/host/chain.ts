/**
 * The chain of one list: which record follows which, and what becomes of a list whose records do not.
 *
 *   rows that do not fit a whole ledger   are folded anew
 *   a ledger that does not fit itself     sets its list aside, and no other
 */
import { BugError } from '../assert.ts';
import { textOf } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import { lookAgain } from '../nats/look-again.ts';
import { asideRow } from '../store/aside.ts';
import { openDraft } from '../store/list-rows.ts';
import type { StoredRecord } from '../world.ts';
import { apply } from './apply.ts';
import { decodeRecord, hashOf, type LedgerRecord } from './record.ts';
import type { HostWorld } from './world.ts';

/**
 * A history that does not continue what is stored, or that cannot be read: cut, mended, or another cluster's. The list is set aside,
 * not guessed at.
 */
export class BrokenChainError extends Error {
  override readonly name = 'BrokenChainError';
}

/** All that folding needs: no queue, no outgoing. */
export type Folding = Pick<HostWorld, 'rows' | 'ledger' | 'clock'>;

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
  if (record.n !== head.n + 1 || record.prev !== head.hash) throw broken(record.n, seq, head.n);
  const draft = openDraft(world.rows, key, record.at);
  blaming(seq, () => apply(draft, record, { seq, hash: hashOf(bytes) }));
  return { writes: draft.writes(), epoch: record.epoch };
}

const decoded = (seq: number, bytes: Uint8Array): LedgerRecord =>
  blaming(seq, () => decodeRecord(bytes));

const broken = (n: number, seq: number, after: number): BrokenChainError =>
  new BrokenChainError(`record ${n} at ${seq} does not follow record ${after}`);

/** What a record is to blame for becomes BrokenChainError; failures of the store are thrown as they are. */
function blaming<T>(seq: number, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!BLAMED.some((kind) => error instanceof kind)) throw error;
    throw new BrokenChainError(`the record at ${seq} cannot be folded: ${textOf(error)}`, {
      cause: error,
    });
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
 * `aside.ts` says so from now on.
 */
export async function mend(
  world: Folding,
  slot: number,
  key: ListKey,
): Promise<BrokenChainError | null> {
  try {
    await refold(world, slot, key);
    return null;
  } catch (error) {
    if (!(error instanceof BrokenChainError)) throw error;
    world.rows.commit([[asideRow(key), error.message]]);
    return error;
  }
}

/**
 * Folds one list anew from its first record: for rows that do not fit a ledger that is whole. Throws BrokenChainError if the
 * ledger itself does not hold together: then nothing is changed, or, where its list cannot take a record, what comes before that
 * record is folded. Cut short, the list's next turn folds the rest.
 */
async function refold(world: Folding, slot: number, key: ListKey): Promise<void> {
  let before = { n: 0, hash: '' };
  for await (const { seq, bytes } of world.ledger.read(slot, key, 0)) {
    const { n, prev } = decoded(seq, bytes);
    if (n !== before.n + 1 || prev !== before.hash) throw broken(n, seq, before.n);
    before = { n, hash: hashOf(bytes) };
  }
  const old = [...world.rows.range([key], [key, '\uffff'])].map(([row]) => row);
  world.rows.commit([...old, asideRow(key)].map((row) => [row, undefined] as const));
  for await (const stored of world.ledger.read(slot, key, 0)) {
    const folded = foldRecord(world, key, stored);
    if (folded !== null) world.rows.commit(folded.writes);
  }
}
