/**
 * The edge goes first: while mail comes in and there is no time to spare, whoever takes work from a queue waits a moment, so
 * that MTAs are answered soon and the rest catches up afterwards. Time is short when this process has no idle time left, or
 * when mails queue for the store.
 *
 * Only mail that is being made durable counts, and what was a moment ago; never a client that is slow to send, so no
 * stranger can hold up the rest. And nobody waits longer than YIELD_MS_MAX for one pull, so that under load without end
 * everything still moves.
 */
import type { Clock } from '../world.ts';

/** The edge is at work until it has kept no mail for so long; a client sends its next one within it. */
const QUIET_MS = 20;
/**
 * For one pull. What a consumer has pulled ahead (64) must still be taken within the shortest ack_wait, the 10 s of MAILBOX.
 */
export const YIELD_MS_MAX = 60;
/** So many mails wait for the store at once where it keeps up with what comes. */
const AT_WORK_FEW = 4;

export type Precedence = {
  /** Runs `work`, during which, and for a moment after, `yields` waits. */
  first<T>(work: () => Promise<T>): Promise<T>;
  /** Resolves when nothing goes first, when there is time for all, or after YIELD_MS_MAX. */
  yields(): Promise<void>;
};

export function createPrecedence(needs: {
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>;
  /** True while this process has more to do than it can. */
  readonly isBusy: () => boolean;
}): Precedence {
  const { clock, isBusy } = needs;
  let atWork = 0;
  let endedAt = Number.NEGATIVE_INFINITY;
  /** All who wait, wait for the same. */
  let waiting: Promise<void> | null = null;

  const goesFirst = (): boolean =>
    atWork > AT_WORK_FEW || ((atWork > 0 || clock.monotonic() - endedAt < QUIET_MS) && isBusy());

  async function wait(): Promise<void> {
    const until = clock.monotonic() + YIELD_MS_MAX;
    do await clock.sleep(QUIET_MS);
    while (goesFirst() && clock.monotonic() < until);
    waiting = null;
  }

  return {
    async first(work) {
      atWork += 1;
      try {
        return await work();
      } finally {
        atWork -= 1;
        endedAt = clock.monotonic();
      }
    },
    async yields() {
      if (waiting === null && !goesFirst()) return;
      waiting ??= wait();
      await waiting;
    },
  };
}
