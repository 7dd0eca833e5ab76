/** Folding what the ledger holds and the store does not: the gap of one list, and everything after a crash. */
import { assert } from '../assert.ts';
import { MailError, OperatorError, textOf } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import { lookAgain } from '../nats/look-again.ts';
import { openDraft } from '../store/list-rows.ts';
import type { StoredRecord } from '../world.ts';
import { apply } from './apply.ts';
import type { Committer } from './commit.ts';
import { decodeRecord, hashOf } from './record.ts';
import type { OwnedSlot } from './slots.ts';
import type { HostWorld } from './world.ts';

/** A history that does not continue what is stored: cut, mended, or another cluster's. The list is set aside, not guessed at. */
export class BrokenChainError extends Error {
  override readonly name = 'BrokenChainError';
}

/** Folds one record into the store's rows; returns the writes, or null if it was folded before. */
export function foldRecord(
  world: Pick<HostWorld, 'rows'>,
  key: ListKey,
  { seq, bytes }: StoredRecord,
): { writes: ReturnType<ReturnType<typeof openDraft>['writes']>; epoch: number } | null {
  const record = decodeRecord(bytes);
  const draft = openDraft(world.rows, key, record.at);
  const head = draft.head();
  if (seq <= head.seq) return null;
  if (record.n !== head.n + 1 || record.prev !== head.hash) throw broken(record.n, seq, head.n);
  apply(draft, record, { seq, hash: hashOf(bytes) });
  return { writes: draft.writes(), epoch: record.epoch };
}

/** While the ledger cannot be read. */
const READ_AGAIN_MS_MIN = 250;
const READ_AGAIN_MS_MAX = 5_000;

/**
 * Folds what others appended to one list. `stale` if an owner with a later epoch did, or if the slot was lost meanwhile. A ledger
 * that cannot be read is waited for: the list can do nothing else.
 */
export async function foldGap(
  world: HostWorld,
  slot: OwnedSlot,
  key: ListKey,
  committer: Committer,
): Promise<'folded' | 'stale'> {
  let pause = READ_AGAIN_MS_MIN;
  while (!slot.signal.aborted) {
    try {
      return await foldOnce(world, slot, key, committer);
    } catch (error) {
      if (!(error instanceof MailError)) throw error;
      world.log.warn({ list: key, error: textOf(error), pause }, 'host: cannot read the ledger');
    }
    await world.clock.sleep(pause, slot.signal);
    pause = Math.min(2 * pause, READ_AGAIN_MS_MAX);
  }
  return 'stale';
}

async function foldOnce(
  world: HostWorld,
  slot: OwnedSlot,
  key: ListKey,
  committer: Committer,
): Promise<'folded' | 'stale'> {
  const { seq: after } = openDraft(world.rows, key, 0).head();
  for await (const stored of world.ledger.read(slot.slot, key, after)) {
    if (slot.signal.aborted) return 'stale';
    const folded = foldRecord(world, key, stored);
    if (folded === null) continue;
    if (folded.epoch > slot.epoch) return 'stale';
    slot.folded(stored.seq);
    await committer.commit(folded.writes, slot.signal);
  }
  return 'folded';
}

/** All that folding needs: no queue, no outgoing. */
export type Folding = Pick<HostWorld, 'rows' | 'ledger' | 'clock'>;

/**
 * Folds one list anew from its first record: for rows that do not fit a ledger that is whole. Throws BrokenChainError, and
 * changes nothing, if the ledger itself does not hold together. Cut short, the list's next turn folds the rest.
 */
async function refold(world: Folding, slot: number, key: ListKey): Promise<void> {
  let before = { n: 0, hash: '' };
  for await (const { seq, bytes } of world.ledger.read(slot, key, 0)) {
    const { n, prev } = decodeRecord(bytes);
    if (n !== before.n + 1 || prev !== before.hash) throw broken(n, seq, before.n);
    before = { n, hash: hashOf(bytes) };
  }
  const old = world.rows.range([key], [key, '\uffff']);
  world.rows.commit([...old].map(([row]) => [row, undefined] as const));
  for await (const stored of world.ledger.read(slot, key, 0)) {
    const folded = foldRecord(world, key, stored);
    if (folded !== null) world.rows.commit(folded.writes);
  }
}

