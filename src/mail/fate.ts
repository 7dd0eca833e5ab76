/**
 * What became of a post, told from its results: for each recipient the story of its tries and how it stands, for the post the
 * counts. The results are the only record (design §4); this only reads them.
 */
import type { DeferredRecipient, Result } from './chunk.ts';
import { isIn, numbersIn, rangeOf } from './ranges.ts';

/** A result, and the chunk and try that it is of. */
export type Told = { readonly chunk: string; readonly try: number; readonly result: Result };

/** How one recipient stands. Who is not told of at all is still queued. */
export type FateState = 'handed' | 'deferred' | 'refused' | 'cancelled';

/** What one try came to for one recipient. */
export type Fate = {
  readonly state: FateState;
  /** When that was said, ms since the epoch. */
  readonly at: number;
  /** Which it was sent by; '' where none could be had, or a crash lost it. */
  readonly route: string;
  readonly chunk: string;
  readonly try: number;
  /** SMTP's code; 250 for what was handed over, 0 where the connection was lost after the final dot. */
  readonly code: number;
  readonly status: string;
  /** In the MTA's words; '' where they were lost in a crash. */
  readonly reply: string;
  /** When the next try is due; null where there is none. */
  readonly next: number | null;
};

/** In the order in which they happened. */
export const inOrder = (told: readonly Told[]): readonly Told[] =>
  told.toSorted((a, b) => a.result.at - b.result.at || a.try - b.try);

/** All that happened to one recipient, first to last. `told` is in order. */
export function storyOf(told: readonly Told[], number: number): readonly Fate[] {
  return told.flatMap((one) => fateIn(one, number) ?? []);
}

/** How a recipient stands after its story: what was handed over stays so. Null: nothing was told yet. */
export function standOf(story: readonly Fate[]): Fate | null {
  return story.find(({ state }) => state === 'handed') ?? story.at(-1) ?? null;
}

/**
 * Who may have a copy twice, if they have one: it was sent to them by somebody who was lost with the chunk before saying so, or nobody
 * knows whether an MTA took it (RFC 1047).
 */
export function repeatedIn(told: readonly Told[]): ReadonlySet<number> {
  return new Set(
    told.flatMap(({ result: { repeated = [], deferred } }) => [
      ...repeated.flatMap(numbersIn),
      ...deferred.flatMap(({ code, number }) => (code === 0 ? [number] : [])),
    ]),
  );
}

function fateIn({ result, chunk, try: attempt }: Told, number: number): Fate | null {
  const by = { chunk, try: attempt };
  const [, , word] = rangeOf(result.accepted, number) ?? [];
  if (word !== undefined) return { ...by, state: 'handed', ...HANDED, ...word };
  const refused = result.refused.find((one) => one.number === number);
  if (refused !== undefined) return { ...by, state: 'refused', ...wordsOf(refused) };
  const deferred = result.deferred.find((one) => one.number === number);
  if (deferred !== undefined) return { ...by, state: 'deferred', ...wordsOf(deferred) };
  if (!isIn(result.cancelled ?? [], number)) return null;
  return { ...by, state: 'cancelled', ...UNSENT, at: result.at };
}

const HANDED: Pick<Fate, 'code' | 'status' | 'next'> = { code: 250, status: '', next: null };
const UNSENT = { route: '', code: 0, status: '', reply: '', next: null } as const;

const wordsOf = ({ number: _, next, ...said }: DeferredRecipient) => ({
  ...said,
  next: next ?? null,
});

/** How everybody in these results stands. `told` is in order. */
export function stands(told: readonly Told[]): ReadonlyMap<number, Fate> {
  const all = new Map<number, Fate>();
  const put = (number: number, fate: Fate): void => {
    if (all.get(number)?.state !== 'handed') all.set(number, fate);
  };
  for (const { result, chunk, try: attempt } of told) {
    const by = { chunk, try: attempt };
    for (const [from, to, word] of result.accepted) {
      const fate: Fate = { ...by, state: 'handed', ...HANDED, ...word };
      for (let number = from; number <= to; number += 1) put(number, fate);
    }
    for (const deferred of result.deferred) {
      put(deferred.number, { ...by, state: 'deferred', ...wordsOf(deferred) });
    }
    for (const refused of result.refused) {
      put(refused.number, { ...by, state: 'refused', ...wordsOf(refused) });
    }
    for (const [from, to] of result.cancelled ?? []) {
      const fate: Fate = { ...by, state: 'cancelled', ...UNSENT, at: result.at };
      for (let number = from; number <= to; number += 1) put(number, fate);
    }
  }
  return all;
}
