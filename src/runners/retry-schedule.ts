/**
 * When a recipient is tried again: as Postfix does, after as long as the mail is old already, which
 * doubles the wait from try to try, and needs nothing to be remembered but when the first try was.
 *
 * The jitter comes from the chunk's name: the chunks of one post do not come back all at once, and
 * the same chunk always at the same time.
 */
import { createHash } from 'node:crypto';

/**
 * Postfix's minimal_backoff_time and maximal_backoff_time: after a recipient was refused for now.
 */
export const REFUSED_DELAY_MS_MIN = 300_000;
export const REFUSED_DELAY_MS_MAX = 4_000_000;
/** After the route itself failed: it says nothing of the recipients, and is mostly short. */
export const ROUTE_DELAY_MS_MIN = 5_000;
export const ROUTE_DELAY_MS_MAX = 300_000;
/** RFC 5321 §4.5.4.1: a recipient is given up on 4 to 5 days after the first try. */
export const GIVE_UP_MS = 5 * 24 * 60 * 60_000;
/** Of a delay, up to so much more or less. */
const JITTER = 0.1;

/** Why a next try is needed. */
export type Cause = 'refused' | 'route';

/**
 * When the try called `name` is due, ms since the epoch; `ageMs` is the time since the first try.
 * Whatever the cause, it waits no longer than `maxMs`, give or take the jitter.
 */
export function dueAt(
  now: number,
  ageMs: number,
  cause: Cause,
  name: string,
  maxMs = REFUSED_DELAY_MS_MAX,
): number {
  const [min, max] =
    cause === 'refused'
      ? [REFUSED_DELAY_MS_MIN, REFUSED_DELAY_MS_MAX]
      : [ROUTE_DELAY_MS_MIN, ROUTE_DELAY_MS_MAX];
  const delayMs = Math.min(Math.max(ageMs, min), max, maxMs);
  return Math.round(now + delayMs * (1 + JITTER * (2 * fractionOf(name) - 1)));
}

/** [0, 1), the same for the same name. */
function fractionOf(name: string): number {
  return createHash('sha256').update(name).digest().readUInt32BE(0) / 2 ** 32;
}
