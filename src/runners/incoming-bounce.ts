/**
 * What came to a bounce address, as events for BOUNCES.
 *
 *   a token of ours   one verified event: that member's copy of that post, whatever address the
 *                     DSN speaks of (it may have been forwarded from there)
 *   `-bounces`        a hint for each recipient that the DSN names
 *   delayed, an automatic reply   counted, and nothing else: nobody is in trouble, nobody answered
 *   not understood    set aside whole, with why, for an operator and for better rules
 */
import { unreachable } from '../assert.ts';
import { parseAddress } from '../mail/address.ts';
import {
  type Bounce,
  DIAGNOSTIC_CHARACTERS_MAX,
  DSN_BYTES_MAX,
  PROBES_FROM,
} from '../mail/bounce-event.ts';
import type { Meaning } from '../mail/classify.ts';
import type { Recognised } from '../mail/dsn.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { Clock, RouteOf } from '../world.ts';

/** Recipients of one plain DSN that become hints; more is a mass mailing of somebody's. */
export const HINTS_PER_MAIL_MAX = 50;

type Result = Recognised['results'][number];

export type BounceOf =
  | { readonly kind: 'events'; readonly events: readonly Bounce[] }
  /** Understood, and no bounce. */
  | { readonly kind: 'ignored'; readonly what: Recognised['kind'] }
  | { readonly kind: 'not-understood'; readonly why: string };

/** Pure; `at` is when the mail came, ms since the epoch, and `id` is that of no other mail. */
export function bounceOf(
  { member, post }: Extract<Meaning, { kind: 'bounce' }>,
  recognised: Recognised,
  mail: { readonly raw: Uint8Array; readonly at: number; readonly id: string },
): BounceOf {
  const { kind, results, why } = recognised;
  switch (kind) {
    case 'delayed':
    case 'auto-reply':
      return { kind: 'ignored', what: kind };
    case 'none':
      return { kind: 'not-understood', why: why ?? 'no rule knows its form' };
    case 'bounce':
    case 'complaint': {
      const all = results.slice(0, HINTS_PER_MAIL_MAX);
      if (member === null || post === null)
        return eventsOf(all.filter(({ recipient }) => parseAddress(recipient) !== null));
      return eventsOf([worst(results) ?? COMPLAINT]);
    }
    default:
      return unreachable(kind);
  }

  function eventsOf(of: readonly Result[]): BounceOf {
    if (of.length === 0) return { kind: 'not-understood', why: 'it names no recipient' };
    const dsn = Buffer.from(mail.raw.subarray(0, DSN_BYTES_MAX)).toString('latin1');
    const events = of.map((result, i) => ({
      id: `d${mail.id}.${member === null ? 'h' : `${member}x${post}`}.${i}`,
      ...({ type: 'bounce', at: mail.at, source: 'dsn', route: null } as const),
      ...({ kind: kind === 'complaint' ? 'complaint' : 'bounce', dsn } as const),
      ...{ verified: member !== null && post !== null, member, post },
      address: parseAddress(result.recipient),
      permanent: result.permanent,
      status: result.status,
      code: result.code,
      reason: result.reason,
      rule: result.rule,
      diagnostic: result.diagnostic.slice(0, DIAGNOSTIC_CHARACTERS_MAX),
    }));
    return { kind: 'events', events };
  }
}

/** A complaint need not say whose it is: our token does. */
const COMPLAINT: Result = {
  ...{ recipient: '', permanent: true, status: null, code: null },
  ...{ reason: 'unknown', rule: 'rfc5965', diagnostic: '' },
};

/** A copy has one recipient; where a DSN tells of several, what is final counts. */
function worst(results: readonly Result[]): Result | null {
  return results.find(({ permanent }) => permanent) ?? results[0] ?? null;
}

// ── Over which route the copy went ────────────────────────────────────────

/** The record is asked no longer, and not again for a while after that: a bounce counts without it. */
const ROUTE_MS_MAX = 1_000;
const ROUTE_AGAIN_MS = 10_000;

/** `routeOf`, as soon as it may hold up what counts: null where the answer does not come in time. */
export function timely(routeOf: RouteOf, clock: Pick<Clock, 'sleep' | 'monotonic'>): RouteOf {
  let awayUntil = Number.NEGATIVE_INFINITY;
  async function inTime(asked: Promise<string | null>): Promise<string | null> {
    const answered = new AbortController();
    const late = clock.sleep(ROUTE_MS_MAX, answered.signal).then(() => 'late' as const);
    const found = await Promise.race([asked.then((route) => ({ route })), late]);
    answered.abort();
    if (found !== 'late') return found.route;
    awayUntil = clock.monotonic() + ROUTE_AGAIN_MS;
    return null;
  }
  return (...copy) => {
    if (clock.monotonic() < awayUntil) return null;
    const route = routeOf(...copy);
    return route instanceof Promise ? inTime(route) : route;
  };
}

/** The event with the route that its copy went over, where that is known; a hint and a probe have none. */
export async function withRoute(event: Bounce, key: ListKey, routeOf: RouteOf): Promise<Bounce> {
  const { member, post } = event;
  if (member === null || post === null || post >= PROBES_FROM) return event;
  return { ...event, route: await routeOf(key, post, member) };
}
