/**
 * The slots that this node owns, their epochs, and how far each is folded.
 *
 * The epoch of an owner is the sequence of the `acquired` record that it appends to the slot's own history, so it lives and
 * is restored with the ledger. Here one node owns every slot; who owns which among many is the cluster's part.
 */
import type { ListKey } from '../mail/list-key.ts';
import { SLOTS } from '../mail/list-key.ts';
import type { RowKey, Rows } from '../world.ts';
import { append } from './append.ts';
import type { HostWorld } from './world.ts';

export type OwnedSlot = {
  readonly slot: number;
  readonly epoch: number;
  /** Every record of the slot up to this sequence is folded. */
  reached(): number;
  /** The row that says so, for the next commit; null if the last one said it already. */
  reachedRow(): readonly [RowKey, number] | null;
  /** A record of the slot at this sequence is in the next commit. */
  folded(seq: number): void;
  /** An append of this list is under way; call what is returned when it is committed or given up. */
  appending(key: ListKey): () => void;
};

const rowOf = (slot: number): RowKey => ['#slot', slot];

/** Tracks how far a slot is folded: below every append that is still under way. */
export function ownSlot(rows: Rows, slot: number, epoch: number): OwnedSlot {
  let foldedTo = (rows.get(rowOf(slot)) as number | undefined) ?? 0;
  let told = foldedTo;
  /** For each append under way, a sequence that its own is above. */
  const underWay = new Map<ListKey, number>();
  const reached = (): number => Math.min(foldedTo, ...underWay.values());
  return {
    slot,
    epoch,
    reached,
    reachedRow: () => {
      if (reached() === told) return null;
      told = reached();
      return [rowOf(slot), told];
    },
    folded: (seq) => {
      foldedTo = Math.max(foldedTo, seq);
    },
    appending: (key) => {
      underWay.set(key, foldedTo);
      return () => underWay.delete(key);
    },
  };
}

/** Appends the `acquired` record of every slot and gives the slots with their epochs. */
export async function acquireAll(
  world: HostWorld,
  signal: AbortSignal,
): Promise<readonly OwnedSlot[]> {
  return Promise.all(Array.from({ length: SLOTS }, (_, slot) => acquire(world, slot, signal)));
}

async function acquire(world: HostWorld, slot: number, signal: AbortSignal): Promise<OwnedSlot> {
  const record = { type: 'acquired', node: world.node, at: world.clock.now() };
  const bytes = Buffer.from(JSON.stringify(record));
  for (;;) {
    const last = await world.ledger.last(slot, 'owner');
    const outcome = await append(world, slot, 'owner', bytes, last?.seq ?? 0, signal);
    if (outcome.kind === 'appended') return ownSlot(world.rows, slot, outcome.seq);
    signal.throwIfAborted(); // Else another node acquired it in between: ours comes after.
  }
}
