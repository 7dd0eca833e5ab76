/**
 * When a recipient is tried again: as Postfix does, after as long as the mail is old already, which
 * doubles the wait from try to try, and needs nothing to be remembered but when the first try was.
 * How short and how long the wait may be depends on why there must be one.
 *
 * The jitter comes from the chunk's name: the chunks of one post do not come back all at once, and
 * the same chunk always at the same time.
 */
import { createHash } from 'node:crypto';
import type { RecipientReply } from '../world.ts';

/**
 * Why a next try is needed. `greylist`: the first try starts a clock there. `rate`: there were too many of ours. `full`: a mailbox
 * is full. `busy`: any other word of the MTA. `route`: no route could be had; it says nothing of the recipients. `paused`: the post is.
 */
export type Cause = 'greylist' | 'rate' | 'full' | 'busy' | 'route' | 'paused';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** The shortest and the longest wait by cause, ms, before the jitter. */
export const DELAYS: Readonly<Record<Cause, readonly [min: number, max: number]>> = {
  // Postgrey's 300 s have passed for certain, also with the jitter off.
  greylist: [6 * MINUTE, 30 * MINUTE],
  rate: [15 * MINUTE, 2 * HOUR],
  // People empty a mailbox in hours; RFC 5321 §4.5.4.1 asks for 30 minutes at least.
  full: [HOUR, 6 * HOUR],
  // Postfix's minimal_backoff_time and maximal_backoff_time.
  busy: [300_000, 4_000_000],
  // Mostly short.
  route: [5_000, 5 * MINUTE],
  // Whoever resumes the post brings it forward; this is for the case that nobody does.
  paused: [HOUR, HOUR],
};
/** RFC 5321 §4.5.4.1: a recipient is given up on 4 to 5 days after the first try. */
export const LIFE_MS = 5 * 24 * HOUR;
/** Of a delay, up to so much more or less. */
const JITTER = 0.1;

/**
 * When the try called `name` is due, ms since the epoch; `ageMs` is the time since the first try.
 * It waits no longer than `maxMs`, give or take the jitter; unless its post is paused.
 */
export function dueAt(
  now: number,
  ageMs: number,
  cause: Cause,
  name: string,
  maxMs = Number.POSITIVE_INFINITY,
): number {
  const [min, max] = DELAYS[cause];
  const delayMs = Math.min(Math.max(ageMs, min), max, cause === 'paused' ? max : maxMs);
  return Math.round(now + delayMs * (1 + JITTER * (2 * fractionOf(name) - 1)));
}

/** [0, 1), the same for the same name. */
function fractionOf(name: string): number {
  return createHash('sha256').update(name).digest().readUInt32BE(0) / 2 ** 32;
}

const GREYLIST = /gr[ae]y-?\s?list/i;
const RATE = /\brate\b|throttl|too (?:many|fast|quickly|much)|at a time/i;
const FULL = /quota|(?:mailbox|storage) (?:is )?full|full mailbox/i;

/** Why an MTA refused for now, by its enhanced status (RFC 3463) and, where that says little, its words. */
export function causeOf({ status, reply }: RecipientReply): Cause {
  if (GREYLIST.test(reply)) return 'greylist';
  if (status === '4.2.2' || FULL.test(reply)) return 'full';
  if (RATE.test(reply) || status === '4.5.3') return 'rate';
  // Greylisting that does not name itself mostly says 4.7.1; the rest of 4.7 are limits and reputation.
  if (status === '4.7.1') return 'greylist';
  return status.startsWith('4.7.') ? 'rate' : 'busy';
}

const TOO_MANY_RECIPIENTS = /too many (?:recipients|rcpt)/i;

/**
 * Whether an envelope had more recipients than the MTA takes: 452 4.5.3, and 552, which older servers say for it and which is for
 * now too (RFC 5321 §4.5.3.1.10).
 */
export function isTooManyRecipients({ code, status, reply }: RecipientReply): boolean {
  if (code !== 452 && code !== 451 && code !== 552) return false;
  return status === '4.5.3' || TOO_MANY_RECIPIENTS.test(reply);
}
