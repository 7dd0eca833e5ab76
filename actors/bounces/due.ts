/** What time alone brings to a member of whom something came back. */
import { type Asking, KEPT_DAYS } from '../bounces.ts';
import type { Score } from './score.ts';
import { DAY_MS, type Rules } from './scoring.ts';

/** A probe that has not come back by then was delivered (Mailman's `pending_request_life` is 3). */
export const PROBE_DAYS = 10;
/** A list that has not said what it did about a verdict is asked again. */
const ASK_AGAIN_MS = DAY_MS;
/** A list's rules may change while a member waits: they are looked at again so often. */
const LOOK_EVERY_MS = DAY_MS;

/** What comes next, and when, ms since the epoch. */
export type Next =
  | { readonly what: 'ask'; readonly at: number; readonly asking: Asking }
  /** Nothing yet; but the rules may be others by then. */
  | { readonly what: 'look'; readonly at: number }
  /** The row goes: BOUNCES has nothing about it any more. */
  | { readonly what: 'forget'; readonly at: number };

/** By the rules as they are; who waits for a warning is looked at within a day of `from`. */
export function nextOf(member: number, score: Score, rules: Rules, from: number): Next {
  const { standing } = score;
  const forget = { what: 'forget', at: score.at + KEPT_DAYS * DAY_MS } as const;
  if (standing === null) return forget;
  const ask = (
    verdict: 'warn' | 'remove' | 're-enable',
    count: number,
    days: number,
  ): Extract<Next, { what: 'ask' }> => ({
    ...{ what: 'ask', at: standing.at + days * DAY_MS },
    asking: {
      id: `${member}.${verdict}.${standing.seq}`,
      command: { type: 'bounce-verdict', verdict, member, count, complaint: false, cause: null },
    },
  });
  if (standing.what === 'probed') return ask('re-enable', 0, PROBE_DAYS);
  if (!standing.byBounces || standing.what === 'removed') return forget;
  const look = { what: 'look', at: from + LOOK_EVERY_MS } as const;
  if (rules.scoring === 'off') return look;
  const { warnings, warningDays } = rules;
  const isLast = standing.count >= warnings;
  const next = ask(isLast ? 'remove' : 'warn', isLast ? 0 : standing.count + 1, warningDays);
  return next.at > look.at ? look : next;
}

/** When to ask again what was asked at `now` and not yet answered. */
export const askAgainAt = (now: number): number => now + ASK_AGAIN_MS;
