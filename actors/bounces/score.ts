/** What is known of the members of a list of whom something came back, and where it stands. */
import type { Standing } from '../../src/mail/bounce-event.ts';
import type { Copy } from './copies.ts';
import type { Rules } from './scoring.ts';
import { NO_TALLY, type Sent, type Tally } from './storm.ts';

/** The rows of one list, as the fold reads and writes them; `undefined` deletes. */
export type Book = {
  get(tail: Tail): unknown;
  put(tail: Tail, value: unknown): void;
  /** The first row of this kind. */
  first(kind: Tail[0]): { readonly tail: Tail; readonly value: unknown } | null;
  /** Members with a row `['stake', post, member]`. */
  stakes(post: number): readonly number[];
  /** What the list knows of a post that it sent; null if nothing. */
  sent(post: number): (Sent & { readonly at: number }) | null;
  rules(): Rules;
};
export type Tail = readonly [
  kind: 'score' | 'post' | 'day' | 'hints' | 'ask' | 'stake',
  ...(string | number)[],
];

/** What is known of one member. */
export type Score = {
  /** What came up to then is forgotten, and posts up to `floor` count no more. */
  readonly resetAt: number;
  readonly floor: number;
  /** By post. */
  readonly copies: readonly Copy[];
  /** The newest probe that came back. */
  readonly probe: Copy | null;
  /** What the list was asked and has not said it did, and on which day; on a later one it may be asked again. */
  readonly asked: { readonly what: 'probe' | 'disable' | 're-enable'; readonly day: number } | null;
  /** What the list last said; null while all is well. */
  readonly standing: Said | null;
  /** The end of the day on which the last of it happened. */
  readonly at: number;
  readonly history: readonly Happening[];
};

type Said = Pick<Standing, 'what' | 'at' | 'count' | 'byBounces'> & {
  readonly seq: number;
  /** It began with a probe that the score was why of, not a hint. */
  readonly byScore: boolean;
};

/** A line of a member's history. */
export type Happening = {
  /** Which event of BOUNCES it is: its `eventNumber`. */
  readonly seq: number;
  readonly at: number;
  readonly what: string;
  /** Of what the list did: the sequence of what came back and made it do so; null where nothing did. */
  readonly cause?: number | null;
};

export const NO_SCORE: Score = {
  ...{ resetAt: 0, floor: 0, copies: [], probe: null, asked: null, standing: null },
  ...{ at: 0, history: [] },
};

export const scoreRow = (book: Pick<Book, 'get'>, member: number): Score =>
  (book.get(['score', member]) as Score | undefined) ?? NO_SCORE;
export const tallyOf = (book: Pick<Book, 'get'>, post: number): Tally =>
  (book.get(['post', post]) as Tally | undefined) ?? NO_TALLY;
