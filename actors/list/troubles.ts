/**
 * Troubles: what the list does about members whose mail comes back. Verdicts come from the bounce
 * actor; here is what may become of them (B3, D1 to D3), and who of the owners hears of it.
 */
import { unreachable } from '../../src/assert.ts';
import type { Address } from '../../src/mail/address.ts';
import { PROBE_DAYS } from '../bounces/due.ts';
import { DAY_MS, type Rules } from '../bounces/scoring.ts';
import type { Storm } from '../bounces/storm.ts';
import type { Verdict } from '../bounces.ts';
import type { DeliveryCommand } from '../delivery.ts';
import type { Fact, Refusal, Settings } from '../protocol.ts';
import { notAllowed } from './membership.ts';
import { mayManage, type State, type View } from './view.ts';

/** What the list notes of troubles beside the members' own facts. */
export type TroubleFact =
  /** A post whose bounces count against nobody; owners hear of it once. */
  | { readonly type: 'storm-seen'; readonly storm: Storm; readonly to: readonly Address[] }
  /** What bounces did to so many members: a notice goes, or is to go; `due` sets its timer. */
  | (Many & { readonly type: 'owners-told'; readonly to: readonly Address[] })
  | (Many & { readonly type: 'owners-to-tell'; readonly due: number | null });

export type TroubleEffect =
  | { readonly type: 'set-owners-timer'; readonly due: number }
  | (Many & { readonly type: 'notify-owners' } & Notice)
  | ({ readonly type: 'notify-storm'; readonly storm: Storm } & Notice);

type Many = { readonly disabled: number; readonly removed: number };
type Notice = { readonly at: number; readonly to: readonly Address[] };

/** Owners get at most one notice of members in trouble in this time. */
export const OWNERS_EVERY_MS = 60 * 60_000;
/** A hint leads to at most one probe of a member in this time. */
export const HINT_EVERY_DAYS = 7;

const NOTHING: readonly Fact[] = [];

/** The rules of a list's settings. */
export function rulesOf(settings: Settings): Rules {
  const { bounceScoring, bounceThreshold, bounceWarnings, bounceWarningDays } = settings;
  return {
    ...{ scoring: bounceScoring, threshold: bounceThreshold },
    ...{ warnings: bounceWarnings, warningDays: bounceWarningDays },
  };
}

/** A verdict that does not fit any more is not refused: it is of no more use to anyone. */
export function decideVerdict(view: View, verdict: Verdict): readonly Fact[] {
  const isWorking = view.mode() === 'open' || view.mode() === 'emergency';
  if (!isWorking || view.state().settings.bounceScoring === 'off') return NOTHING;
  switch (verdict.type) {
    case 'bounce-storm':
      return decideStorm(view, verdict);
    case 'bounce-hint':
      return decideHint(view, verdict);
    case 'bounce-verdict':
      return decideOne(view, verdict);
    default:
      return unreachable(verdict);
  }
}

function decideHint(
  view: View,
  { address, cause }: Extract<Verdict, { type: 'bounce-hint' }>,
): readonly Fact[] {
  const { member: number } = view.standing(address);
  const { elsewhere } = cause;
  const isHeard = elsewhere === undefined || view.state().settings.bounceSuspects;
  if (number === null || !isHeard) return NOTHING;
  const { value, context } = view.trouble(number);
  // What another list found is told again by each new owner: it is as old as it is, and asked about once.
  const saidAt = Math.min(view.at, elsewhere?.since ?? view.at);
  const isSoon = saidAt < context.probedAt + HINT_EVERY_DAYS * DAY_MS;
  if (value !== 'delivering' || (isSoon && context.probes > 0)) return NOTHING;
  return [{ type: 'member-probed', number, address, probe: context.probes + 1, cause }];
}

function decideOne(
  view: View,
  verdict: Extract<Verdict, { type: 'bounce-verdict' }>,
): readonly Fact[] {
  const { member: number, count, cause } = verdict;
  const address = view.member(number);
  if (address === null) return NOTHING;
  const of = { number, address };
  const { value, context } = view.trouble(number);
  const { warnings, warningDays } = rulesOf(view.state().settings);
  const isWaiting = context.disabledBy === 'bounces';
  const isTime = view.at >= context.warnedAt + warningDays * DAY_MS;
  switch (verdict.verdict) {
    case 'probe':
      if (value !== 'delivering' || cause === null) return NOTHING;
      return [{ type: 'member-probed', ...of, probe: context.probes + 1, cause }];
    case 'disable':
      return verdict.complaint || value === 'probing' ? disable(view, of, verdict) : NOTHING;
    case 'warn':
      if (!isWaiting || !isTime || count !== context.warned + 1 || count > warnings) return NOTHING;
      return [{ type: 'member-warned', ...of, warning: count, of: warnings }];
    case 'remove':
      if (!isWaiting || !isTime || context.warned < warnings) return NOTHING;
      return [
        { type: 'member-removed', ...of, by: { kind: 'list' } },
        ...ownersHear(view, { disabled: 0, removed: 1 }),
      ];
    case 're-enable':
      if (verdict.storm === true)
        return isWaiting ? [{ type: 'delivery-enabled', ...of, by: { kind: 'list' } }] : NOTHING;
      if (value !== 'probing' || view.at < context.probedAt + PROBE_DAYS * DAY_MS) return NOTHING;
      return [{ type: 'probe-passed', ...of }];
    default:
      return unreachable(verdict.verdict);
  }
}

