/** Reading BOUNCES: followed by the bounce actors of the slots, and shown one by one to operators. */
import { systemClock } from '../clock.ts';
import { MailError, textOf } from '../errors.ts';
import { type BounceEvent, decodeBounceEvents, placeOf } from '../mail/bounce-event.ts';
import type { BounceLog } from '../world.ts';
import type { Nats } from './connect.ts';
import { passing } from './passing.ts';
import { PullLost } from './pull.ts';
import { apiRequest, failure, storedMessage } from './stored.ts';
import type { StreamName } from './streams.ts';
import { bouncesOfSlot, partsOf } from './subjects.ts';

const STREAM: StreamName = 'TROUPE_BOUNCES';
/** While NATS is away. */
const REOPEN_MS = 500;

export function createBounceLog(nats: Nats): BounceLog {
  return {
    async *follow(slot, after, signal, caughtUp) {
      const reached = { seq: after };
      const of = { stream: STREAM, subjects: [bouncesOfSlot(slot)], caughtUp };
      while (!signal.aborted) {
        try {
          for await (const { subject, seq, bytes } of passing(nats, of, reached, signal)) {
            const parts = partsOf(subject);
            if (parts === null || parts.whose === 'owner') continue;
            yield { seq, key: parts.whose, events: decodeBounceEvents(bytes) };
          }
        } catch (error) {
          if (!(error instanceof PullLost || error instanceof MailError)) throw error;
          nats.log.debug({ error: textOf(error.cause ?? error) }, 'bounces are followed on');
          await systemClock.sleep(REOPEN_MS, signal);
        }
      }
    },
    read: (number) => readBounce(nats, number),
    async span() {
      const answer = await apiRequest(nats, `$JS.API.STREAM.INFO.${STREAM}`, {});
      if (answer.error !== undefined) throw failure(answer.error);
      const { first_seq, last_seq } = answer.state as { first_seq: number; last_seq: number };
      return { first: first_seq, last: last_seq };
    },
  };
}

/** The event of that number, as it is stored; null if it is gone, or none of ours. Throws MailError 451 while NATS is away. */
export async function readBounce(nats: Nats, number: number): Promise<BounceEvent | null> {
  const { seq, index } = placeOf(number);
  const found = await storedMessage(nats, STREAM, { seq });
  return found === null ? null : (decodeBounceEvents(found.data)[index] ?? null);
}
