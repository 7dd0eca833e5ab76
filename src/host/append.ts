/**
 * Compare-and-append until it is known what became of it (design §3, The turn, step 3).
 *
 * An append without an answer may or may not have happened, and a read right after it may say "not there" although it
 * is. So the same bytes are sent again until the ledger itself answers; nothing else is decided meanwhile.
 */
import type { ListKey } from '../mail/list-key.ts';
import type { Clock, Ledger, StoredRecord } from '../world.ts';

/** Pause between tries of an append without an answer; doubles to the bound. */
const AGAIN_MS_MIN = 50;
const AGAIN_MS_MAX = 2_000;

export type Outcome =
  | { readonly kind: 'appended'; readonly seq: number }
  /** Somebody's record stands where ours should: `last` is the newest of the subject. */
  | { readonly kind: 'behind'; readonly last: StoredRecord | null }
  /** The host stops; it is not known whether the record was appended, so nobody is answered. */
  | { readonly kind: 'stopped' };

/** Appends `bytes` after the record at `expected`; resolves only when the ledger has answered or `signal` aborts. */
export async function append(
  world: { readonly ledger: Ledger; readonly clock: Clock },
  slot: number,
  whose: ListKey | 'owner',
  bytes: Uint8Array,
  expected: number,
  signal: AbortSignal,
): Promise<Outcome> {
  for (let pause = AGAIN_MS_MIN; !signal.aborted; pause = Math.min(pause * 2, AGAIN_MS_MAX)) {
    const outcome = await world.ledger.append(slot, whose, bytes, expected);
    if (outcome.kind === 'stored') return { kind: 'appended', seq: outcome.seq };
    if (outcome.kind === 'refused') {
      const last = await lastOf(world, slot, whose, signal);
      if (last === 'stopped') return { kind: 'stopped' };
      // Refused because an earlier try of these very bytes had been stored.
      if (last !== null && Buffer.compare(last.bytes, bytes) === 0)
        return { kind: 'appended', seq: last.seq };
      return { kind: 'behind', last };
    }
    await world.clock.sleep(pause, signal);
  }
  return { kind: 'stopped' };
}

async function lastOf(
  world: { readonly ledger: Ledger; readonly clock: Clock },
  slot: number,
  whose: ListKey | 'owner',
  signal: AbortSignal,
): Promise<StoredRecord | null | 'stopped'> {
  for (let pause = AGAIN_MS_MIN; !signal.aborted; pause = Math.min(pause * 2, AGAIN_MS_MAX)) {
    try {
      return await world.ledger.last(slot, whose);
    } catch {
      // NATS is away: what stands there decides what happens next, so there is nothing to do but ask again.
      await world.clock.sleep(pause, signal);
    }
  }
  return 'stopped';
}
