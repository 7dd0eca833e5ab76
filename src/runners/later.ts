/**
 * Later runner: hands on what is due.
 *
 *   takes   troupe.due.>                  what was put to wait, when its time has come
 *   gives   troupe.outgoing.retry         a chunk whose next try is due
 *           troupe.mailbox.<slot>.<key>   a timer of a list, as the command that it was
 *   parks   troupe.parked.later           what cannot be read
 *
 * W1. What is handed on twice keeps its id, and counts once: results or `seen` stop the second.
 */
import { unreachable } from '../assert.ts';
import type { Delivery, Due, MailboxOut, Meter, OutgoingOut } from '../world.ts';
import type { Disposal } from './runner.ts';

export type LaterNeeds<C> = {
  /** Throws when it is not what `Later` writes. */
  decode(data: Uint8Array): Due<C>;
  readonly outgoing: OutgoingOut;
  readonly mailbox: MailboxOut<C>;
  readonly meter: Meter;
};

export async function dispose<C>(delivery: Delivery, needs: LaterNeeds<C>): Promise<Disposal> {
  const due = needs.decode(delivery.data);
  switch (due.to) {
    case 'outgoing':
      await needs.outgoing.put([due.chunk]);
      break;
    case 'mailbox':
      await needs.mailbox.put(due.key, due.asked);
      break;
    default:
      return unreachable(due);
  }
  needs.meter.count('later_due', { to: due.to });
  return { kind: 'done' };
}
