/**
 * In which order mail of several classes is served wherever it waits: for a hand of the outgoing runner, for a connection to
 * an MTA. While several classes wait they are served in proportion to their weights, so a notice is not kept waiting by bulk
 * and none ever starves. And of all hands and connections a part, the reserve, is left alone by the large classes: what has
 * 150,000 copies to go out, or an MTA that does not answer, never holds all of them.
 */
import type { Class } from './chunk.ts';

export type ClassOrder = {
  /** Whole numbers from 1: a class comes before those of less weight. */
  readonly weights: Readonly<Record<Class, number>>;
  /** Percent of all places that the large classes leave free; 0 for none. */
  readonly reservePercent: number;
};

export const CLASS_ORDER: ClassOrder = {
  weights: { notice: 8, post: 4, bulk: 2, retry: 1 },
  reservePercent: 20,
};

/** A post to more members than this is `bulk`: at 7,000 copies a second a smaller one is out within 2 s. */
export const BULK_MEMBERS = 10_000;

export const classOf = (members: number, bulkMembers: number): Class =>
  members > bulkMembers ? 'bulk' : 'post';

/** Of what is large there is much, or it is slow: who was refused before often is again. */
export const isLarge = (cls: Class): boolean => cls === 'bulk' || cls === 'retry';

/** Of so many places, how many the large classes may have: not the reserve, and never less than one. */
export function largeMax(places: number, { reservePercent }: ClassOrder): number {
  const reserve = reservePercent === 0 ? 0 : Math.ceil((places * reservePercent) / 100);
  return Math.max(1, places - reserve);
}

export type Contender = { readonly weight: number; credit: number };

/**
 * Smooth weighted round robin: each contender gains its weight; whoever has most is chosen and pays for all. Null of none.
 */
export function chosenByWeight<T extends Contender>(contenders: readonly T[]): T | null {
  let best: T | null = null;
  let sum = 0;
  for (const contender of contenders) {
    contender.credit += contender.weight;
    sum += contender.weight;
    if (best === null || contender.credit > best.credit) best = contender;
  }
  if (best !== null) best.credit -= sum;
  return best;
}
