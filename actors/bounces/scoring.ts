/**
 * Scoring: what a bounce counts for, and how many make a member one in trouble.
 *
 *   reasons    ours, the default. What is the member's own counts; what is about the mail, its
 *              sender or the route never does; what may pass by itself counts slowly.
 *   mailman3   Mailman 3's: one a day, whatever the reason; a temporary one counts nothing.
 *   off        bounces are kept and reported, and nobody is asked or disabled.
 *
 * Both: one day counts once, by its weightiest bounce; after `STALE_DAYS` without one it begins
 * anew; at the threshold a probe asks the member, and only a probe that comes back disables.
 */
import { unreachable } from '../../src/assert.ts';

export type Scoring = 'reasons' | 'mailman3' | 'off';

/** A list's settings, as far as bounces are concerned. */
export type Rules = {
  readonly scoring: Scoring;
  /** The score at which a member is probed. */
  readonly threshold: number;
  /** Warnings to a disabled member before removal, and the days between them. */
  readonly warnings: number;
  readonly warningDays: number;
};

/** What Mailman 3 has for a list (`bounce_score_threshold` and its fellows). */
export const DEFAULT_RULES: Rules = {
  scoring: 'reasons',
  threshold: 5,
  warnings: 3,
  warningDays: 7,
};

export const DAY_MS = 86_400_000;
/** Mailman's `bounce_info_stale_after`. */
export const STALE_DAYS = 7;

/** What says that nobody reads there. */
const HARD = 1;
/** What may pass, and often does not. */
const SLOW = 0.5;
/** What passes when somebody comes home. */
const FULL = 0.25;

/**
 * By reason, in the words of `dsn-reason.ts`. One that is not here is about the mail, its sender or
 * the route (policy, spam, authentication, rate, size, …), which says nothing of the member (features B3).
 */
const WEIGHTS: ReadonlyMap<string, number> = new Map([
  ['user-unknown', HARD],
  ['host-unknown', HARD],
  ['mailbox-disabled', HARD],
  ['moved', HARD],
  ['expired', SLOW],
  ['network', SLOW],
  ['unknown', SLOW],
  ['mailbox-full', FULL],
]);

/** What says of the address itself that it is of no use, whichever list writes to it. */
const DEAD: ReadonlySet<string> = new Set(['user-unknown', 'mailbox-disabled', 'moved']);

/** True if an address that bounces for this reason bounces on every list. */
export const isDead = (reason: string): boolean => DEAD.has(reason);

type Counted = { readonly reason: string; readonly permanent: boolean };

/** What one bounce counts for on its day: 0 to 1. */
export function weightOf({ reason, permanent }: Counted, scoring: Scoring): number {
  switch (scoring) {
    case 'reasons':
      return permanent || reason === 'mailbox-full' ? (WEIGHTS.get(reason) ?? 0) : 0;
    case 'mailman3':
      return permanent ? 1 : 0;
    case 'off':
      return 0;
    default:
      return unreachable(scoring);
  }
}

/** True if a probe that comes back so is enough: the MTA gave up on it, for a reason that counts at all. */
export const isHard = (bounce: Counted, scoring: Scoring): boolean =>
  bounce.permanent && weightOf(bounce, scoring) > 0;

/**
 * The days that make up the score of all these together, the newest first, each by its weightiest:
 * back to the first gap of more than a week. It looks at them as a set: neither their order nor what
 * came twice changes it.
 */
export function daysOf<B extends Counted & { readonly at: number; readonly post: number }>(
  bounces: Iterable<B>,
  scoring: Scoring,
): readonly B[] {
  const days = new Map<number, B>();
  for (const bounce of bounces) {
    const day = Math.floor(bounce.at / DAY_MS);
    const before = days.get(day);
    const more = weightOf(bounce, scoring) - (before === undefined ? 0 : weightOf(before, scoring));
    if (more > 0 || (more === 0 && before !== undefined && bounce.post < before.post))
      days.set(day, bounce);
  }
  const newest = [...days].sort(([a], [b]) => b - a);
  const gap = newest.findIndex(([day], i) => (newest[i - 1]?.[0] ?? day) - day > STALE_DAYS);
  return newest.slice(0, gap < 0 ? newest.length : gap).map(([, bounce]) => bounce);
}

/** What these days come to. */
export const sumOf = (days: readonly Counted[], scoring: Scoring): number =>
  days.reduce((sum, bounce) => sum + weightOf(bounce, scoring), 0);
