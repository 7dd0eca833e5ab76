/**
 * Idle time: work that can wait yields to incoming and outgoing backlogs, but never longer than an
 * age; past that it is work like any other.
 *
 * The backlog is looked at only while there is somebody who would yield to it, once a second for
 * all of them.
 */
import type { Clock } from '../world.ts';

/** What was seen is good for so long. */
const LOOK_EVERY_MS = 1_000;

/** What waits that is more urgent. */
export type Backlog = {
  /** Why one yields, in words for operators; null if nothing is more urgent. */
  readonly why: string | null;
  /** When the oldest mail of the bounces' own queue came, ms since the epoch; null if none waits. */
  readonly oldestAt: number | null;
};

export type Idle = {
  /** Resolves when nothing is more urgent, when work from `oldestAt` can wait no more, or when the signal aborts. */
  yields(oldestAt: number, signal: AbortSignal): Promise<void>;
  /** The same for what is still in the queue of bounces. */
  yieldsForQueue(signal: AbortSignal): Promise<void>;
  /** To whom bounce work yields now, and since when (ms since the epoch); null where it does not. */
  state(): { readonly why: string; readonly since: number } | null;
};

export function createIdle(needs: {
  readonly clock: Clock;
  /** Throws while it is not known: then nobody waits for it. */
  readonly backlog: () => Promise<Backlog>;
  readonly maxAgeMs: number;
}): Idle {
  const { clock, backlog, maxAgeMs } = needs;
  let seen: Backlog = { why: null, oldestAt: null };
  let seenAt = Number.NEGATIVE_INFINITY;
  let looking: Promise<void> | null = null;
  let since = 0;

  async function look(): Promise<void> {
    const next = await backlog().catch(() => ({ why: null, oldestAt: null }));
    if (next.why !== null && seen.why === null) since = clock.now();
    seen = next;
    seenAt = clock.monotonic();
    looking = null;
  }

  const isFresh = (): boolean => clock.monotonic() - seenAt < LOOK_EVERY_MS;

  async function wait(isDue: () => boolean, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !isDue()) {
      if (!isFresh()) {
        looking ??= look();
        await looking;
      }
      if (seen.why === null || isDue()) return;
      await clock.sleep(LOOK_EVERY_MS, signal);
    }
  }

  return {
    yields: async (oldestAt, signal) => {
      if (isFresh() && seen.why === null) return;
      await wait(() => clock.now() - oldestAt >= maxAgeMs, signal);
    },
    yieldsForQueue: (signal) =>
      wait(() => {
        // What was seen a while ago may be gone by now: it is no reason not to look again.
        if (!isFresh() || seen.oldestAt === null) return false;
        return clock.now() - seen.oldestAt >= maxAgeMs;
      }, signal),
    state: () => (seen.why === null || !isFresh() ? null : { why: seen.why, since }),
  };
}
