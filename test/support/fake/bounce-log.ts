/** BOUNCES in memory: kept, deduped by event id as the stream does within its window, and followed. Puts of one list in one turn are one message. */
import { type BounceEvent, EVENTS_MAX, placeOf } from '../../../src/mail/bounce-event.ts';
import { type ListKey, slotOf } from '../../../src/mail/list-key.ts';
import type { BounceLog, BouncesOut, FoundBounces } from '../../../src/world.ts';

export type FakeBounceLog = BounceLog &
  BouncesOut & {
    readonly stored: FoundBounces[];
    /** The stream forgets all events up to this sequence. */
    expire(seq: number): void;
  };

export function createFakeBounceLog(): FakeBounceLog {
  const stored: FoundBounces[] = [];
  const wakers = new Set<() => void>();
  const ids = new Set<string>();
  /** What is put in this turn, by list. */
  const open = new Map<ListKey, BounceEvent[]>();
  let last = 0;
  let first = 1;
  const log: FakeBounceLog = {
    stored,
    put: async (key: ListKey, event: BounceEvent) => {
      const id = `${key}.${event.id}`;
      if (ids.has(id)) return;
      ids.add(id);
      const joint = open.get(key);
      if (joint !== undefined && joint.length < EVENTS_MAX) {
        joint.push(event);
        await null;
        return;
      }
      const events = [event];
      open.set(key, events);
      await null;
      if (open.get(key) === events) open.delete(key);
      last += 1;
      stored.push({ seq: last, key, events });
      for (const wake of [...wakers]) wake();
    },
    async *follow(slot, after, signal, caughtUp) {
      let at = after;
      while (!signal.aborted) {
        const seen = last;
        const next = stored.find(
          ({ seq, key }) => seq > at && seq >= first && slotOf(key) === slot,
        );
        if (next !== undefined) {
          at = next.seq;
          yield next;
          continue;
        }
        caughtUp();
        // Whoever was told may have heard enough, or have put more.
        if (signal.aborted || last !== seen) continue;
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            wakers.delete(wake);
            resolve();
          };
          wakers.add(wake);
          signal.addEventListener('abort', wake, { once: true });
        });
      }
    },
    read: async (number) => {
      const { seq, index } = placeOf(number);
      return seq < first ? null : (stored.find((one) => one.seq === seq)?.events[index] ?? null);
    },
    span: async () => ({ first, last }),
    expire: (seq) => {
      first = seq + 1;
    },
  };
  return log;
}
