/**
 * Which route carries a chunk. Pure: names, weights and a number in, a name out.
 *
 * The primaries share the hash space [0, 1) in slices as wide as their weights, all of them, also those that are away. A
 * chunk whose slice belongs to one that is away is hashed again among the others. So shares stay exact whoever is away, and
 * nobody's chunks move but those of the one that died. A warming route leaves part of its own slice to the others.
 */
import { createHash } from 'node:crypto';
import type { Class } from '../mail/chunk.ts';

export type Candidate = {
  readonly name: string;
  readonly role: 'primary' | 'fallback';
  readonly weight: number;
  /** The part of its slice that it carries now: 0, it is away; 1, all of it. */
  readonly warmth: number;
};

/**
 * Mail of one list, of the lists of one domain, or of one class goes by these routes; the first rule that fits counts. A retry
 * is of the class `retry`, and of the class that it was.
 */
export type Rule = {
  readonly list?: string | undefined;
  readonly domain?: string | undefined;
  readonly class?: Class | undefined;
  readonly routes: readonly string[];
};

/** What of a chunk a rule looks at. */
export type Matter = { readonly list: string; readonly classes: readonly Class[] };

/** A number in [0, 1) for each round of choosing. */
export type Fractions = (round: string) => number;

/** The same numbers for the same chunk on every node. */
export function hashed(id: string): Fractions {
  return (round) => createHash('sha256').update(`${id}/${round}`).digest().readUInt32BE() / 2 ** 32;
}

/** The routes that the first rule which fits binds this mail to; null where none does. */
export function boundTo(rules: readonly Rule[], matter: Matter): readonly string[] | null {
  return rules.find((rule) => fits(rule, matter))?.routes ?? null;
}

/**
 * The route for mail that the rules may bind; null when none may carry it. A fallback is chosen only when no primary is
 * left; the routes that a rule names are primaries for its mail.
 */
export function choose(
  candidates: readonly Candidate[],
  rules: readonly Rule[],
  matter: Matter,
  pick: (among: readonly Candidate[]) => string | null,
): string | null {
  const named = boundTo(rules, matter);
  const first = candidates.filter(({ name, role }) =>
    named === null ? role === 'primary' : named.includes(name),
  );
  return pick(first) ?? pick(candidates.filter(({ role }) => role === 'fallback'));
}

function fits({ list, domain, class: cls }: Rule, matter: Matter): boolean {
  if (list !== undefined && list !== matter.list) return false;
  if (domain !== undefined && !matter.list.endsWith(`@${domain}`)) return false;
  return cls === undefined || matter.classes.includes(cls);
}

/** By slices. A warming route carries more than its part only where nobody else is left. */
export function bySlices(among: readonly Candidate[], fractions: Fractions): string | null {
  let left = among;
  let spare: string | null = null;
  for (let round = 0; left.length > 0; round += 1) {
    const hit = sliceAt(left, fractions(String(round)));
    if (hit === null) return spare;
    if (hit.warmth >= 1) return hit.name;
    if (hit.warmth > 0) {
      if (fractions(`warm-${round}`) < hit.warmth) return hit.name;
      spare ??= hit.name;
    }
    left = left.filter(({ name }) => name !== hit.name);
  }
  return spare;
}

function sliceAt(among: readonly Candidate[], position: number): Candidate | null {
  let end = 0;
  const at = position * sumOf(among);
  for (const candidate of among) {
    end += candidate.weight;
    if (at < end) return candidate;
  }
  return among.at(-1) ?? null;
}

/** In turn, each as often as its weight says (smooth weighted round robin). `credits` is kept between calls. */
export function byTurn(among: readonly Candidate[], credits: Map<string, number>): string | null {
  const able = among.filter(({ warmth }) => warmth > 0);
  let best: { readonly name: string; readonly credit: number } | null = null;
  for (const { name, weight, warmth } of able) {
    const credit = (credits.get(name) ?? 0) + weight * warmth;
    credits.set(name, credit);
    if (best === null || credit > best.credit) best = { name, credit };
  }
  if (best === null) return null;
  const sum = able.reduce((all, { weight, warmth }) => all + weight * warmth, 0);
  credits.set(best.name, best.credit - sum);
  return best.name;
}

/** A part of the mail that is not worth following any further. */
const PART_MIN = 1e-4;

/**
 * What part of the mail each carries now, by name, as {@link byTurn} or {@link bySlices} chooses in the long run; nothing where none
 * does. They add up to 1.
 */
export function sharesOf(
  among: readonly Candidate[],
  by: 'turn' | 'slices',
): ReadonlyMap<string, number> {
  const able = among.filter(({ warmth }) => warmth > 0);
  const shares = new Map<string, number>(able.map(({ name }) => [name, 0]));
  const add = (name: string, part: number) => shares.set(name, (shares.get(name) ?? 0) + part);
  if (by === 'slices') {
    spread(able, 1, null, add);
    return shares;
  }
  const all = able.reduce((sum, { weight, warmth }) => sum + weight * warmth, 0);
  for (const { name, weight, warmth } of able) add(name, (weight * warmth) / all);
  return shares;
}

/** Of this part each takes what it is hit by and warm for; what it leaves is hashed again among the others, and at last is its own. */
function spread(
  left: readonly Candidate[],
  part: number,
  spare: string | null,
  add: (name: string, part: number) => void,
): void {
  if (left.length === 0 && spare !== null) add(spare, part);
  const all = sumOf(left);
  for (const one of left) {
    const hit = (part * one.weight) / all;
    const isTaken = one.warmth >= 1 || hit < PART_MIN;
    add(one.name, isTaken ? hit : hit * one.warmth);
    if (isTaken) continue;
    const others = left.filter(({ name }) => name !== one.name);
    spread(others, hit * (1 - one.warmth), spare ?? one.name, add);
  }
}

const sumOf = (among: readonly Candidate[]): number =>
  among.reduce((sum, { weight }) => sum + weight, 0);