/** A complaint leads to one notice, with the way back, and no reminders: who does not want mail gets none. */
function disable(
  view: View,
  member: { readonly number: number; readonly address: Address },
  { complaint, cause }: Extract<Verdict, { type: 'bounce-verdict' }>,
): readonly Fact[] {
  const { value } = view.trouble(member.number);
  if (value === 'disabled' || value === 'removed') return NOTHING;
  const { bounceWarnings } = view.state().settings;
  const why = complaint ? 'complaint' : 'bounces';
  const of = complaint ? 1 : bounceWarnings;
  const by = { kind: 'list' } as const;
  return [
    { type: 'delivery-disabled', ...member, why, warning: Math.min(of, 1), of, cause, by },
    ...ownersHear(view, { disabled: 1, removed: 0 }),
  ];
}

function decideStorm(
  view: View,
  { type: _, ...storm }: Extract<Verdict, { type: 'bounce-storm' }>,
): readonly Fact[] {
  if (view.isStorm(storm.post)) return NOTHING;
  return [{ type: 'storm-seen', storm, to: view.roles('owner') }];
}

/** Members and owners turn mail off and on; a link in our mail only on, for whom it was sent to. */
export function decideSetDelivery(
  view: View,
  { who, on, by }: Extract<DeliveryCommand, { type: 'set-delivery' }>,
): readonly Fact[] | Refusal {
  const number = 'number' in who ? who.number : view.standing(who.address).member;
  const isOwn =
    (by.kind === 'token' && on && by.member === number) ||
    (by.kind === 'person' && number !== null && view.standing(by.address).member === number);
  if (!isOwn && !mayManage(view, by)) return notAllowed('change what this member gets');
  const address = number === null ? null : view.member(number);
  if (number === null || address === null)
    return { type: 'refusal', code: 'not-a-member', text: 'that address is not a member' };
  const { value, context } = view.trouble(number);
  if (on) {
    // A link that was forwarded must not undo what an owner or the member themselves did.
    const isTheirs = context.disabledBy === 'owner' || context.disabledBy === 'member';
    if (by.kind === 'token' && (value === 'delivering' || isTheirs)) return NOTHING;
    return [{ type: 'delivery-enabled', number, address, by }];
  }
  if (value === 'disabled') return NOTHING;
  const why = isOwn ? 'member' : 'owner';
  return [{ type: 'delivery-disabled', number, address, why, warning: 0, of: 0, cause: null, by }];
}

// ── What owners hear ──────────────────────────────────────────────────────

/** A notice now, or one in an hour for all that happens until then. */
function ownersHear(view: View, more: Many): readonly Fact[] {
  const { bounceNotices } = view.state().settings;
  const to = view.roles('owner');
  const isWanted = bounceNotices === 'all' || (bounceNotices === 'removals' && more.removed > 0);
  if (!isWanted || to.length === 0) return NOTHING;
  const { troubles } = view.state();
  const disabled = troubles.disabled + more.disabled;
  const removed = troubles.removed + more.removed;
  const due = troubles.toldAt + OWNERS_EVERY_MS;
  if (troubles.due === null && view.at >= due)
    return [{ type: 'owners-told', disabled, removed, to }];
  return [{ type: 'owners-to-tell', ...more, due: troubles.due === null ? due : null }];
}

/** The timer for `due` fired; an old one, or one that fires again, tells nobody anything. */
export function decideTellOwners(view: View, due: number): readonly Fact[] {
  const { disabled, removed, due: set } = view.state().troubles;
  if (set === null || due < set) return NOTHING;
  return [{ type: 'owners-told', disabled, removed, to: view.roles('owner') }];
}

// ── What its facts change and cause ───────────────────────────────────────

type Happened = TroubleFact & { readonly at: number };

export function troublesAfter(troubles: State['troubles'], fact: Happened): State['troubles'] {
  switch (fact.type) {
    case 'owners-told':
      return { disabled: 0, removed: 0, toldAt: fact.at, due: null };
    case 'owners-to-tell': {
      const { disabled, removed, toldAt, due } = troubles;
      const more = { disabled: disabled + fact.disabled, removed: removed + fact.removed };
      return { ...more, toldAt, due: fact.due ?? due };
    }
    case 'storm-seen':
      return troubles;
    default:
      return unreachable(fact);
  }
}

export function troubleEffects(fact: Happened): readonly TroubleEffect[] {
  const { at } = fact;
  switch (fact.type) {
    case 'owners-to-tell':
      return fact.due === null ? [] : [{ type: 'set-owners-timer', due: fact.due }];
    case 'owners-told': {
      const { disabled, removed, to } = fact;
      if (to.length === 0 || disabled + removed === 0) return [];
      return [{ type: 'notify-owners', disabled, removed, at, to }];
    }
    case 'storm-seen':
      return fact.to.length === 0
        ? []
        : [{ type: 'notify-storm', storm: fact.storm, at, to: fact.to }];
    default:
      return unreachable(fact);
  }
}
