/**
 * The site's time: NATS's, kept between two looks by this node's monotonic clock. What nodes write for one another, as when which
 * recipient of a chunk is due, means the same on each of them, whatever their own clocks say or jump to.
 */
import { MailError } from '../errors.ts';
import type { Clock } from '../world.ts';
import type { Nats } from './connect.ts';
import { apiRequest } from './stored.ts';
import type { StreamName } from './streams.ts';

/** Any would do: what is wanted is the time that stands in each answer. */
const STREAM: StreamName = 'TROUPE_LATER';
/** How often it is looked at; a monotonic clock is off by some ms an hour. */
const LOOK_MS = 60_000;
/** An answer that took longer does not say well enough when it was given. */
const ROUND_TRIP_MS_MAX = 2_000;

/** Ours, until there was an answer. Follows NATS until the signal aborts; while NATS is away it goes on by itself. */
export async function openSiteClock(nats: Nats, clock: Clock, signal: AbortSignal): Promise<Clock> {
  let offset = clock.now() - clock.monotonic();
  async function look(): Promise<void> {
    const askedAt = clock.monotonic();
    const { ts } = await apiRequest(nats, `$JS.API.STREAM.INFO.${STREAM}`, {});
    const answeredAt = clock.monotonic();
    const time = Date.parse(String(ts));
    if (Number.isNaN(time) || answeredAt - askedAt > ROUND_TRIP_MS_MAX) return;
    offset = time - (askedAt + answeredAt) / 2;
  }
  const tryToLook = (): Promise<void> =>
    look().catch((error: unknown) => {
      if (!(error instanceof MailError)) throw error;
    });
  async function follow(): Promise<void> {
    for (;;) {
      await clock.sleep(LOOK_MS, signal);
      if (signal.aborted) return;
      await tryToLook();
    }
  }
  await tryToLook();
  void follow();
  return { ...clock, now: () => Math.round(clock.monotonic() + offset) };
}
