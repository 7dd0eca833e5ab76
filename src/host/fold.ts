/** Folding what the ledger holds and the store does not: the gap of one list, and everything after a crash. */
import { assert } from '../assert.ts';
import type { ListKey } from '../mail/list-key.ts';
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
  if (record.n !== head.n + 1 || record.prev !== head.hash)
    throw new BrokenChainError(
      `record ${record.n} at ${seq} does not follow ${head.n} at ${head.seq}`,
    );
  apply(draft, record, { seq, hash: hashOf(bytes) });
  return { writes: draft.writes(), epoch: record.epoch };
}

/** Folds what others appended to one list. `stale` if an owner with a later epoch did. */
export async function foldGap(
  world: HostWorld,
  slot: OwnedSlot,
  key: ListKey,
  committer: Committer,
): Promise<'folded' | 'stale'> {
  const { seq: after } = openDraft(world.rows, key, 0).head();
  for await (const stored of world.ledger.read(slot.slot, key, after)) {
    const folded = foldRecord(world, key, stored);
    if (folded === null) continue;
    if (folded.epoch > slot.epoch) return 'stale';
    slot.folded(stored.seq);
    await committer.commit(folded.writes);
  }
  return 'folded';
}

/** All that folding needs: no queue, no outgoing. */
export type Folding = Pick<HostWorld, 'rows' | 'ledger'>;

const reachedOf = (slot: OwnedSlot) => {
  const row = slot.reachedRow();
  return row === null ? [] : [row];
};

/** How often recovery says how far it is. */
const PROGRESS_EVERY = 1_000;

/**
 * Folds every record of the slots that the store lacks. Resumes where it was interrupted: each commit says how far it is.
 * `broken` hears of lists whose history does not fit; they are left as they are.
 */
export async function recover(
  world: Folding,
  slots: readonly OwnedSlot[],
  broken: (key: ListKey, error: BrokenChainError) => void,
  progress: (done: number, seq: number) => void,
): Promise<number> {
  const bySlot = new Map(slots.map((slot) => [slot.slot, slot]));
  const after = Math.min(...slots.map((slot) => slot.reached()));
  let many = 0;
  for await (const stored of world.ledger.scan([...bySlot.keys()], after)) {
    const slot = bySlot.get(stored.slot);
    assert(slot !== undefined, 'a record of a slot that was not asked for');
    try {
      const folded = foldRecord(world, stored.key, stored);
      slot.folded(stored.seq);
      if (folded !== null) world.rows.commit([...folded.writes, ...reachedOf(slot)]);
    } catch (error) {
      if (!(error instanceof BrokenChainError)) throw error;
      broken(stored.key, error);
    }
    many += 1;
    if (many % PROGRESS_EVERY === 0) progress(many, stored.seq);
  }
  return many;
}
