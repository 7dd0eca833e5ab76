/**
 * How sure an inspection is (design §4, Inspect): `fast` is what the owner's rows say; `confirmed` has looked at the ledger's last
 * record of the list; `barrier` has appended an empty record first, so no later epoch had written when it was answered.
 */
import type { InspectLevel } from '../../actors/protocol.ts';
import { MailError } from '../errors.ts';
import { type ListKey, slotOf } from '../mail/list-key.ts';
import { openDraft } from '../store/list-rows.ts';
import type { Lists } from './awake.ts';
import { decodeRecord } from './record.ts';
import type { HostWorld } from './world.ts';

/** Looks at a list whose turn is between its append and its commit; then the difference is told as it is. */
const LOOKS_MAX = 5;

/**
 * How far the list's rows are behind the ledger, in sequences of the stream; for `fast`, which asks nobody, what the owner knows. Throws MailError 451
 * where the list is another's, or the ledger cannot be read.
 */
export async function lagAt(
  level: InspectLevel,
  key: ListKey,
  { world, lists }: { readonly world: HostWorld; readonly lists: Lists },
): Promise<number> {
  if (level === 'fast') return lists.running(key).lag;
  if (level === 'barrier') {
    const failed = await lists.barrier(key);
    if (failed !== null) throw failed;
  }
  for (let looks = 1; ; looks++) {
    const last = await world.ledger.last(slotOf(key), key);
    const lag = (last?.seq ?? 0) - openDraft(world.rows, key, 0).head().seq;
    if (last !== null && epochOf(last.bytes) > lists.running(key).epoch) {
      throw new MailError(451, '4.3.2', 'another node has this list; ask again');
    }
    if (lag <= 0 || looks === LOOKS_MAX) return Math.max(0, lag);
    await lists.turned(key);
  }
}

/** What is no record has no epoch; the list's next turn finds it. */
function epochOf(bytes: Uint8Array): number {
  try {
    return decodeRecord(bytes).epoch;
  } catch {
    return 0;
  }
}