const broken = (n: number, seq: number, after: number): BrokenChainError =>
  new BrokenChainError(`record ${n} at ${seq} does not follow record ${after}`);

const reachedOf = (slot: OwnedSlot) => {
  const row = slot.reachedRow();
  return row === null ? [] : [row];
};

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

/** A scan of several slots reads anew what some of them have folded: records within so many sequences. */
const READ_ANEW_MAX = 1_000;

/**
 * The records of these slots that are not folded, and a few that are, up to the last there is when asked; in order for each slot.
 * A quiet slot was folded far back: it is read apart, so that busy ones need not be read from there.
 */
export async function* unfolded(
  { ledger }: Pick<Folding, 'ledger'>,
  slots: readonly OwnedSlot[],
): AsyncGenerator<readonly [OwnedSlot, StoredRecord & { slot: number; key: ListKey }], void, void> {
  const inOrder = [...slots].sort((a, b) => a.reached() - b.reached());
  while (inOrder.length > 0) {
    const after = inOrder[0]?.reached() ?? 0;
    const further = inOrder.findIndex((slot) => slot.reached() > after + READ_ANEW_MAX);
    const together = inOrder.splice(0, further < 0 ? inOrder.length : further);
    const bySlot = new Map(together.map((slot) => [slot.slot, slot]));
    for await (const stored of ledger.scan([...bySlot.keys()], after)) {
      const slot = bySlot.get(stored.slot);
      assert(slot !== undefined, 'a record of a slot that was not asked for');
      yield [slot, stored];
    }
  }
}

/** How often recovery says how far it is. */
const PROGRESS_EVERY = 1_000;

/**
 * Folds every record of the slots that the store lacks. Resumes where it was interrupted: each commit says how far it is.
 * A list whose rows do not fit is folded anew; `setAside` hears of those whose ledger does not hold together, which are left as they
 * are. Throws OperatorError if the store has folded more than the ledger holds: it is another cluster's, or an older copy.
 */
export async function recover(
  world: Folding,
  slots: readonly OwnedSlot[],
  setAside: (key: ListKey, error: BrokenChainError) => void,
  progress: (done: number, seq: number) => void,
): Promise<number> {
  await checkNotShorter(world, slots);
  const skipped = new Set<ListKey>();
  let many = 0;
  for await (const [slot, stored] of unfolded(world, slots)) {
    try {
      const folded = skipped.has(stored.key) ? null : foldRecord(world, stored.key, stored);
      slot.folded(stored.seq);
      if (folded !== null) world.rows.commit([...folded.writes, ...reachedOf(slot)]);
    } catch (error) {
      if (!(error instanceof BrokenChainError)) throw error;
      skipped.add(stored.key);
      await mend(world, stored.slot, stored.key, setAside);
    }
    many += 1;
    if (many % PROGRESS_EVERY === 0) progress(many, stored.seq);
  }
  return many;
}

/** Rows that do not fit are folded anew from the ledger; only a ledger that does not fit itself needs a person. */
export async function mend(
  world: Folding,
  slot: number,
  key: ListKey,
  setAside: (key: ListKey, error: BrokenChainError) => void,
): Promise<boolean> {
  try {
    await refold(world, slot, key);
    return true;
  } catch (error) {
    if (!(error instanceof BrokenChainError)) throw error;
    setAside(key, error);
    return false;
  }
}

/**
 * Throws OperatorError if some slot is folded further than the ledger goes. To be asked before anything is appended too: a few records
 * more, and nobody sees any longer that it is shorter.
 */
export async function checkNotShorter(
  { ledger, clock }: Pick<Folding, 'ledger' | 'clock'>,
  slots: readonly Pick<OwnedSlot, 'reached'>[],
): Promise<void> {
  const reached = Math.max(...slots.map((slot) => slot.reached()));
  if (reached === 0) return;
  const end = await lookAgain(clock, ledger.end, (found) => found >= reached);
  if (end >= reached) return;
  throw new OperatorError(
    `the ledger ends at ${end}, but this node has folded it up to ${reached}`,
    'It is another cluster, or was restored from an older backup. Point the node at the right one, or, if the ledger is right, ' +
      'delete `state` in its data directory: it is folded again.',
  );
}
