/**
 * Storms: one post, one reason, many members. Then it is not the members who are at fault, and
 * none of that post's bounces counts against them.
 */
import type { Bounce } from '../../src/mail/bounce-event.ts';

/** So many members with one reason, and more than this share of those the post went to. */
export const STORM_MEMBERS_MIN = 20;
export const STORM_SHARE = 0.05;
/** Names that one tally tells apart; more are counted together, so that a row stays small. */
const NAMES_MAX = 32;
const OTHERS = 'others';

type Counts = Readonly<Record<string, number>>;

/** What came back of one post: how many for each reason, and for the blame, from whom. */
export type Tally = {
  /** When the first came. */
  readonly at: number;
  readonly reasons: Readonly<Record<string, Reason>>;
  /** The reason of the storm it became, for ever; null while it is none. */
  readonly storm: string | null;
};
type Reason = { readonly count: number; readonly domains: Counts; readonly routes: Counts };

/** Who is at fault: what a human would look at first. */
export type Blame = 'post' | 'sender-domain' | 'route' | 'provider';

/** What the owners are told of a storm. */
export type Storm = {
  readonly post: number;
  readonly reason: string;
  readonly bounced: number;
  readonly members: number;
  readonly blame: Blame;
  /** The name of the route or the recipients' domain that is to blame; '' where that has none. */
  readonly where: string;
};

export const NO_TALLY: Tally = { at: 0, reasons: {}, storm: null };

/** Counts one member's bounce of the post. */
export function tallied(tally: Tally, bounce: Bounce): Tally {
  const { reason, address, route } = bounce;
  const before = own(tally.reasons, reason) ?? { count: 0, domains: {}, routes: {} };
  const domain = address === null ? '' : address.slice(address.lastIndexOf('@') + 1).toLowerCase();
  const after = {
    count: before.count + 1,
    domains: domain === '' ? before.domains : plusOne(before.domains, domain),
    routes: route === null ? before.routes : plusOne(before.routes, route),
  };
  const at = tally.at === 0 ? bounce.at : Math.min(tally.at, bounce.at);
  return { ...tally, at, reasons: { ...tally.reasons, [reason]: after } };
}

/** A name comes from outside, and may be one that every object has. */
const own = <T>(of: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(of, name) ? of[name] : undefined;

/** One more under this name; bounded. */
export function plusOne(counts: Counts, name: string): Counts {
  const isFull = !Object.hasOwn(counts, name) && Object.keys(counts).length >= NAMES_MAX;
  const under = isFull ? OTHERS : name;
  return { ...counts, [under]: (own(counts, under) ?? 0) + 1 };
}

/** The storm that the post's tally is by this reason; null if it is none. `members` null: not known. */
export function stormOf(
  post: number,
  tally: Tally,
  reason: string,
  members: number | null,
): Storm | null {
  const counted = own(tally.reasons, reason);
  if (counted === undefined || members === null || counted.count < STORM_MEMBERS_MIN) return null;
  if (counted.count <= members * STORM_SHARE) return null;
  return { post, reason, bounced: counted.count, members, ...blameFor(reason, counted) };
}

/** Reasons that are about who sent, and those that are about through whom. */
const SENDER: ReadonlySet<string> = new Set(['authentication']);
const ROUTE: ReadonlySet<string> = new Set(['rate', 'blocked', 'relaying']);
/** A name with so many of them stands out. */
const MOST = 0.9;

function blameFor(
  reason: string,
  { count, domains, routes }: Reason,
): Pick<Storm, 'blame' | 'where'> {
  if (SENDER.has(reason)) return { blame: 'sender-domain', where: '' };
  const provider = most(domains, count);
  if (provider !== '') return { blame: 'provider', where: provider };
  if (ROUTE.has(reason)) return { blame: 'route', where: most(routes, count) };
  return { blame: 'post', where: '' };
}

function most(counts: Counts, of: number): string {
  return (
    Object.entries(counts).find(([name, many]) => name !== OTHERS && many >= of * MOST)?.[0] ?? ''
  );
}
