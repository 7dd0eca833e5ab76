/**
 * Rebuild: forget every folded row and fold the ledger again. Nothing but the ledger is needed, and what comes out is what was
 * there, row by row, the outbox and `seen` included (design §1.3). Interrupted, it goes on where it was at the next start.
 */
import { SLOTS } from '../mail/list-key.ts';
import { asideIn } from '../store/aside.ts';
import type { Folding } from './chain.ts';
import { recover } from './fold.ts';
import { ownSlot } from './slots.ts';

export type Rebuilt = {
  readonly records: number;
  readonly broken: readonly { readonly key: string; readonly why: string }[];
};

/** `progress` hears of the records folded so far and the stream's sequence. The node must not be running. */
export async function rebuild(
  world: Folding,
  progress: (records: number, seq: number) => void,
): Promise<Rebuilt> {
  world.rows.clear();
  const slots = Array.from({ length: SLOTS }, (_, slot) => ownSlot(world.rows, slot, 0));
  const records = await recover(world, slots, progress);
  const broken = asideIn(world.rows).map(([key, why]) => ({ key, why }));
  await world.rows.flushed();
  return { records, broken };
}
