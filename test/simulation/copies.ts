/**
 * The accounts of copies: who has which, and which may come once more because whoever sends next cannot know of it.
 */
import type { Chunk } from '../../src/mail/chunk.ts';
import type { Life } from './life.ts';
import { demand } from './model.ts';

export type Copies = {
  /** How often each came, by {@link pairOf}. */
  readonly taken: ReadonlyMap<string, number>;
  /** The MTA took one, sent by this life; `isUnheard`: its answer was lost. `what` it was, for the story. */
  took(pair: string, life: Life, isUnheard: boolean, what: string): void;
  /** A chunk came into a hand; `knows`: its results or this node's journal name that recipient. */
  given(chunk: Chunk, isInTwoHands: boolean, knows: (number: number) => boolean): void;
  /** The journal has it. */
  noted(pair: string, life: Life): void;
  died(life: Life): void;
  mayRepeat(pair: string): void;
  duplicates(): number;
};

/** The name of a recipient's copies: list, post, member number. */
export const pairOf = (id: { key: string; post: string }, number: number): string =>
  `${id.key}.${id.post}#${number}`;

export function createCopies(): Copies {
  const taken = new Map<string, number>();
  /** How often more than once. */
  const allowed = new Map<string, number>();
  /** Taken, and nobody has noted it yet. */
  const unnoted = new Map<Life, Set<string>>();
  const allow = (pair: string, many: number): void =>
    void allowed.set(pair, Math.max(allowed.get(pair) ?? 0, many));
  const mayRepeat = (pair: string): void => allow(pair, (allowed.get(pair) ?? 0) + 1);
  return {
    taken,
    mayRepeat,
    took(pair, life, isUnheard, what) {
      const many = (taken.get(pair) ?? 0) + 1;
      taken.set(pair, many);
      demand(many <= 1 + (allowed.get(pair) ?? 0), `an unexplained duplicate: ${what}`);
      if (isUnheard || !life.isAlive()) mayRepeat(pair);
      else unnoted.set(life, (unnoted.get(life) ?? new Set()).add(pair));
    },
    given(chunk, isInTwoHands, knows) {
      for (const [number] of chunk.to) {
        const pair = pairOf(chunk, number);
        const many = taken.get(pair) ?? 0;
        if (many > 0 && !knows(number)) allow(pair, many);
        if (isInTwoHands) mayRepeat(pair);
      }
    },
    noted: (pair, life) => void unnoted.get(life)?.delete(pair),
    died(life) {
      for (const pair of unnoted.get(life) ?? []) mayRepeat(pair);
      unnoted.delete(life);
    },
    duplicates: () => [...taken.values()].reduce((sum, many) => sum + many - 1, 0),
  };
}
