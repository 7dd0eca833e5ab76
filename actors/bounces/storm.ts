/**
 * Storms: one post, one reason, many members. Then it is not the members who are at fault, and
 * none of that post's bounces counts against them.
 */
import type { Word } from './copies.ts';

/** So many members with one reason, and more than this share of those the post went to. */
export const STORM_MEMBERS_MIN = 20;
export const STORM_SHARE = 0.05;
/** Names that one tally tells apart; more are counted together, so that a row stays small. */
const NAMES_MAX = 32;
const OTHERS = 'others';

export type Counts = Readonly<Record<string, number>>;

/** What came back of one post: of how many members for each reason, and for the blame, from whom. */
export type Tally = {
  /** When the first came. */
  readonly at: number;
  readonly reasons: Readonly<Record<string, Reason>>;
  /** The reason of the storm that it is; null while it is none. Once it is one it stays one. */
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
  /** The name of the route, or the sender's or the recipients' domain that is to blame; '' where that has none. */
  readonly where: string;
};

export const NO_TALLY: Tally = { at: 0, reasons: {}, storm: null };

/** What a storm is judged by: whom the post went to. */
export type Sent = {
  /** Members who got it. */
  readonly members: number;
  /** The domain of its author; '' where that is not known. */
  readonly author: string;
};

/** The tally with a copy's words in place of those that were known before. A complaint is no bounce. */
export function tallied(tally: Tally, before: readonly Word[], after: readonly Word[]): Tally {
  const reasons = { ...tally.reasons };
  for (const [words, by] of [
    [before, -1],
    [after, 1],
  ] as const) {
    const bounces = words.filter(({ kind }) => kind === 'bounce');
    for (const [reason, of] of Map.groupBy(bounces, (word) => word.reason)) {
      const was = own(reasons, reason) ?? { count: 0, domains: {}, routes: {} };
      reasons[reason] = {
        count: was.count + by,
        domains: added(was.domains, namesOf(of, 'domain'), by),
        routes: added(was.routes, namesOf(of, 'route'), by),
      };
    }
  }
  const at = Math.min(...[...after.map((word) => word.at), ...(tally.at === 0 ? [] : [tally.at])]);
  return { ...tally, at, reasons };
}

const namesOf = (words: readonly Word[], what: 'domain' | 'route'): readonly string[] => [
  ...new Set(words.flatMap((word) => word[what] || [])),
];

/** A name comes from outside, and may be one that every object has. */
const own = <T>(of: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(of, name) ? of[name] : undefined;

/** So many more under each of these names; bounded. */
export function added(counts: Counts, names: readonly string[], by: number): Counts {
  const after = { ...counts };
  for (const name of names) {
    const isFull = !Object.hasOwn(after, name) && Object.keys(after).length >= NAMES_MAX;
    const under = isFull ? OTHERS : name;
    after[under] = (own(after, under) ?? 0) + by;
    if (after[under] === 0) delete after[under];
  }
  return after;
}

/** The reason that makes the tally a storm, the most frequent one; null if none does. `members` null: not known. */
export function stormReason({ reasons }: Tally, members: number | null): string | null {
  if (members === null) return null;
  const isMany = (count: number): boolean =>
    count >= STORM_MEMBERS_MIN && count > members * STORM_SHARE;
  const many = Object.entries(reasons).filter(([, { count }]) => isMany(count));
  many.sort(([a, one], [b, other]) => other.count - one.count || (a < b ? -1 : 1));
  return many[0]?.[0] ?? null;
}

/** What owners are told of the storm that the tally is. `copies`: how many each route took, where that is known. */
export function stormOf(
  post: number,
  reason: string,
  tally: Tally,
  { members, author }: Sent,
  copies: Counts | null = null,
): Storm {
  const counted = own(tally.reasons, reason) ?? { count: 0, domains: {}, routes: {} };
  const blame = blameFor(reason, counted, author, copies);
  return { post, reason, bounced: counted.count, members, ...blame };
}

/** Reasons that are about who sent, and those that are about through whom. */
const SENDER: ReadonlySet<string> = new Set(['authentication']);
const ROUTE: ReadonlySet<string> = new Set(['rate', 'blocked', 'relaying']);
/** A name with so many of them stands out. */
const MOST = 0.9;

function blameFor(
  reason: string,
  { count, domains, routes }: Reason,
  author: string,
  copies: Counts | null,
): Pick<Storm, 'blame' | 'where'> {
  if (SENDER.has(reason)) return { blame: 'sender-domain', where: author };
  const route = most(routes, count);
  if (route !== '' && copies !== null && isOnly(route, routes, copies))
    return { blame: 'route', where: route };
  const provider = most(domains, count);
  if (provider !== '') return { blame: 'provider', where: provider };
  if (ROUTE.has(reason)) return { blame: 'route', where: route };
  return { blame: 'post', where: '' };
}

/** True if the post went over other routes too, and what those took did not come back so. */
function isOnly(route: string, refused: Counts, copies: Counts): boolean {
  const others = (of: Counts): number =>
    Object.entries(of).reduce((sum, [name, many]) => sum + (name === route ? 0 : many), 0);
  return others(copies) >= STORM_MEMBERS_MIN && others(refused) <= others(copies) * STORM_SHARE;
}

function most(counts: Counts, of: number): string {
  return (
    Object.entries(counts).find(([name, many]) => name !== OTHERS && many >= of * MOST)?.[0] ?? ''
  );
}
