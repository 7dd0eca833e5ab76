/**
 * A slot that this node owns: its epoch, how far it is folded, and whether it may still speak.
 *
 * The epoch of an owner is the sequence of the `acquired` record that it appends to the slot's own history, so it lives and
 * is restored with the ledger.
 */
import type { ListKey } from '../mail/list-key.ts';
import type { Clock, Ledger, RowKey, Rows } from '../world.ts';
import { append } from './append.ts';

export type OwnedSlot = {
  readonly slot: number;
  readonly epoch: number;
  /** Aborts when the slot is lost: then nothing more is decided, done or said for its lists. */
  readonly signal: AbortSignal;
  /** Milliseconds until this node may not answer for the slot any more; null where there is no lease. */
  msLeft(): number | null;
  /** Every record of the slot up to this sequence is folded. */
  reached(): number;
  /** The row that says so, for the next commit; null if the last one said it already. */
  reachedRow(): readonly [RowKey, number] | null;
  /** A record of the slot at this sequence is in the next commit. */
  folded(seq: number): void;
  /** An append of this list is under way; call what is returned when it is committed or given up. */
  appending(key: ListKey): () => void;
  /** Records of the slot, or of one of its lists, that are being appended or folded, and that its rows lack: all that its owner knows of. */
  lag(key?: ListKey): number;
};

const rowOf = (slot: number): RowKey => ['#slot', slot];
const NEVER = new AbortController().signal;

/** How long the owner may still speak. */
export type Tenure = { readonly signal: AbortSignal; msLeft(): number | null };
/** For folding alone, where nobody is answered. */
const NO_TENURE: Tenure = { signal: NEVER, msLeft: () => null };

/** Tracks how far a slot is folded: below every append that is still under way. */
export function ownSlot(rows: Rows, slot: number, epoch: number, tenure = NO_TENURE): OwnedSlot {
  let foldedTo = (rows.get(rowOf(slot)) as number | undefined) ?? 0;
  let told = foldedTo;
  /** For each append under way, a sequence that its own is above. */
  const underWay = new Map<ListKey, number>();
  const reached = (): number => Math.min(foldedTo, ...underWay.values());
  return {
    slot,
    epoch,
    signal: tenure.signal,
    msLeft: tenure.msLeft,
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
    lag: (key) => (key === undefined ? underWay.size : Number(underWay.has(key))),
  };
}

/**
 * Appends the `acquired` record of a slot; its sequence is the epoch. Null if the signal aborted before it was known. Throws
 * MailError 451 while NATS cannot be read.
 */
export async function acquire(
  world: { readonly ledger: Ledger; readonly clock: Clock },
  slot: number,
  owner: { readonly node: string; readonly incarnation: string },
  signal: AbortSignal,
): Promise<number | null> {
  const record = { type: 'acquired', ...owner, at: world.clock.now() };
  const bytes = Buffer.from(JSON.stringify(record));
  for (;;) {
    const last = await world.ledger.last(slot, 'owner');
    const outcome = await append(world, slot, 'owner', bytes, last?.seq ?? 0, signal);
    if (outcome.kind === 'appended') return outcome.seq;
    if (outcome.kind === 'stopped') return null;
    // Another node acquired it in between: ours comes after, and its appends will be refused.
  }
}
