/** Bounces of one list, as tests speak of them, and a book over rows in memory to fold them into. */

import type { Book, Score, Tail } from '../../actors/bounces/score.ts';
import { DAY_MS, DEFAULT_RULES, type Rules } from '../../actors/bounces/scoring.ts';
import { type Asking, fold } from '../../actors/bounces.ts';
import type { Address } from '../../src/mail/address.ts';
import type { Bounce, BounceEvent, Standing } from '../../src/mail/bounce-event.ts';
import { START } from './list-story.ts';

/** A midnight, so that hours of a day are easy to name. */
export const DAY_ZERO = Math.ceil(START / DAY_MS) * DAY_MS;

export const onDay = (day: number, hour = 12): number => DAY_ZERO + day * DAY_MS + hour * 3_600_000;

/** A copy of `post` to `member` that came back: verified, final, user unknown, unless said. */
export function bounce(member: number, post: number, changes: Partial<Bounce> = {}): Bounce {
  return {
    ...{ type: 'bounce', id: `d${member}x${post}`, at: onDay(0), kind: 'bounce', verified: true },
    ...{ member, post, address: `m${member}@example.org` as Address, permanent: true },
    ...{ status: '5.1.1', code: 550, reason: 'user-unknown', rule: 'rfc3464', source: 'dsn' },
    ...{ route: null, diagnostic: '550 5.1.1 no such user', dsn: 'the DSN' },
    ...changes,
  };
}

/** A plain DSN about an address: anyone could have written it. */
export function hint(address: string, changes: Partial<Bounce> = {}): Bounce {
  const whose = { address: address as Address, verified: false, member: null, post: null };
  return bounce(0, 0, { id: `h${address}`, ...whose, ...changes });
}

export function standing(
  member: number,
  what: Standing['what'],
  at: number,
  count = 0,
  byBounces = true,
  cause: number | null = null,
): Standing {
  const id = `l${at}.${member}.${what}.${count}`;
  return { type: 'standing', id, at, member, what, count, byBounces, cause };
}

export type BookStory = {
  readonly book: Book;
  /** Folds events, one sequence each. */
  fold(...events: readonly BounceEvent[]): BookStory;
  score(member: number): Score | undefined;
  /** What lists are to be asked, in the order of their rows. */
  asks(): readonly Asking[];
  /** Every row, by its key. */
  rows(): ReadonlyMap<string, unknown>;
};

/** `before` and `reached` are a checkpoint. */
export function emptyBook(
  rules: Partial<Rules> = {},
  members: number | null = 1_000,
  before: ReadonlyMap<string, unknown> = new Map(),
  reached = 0,
): BookStory {
  const rows = new Map(before);
  const idOf = (tail: Tail): string => JSON.stringify(tail);
  let seq = reached;
  const book: Book = {
    get: (tail) => rows.get(idOf(tail)),
    put: (tail, value) => {
      if (value === undefined) rows.delete(idOf(tail));
      else rows.set(idOf(tail), value);
    },
    first: (kind) => {
      const tails = [...rows.keys()].map((id) => JSON.parse(id) as Tail);
      const mine = tails.filter(([name]) => name === kind);
      const [tail] = mine.sort((a, b) => Number(a[1]) - Number(b[1]));
      return tail === undefined ? null : { tail, value: rows.get(idOf(tail)) };
    },
    stakes: (post) =>
      [...rows.keys()]
        .map((id) => JSON.parse(id) as Tail)
        .filter(([kind, of]) => kind === 'stake' && of === post)
        .map(([, , member]) => Number(member)),
    sent: () => (members === null ? null : { members, author: 'author.example', at: DAY_ZERO }),
    rules: () => ({ ...DEFAULT_RULES, ...rules }),
  };
  const story: BookStory = {
    book,
    fold: (...events) => {
      for (const event of events) {
        seq += 1;
        fold(book, event, seq);
      }
      return story;
    },
    score: (member) => rows.get(idOf(['score', member])) as Score | undefined,
    asks: () => [...rows].filter(([id]) => id.startsWith('["ask"')).map(([, one]) => one as Asking),
    rows: () => rows,
  };
  return story;
}
