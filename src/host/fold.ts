/** Folding what the ledger holds and the store does not: the gap of one list, and everything after a crash. */
import { assert } from '../assert.ts';
import { MailError, OperatorError, textOf } from '../errors.ts';
import { type ListKey, slotOf } from '../mail/list-key.ts';
import { lookAgain } from '../nats/look-again.ts';
import { asideIn } from '../store/aside.ts';
import { openDraft } from '../store/list-rows.ts';
import type { StoredRecord } from '../world.ts';
import { BrokenChainError, type Folding, foldRecord, mend } from './chain.ts';
import type { Committer } from './commit.ts';
import type { OwnedSlot } from './slots.ts';
import type { HostWorld } from './world.ts';

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

const reachedOf = (slot: OwnedSlot) => {
  const row = slot.reachedRow();
  return row === null ? [] : [row];
};

/** So many things are folded or looked at before everything else has its turn: some milliseconds. */
const A_SLICE = 16;

/** The same, in slices: a store and a reader with much at hand would otherwise let nothing else happen for as long as they last. */
export async function* inSlices<T>(
  { nextTick }: Pick<Folding, 'nextTick'>,
  things: AsyncIterable<T> | Iterable<T>,
): AsyncGenerator<T, void, void> {
  let many = 0;
  for await (const thing of things) {
    yield thing;
    many += 1;
    if (many % A_SLICE === 0) await new Promise<void>((resolve) => nextTick(resolve));
  }
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
 * A list whose rows do not fit is folded anew; one whose ledger does not hold together is left as it is, and its row in `aside.ts`
 * says so. Throws OperatorError if the store has folded more than the ledger holds: it is another cluster's, or an older copy.
 */
export async function recover(
  world: Folding,
  slots: readonly OwnedSlot[],
  progress: (done: number, seq: number) => void,
): Promise<number> {
  const behind = slots.filter((slot) => !isUpToDate(slot));
  if (behind.length > 0) await checkNotShorter(world, behind);
  const lookedAt = new Set<ListKey>();
  let many = 0;
  for await (const [slot, stored] of inSlices(world, unfolded(world, behind))) {
    try {
      const folded = lookedAt.has(stored.key) ? null : foldRecord(world, stored.key, stored);
      slot.folded(stored.seq);
      if (folded !== null) world.rows.commit([...folded.writes, ...reachedOf(slot)]);
    } catch (error) {
      if (!(error instanceof BrokenChainError)) throw error;
      lookedAt.add(stored.key);
      await mend(world, stored.slot, stored.key);
    }
    many += 1;
    if (many % PROGRESS_EVERY === 0) progress(many, stored.seq);
  }
  // What was set aside when its slot was read the last time may have been repaired since.
  for (const [key] of asideIn(world.rows)) {
    const isOurs = slots.some(({ slot }) => slot === slotOf(key));
    if (isOurs && !lookedAt.has(key)) await mend(world, slotOf(key), key);
  }
  return many;
}

/** A follower has read the record that made us the slot's owner, and so all before it. */
const isUpToDate = ({ epoch, reached }: OwnedSlot): boolean => epoch > 0 && reached() === epoch;

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
