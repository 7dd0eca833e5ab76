/**
 * The bounce actor of a slot: folds what came back into scores, and asks lists to act on them.
 *
 *      BOUNCES ──event──▶ fold ──▶ rows: scores, tallies, hints, and what to ask of whom
 *                                   │ every 1,000 events or 5 s, with the sequence: a checkpoint
 *                                   └──▶ MAILBOX, once all that the stream held is folded
 *
 * It owns scores; the list owns consequences. What it wants of a list is a verdict, a command like
 * any; what the list did comes back as a `standing` in the same log, so there is one order.
 *
 * B1. Only a bounce whose token is ours counts, and of one (post, member) only the first.
 * B2. The bounces of a day are a set: their order does not matter.
 * B3. Nobody is disabled but by a probe that came back, or by a complaint; nobody is removed but
 *     from being disabled, after every warning, each in its time. The list sees to that too.
 * B4. What a storm's post brings counts against nobody.
 * B5. The fold is a function of the events alone: from any checkpoint it comes to the same rows.
 */
import type { Address } from '../src/mail/address.ts';
import {
  type Bounce,
  type BounceEvent,
  PROBES_FROM,
  type Standing,
} from '../src/mail/bounce-event.ts';
import { DAY_MS, isHard, type Rules, scoreOf, weightOf } from './bounces/scoring.ts';
import { NO_TALLY, plusOne, type Storm, stormOf, type Tally, tallied } from './bounces/storm.ts';

// ── Protocol ──────────────────────────────────────────────────────────────

/** The bounce that a verdict rests on; small, since the list's facts keep it for ever. */
export type Cause = {
  /** Its sequence in BOUNCES: there is its DSN, for 60 days. */
  readonly seq: number;
  readonly reason: string;
  readonly status: string | null;
  readonly code: number | null;
  readonly diagnostic: string;
  /** Another list found the address dead, then (ms since the epoch); absent for what came back here. */
  readonly elsewhere?: { readonly list: Address; readonly since: number };
};

/** What the bounce actor asks of a list. */
export type Verdict =
  | {
      readonly type: 'bounce-verdict';
      readonly verdict: 'probe' | 'disable' | 'warn' | 'remove' | 're-enable';
      readonly member: number;
      /** `warn`: which warning. Else 0. */
      readonly count: number;
      /** `disable`: a reader's complaint is why. */
      readonly complaint: boolean;
      readonly cause: Cause | null;
    }
  /** A plain DSN speaks of this address, which anyone could have written, or another list found it dead. */
  | { readonly type: 'bounce-hint'; readonly address: Address; readonly cause: Cause }
  | ({ readonly type: 'bounce-storm' } & Storm);

/** A verdict with the id that makes it count once. */
export type Asking = { readonly id: string; readonly command: Verdict };

/** The rows of one list, as the fold reads and writes them; `undefined` deletes. */
export type Book = {
  get(tail: Tail): unknown;
  put(tail: Tail, value: unknown): void;
  /** The first row of this kind. */
  first(kind: Tail[0]): { readonly tail: Tail; readonly value: unknown } | null;
  /** How many members the post went to; null if nobody knows. */
  membersOf(post: number): number | null;
  rules(): Rules;
};
export type Tail = readonly [
  kind: 'score' | 'post' | 'day' | 'hints' | 'ask',
  ...(string | number)[],
];

// ── State ─────────────────────────────────────────────────────────────────

/** One copy that came back. */
export type Entry = {
  readonly post: number;
  readonly at: number;
  /** In BOUNCES. */
  readonly seq: number;
  readonly reason: string;
  readonly permanent: boolean;
};

/** What is known of one member. */
export type Score = {
  /** What came up to then is forgotten, and posts up to `floor` count no more. */
  readonly resetAt: number;
  readonly floor: number;
  /** By post. */
  readonly entries: readonly Entry[];
  /** The last probe that came back, and whether that was decisive. */
  readonly probe: number;
  /** What the list was last asked and has not said it did; after a day it may be asked again. */
  readonly asked: { readonly what: 'probe' | 'disable'; readonly at: number } | null;
  /** What the list last said; null while all is well. */
  readonly standing:
    | (Pick<Standing, 'what' | 'at' | 'count' | 'byBounces'> & { readonly seq: number })
    | null;
  /** When the last of it happened. */
  readonly at: number;
  readonly history: readonly Happening[];
};

/** A line of a member's history: a bounce by its reason, or what the list did. */
export type Happening = { readonly seq: number; readonly at: number; readonly what: string };

/** One day of a list, for reports. */
export type Day = {
  readonly bounces: number;
  readonly hints: number;
  readonly complaints: number;
  readonly reasons: Readonly<Record<string, number>>;
  readonly routes: Readonly<Record<string, number>>;
};

export const NO_SCORE: Score = {
  ...{ resetAt: 0, floor: 0, entries: [], probe: PROBES_FROM - 1, asked: null, standing: null },
  ...{ at: 0, history: [] },
};
const NO_DAY: Day = { bounces: 0, hints: 0, complaints: 0, reasons: {}, routes: {} };

/** The stream keeps events so long; rows about them go after it. */
export const KEPT_DAYS = 60;
/** Posts of one member that are told apart; past that the oldest count no more. */
export const ENTRIES_MAX = 64;
const HISTORY_MAX = 24;
/** Addresses of one list that plain DSNs may speak of in a day. */
export const HINTS_PER_DAY_MAX = 1_000;
/** A probe that has not come back by then was delivered (Mailman's `pending_request_life` is 3). */
export const PROBE_DAYS = 10;
/** A list that has not said what it did about a verdict is asked again. */
const ASK_AGAIN_MS = DAY_MS;
const DIAGNOSTIC_MAX = 300;

// ── Fold ──────────────────────────────────────────────────────────────────

/** Folds one event of a list: B1 to B5. What the list is to do becomes rows `ask`. */
export function fold(book: Book, event: BounceEvent, seq: number): void {
  if (event.type === 'standing') foldStanding(book, event, seq);
  else if (event.verified && event.member !== null && event.post !== null)
    foldVerified(book, event, { member: event.member, post: event.post }, seq);
  else foldHint(book, event, seq);
}

/** The score of a member, storms left out. */
export function currentScore(book: Book, score: Score): number {
  const calm = score.entries.filter(({ post }) => tallyOf(book, post).storm === null);
  return scoreOf(calm, book.rules().scoring);
}

type Of = { readonly member: number; readonly post: number };

function foldVerified(book: Book, event: Bounce, { member, post }: Of, seq: number): void {
  const before = scoreRow(book, member);
  if (before.standing?.what === 'removed') return;
  if (post >= PROBES_FROM) foldProbe(book, event, { member, post }, seq);
  else if (post > before.floor && before.entries.every((entry) => entry.post !== post))
    foldNew(book, event, { member, post }, seq);
}

/** The first word of a copy. */
function foldNew(book: Book, event: Bounce, { member, post }: Of, seq: number): void {
  const before = scoreRow(book, member);
  const entry = { post, at: event.at, seq, reason: event.reason, permanent: event.permanent };
  const score = noted({ ...before, ...withEntry(before, entry) }, event.at, seq, lineOf(event));
  book.put(['score', member], score);
  foldDay(book, event);
  foldTally(book, event, post);
  consider(book, member, score, event, seq);
}

/** The newest probe that came back; an older one says nothing any more. */
function foldProbe(book: Book, event: Bounce, { member, post }: Of, seq: number): void {
  const before = scoreRow(book, member);
  if (post <= before.probe || event.at <= before.resetAt) return;
  const score = noted({ ...before, probe: post }, event.at, seq, `probe: ${lineOf(event)}`);
  book.put(['score', member], score);
  foldDay(book, event);
  if (isHard(event, book.rules().scoring)) ask(book, member, score, 'disable', event, seq);
}

/** What to ask of the list, now that this bounce is in the score. */
function consider(book: Book, member: number, score: Score, event: Bounce, seq: number): void {
  const rules = book.rules();
  if (rules.scoring === 'off' || event.at <= score.resetAt) return;
  if (event.kind === 'complaint') ask(book, member, score, 'disable', event, seq);
  else if (score.standing === null && currentScore(book, score) >= rules.threshold)
    ask(book, member, score, 'probe', event, seq);
}

function ask(
  book: Book,
  member: number,
  score: Score,
  verdict: 'probe' | 'disable',
  event: Bounce,
  seq: number,
): void {
  const what = score.standing?.what;
  const isAsked = score.asked !== null && event.at < score.asked.at + ASK_AGAIN_MS;
  const isMore = verdict === 'disable' && score.asked?.what === 'probe';
  if ((isAsked && !isMore) || what === 'disabled' || what === 'warned') return;
  book.put(['score', member], { ...score, asked: { what: verdict, at: event.at } });
  const complaint = event.kind === 'complaint';
  const cause = causeOf(event, seq);
  const command = { type: 'bounce-verdict', verdict, member, count: 0, complaint, cause } as const;
  book.put(['ask', 'member', member], { id: `${member}.${verdict}.${seq}`, command });
}

/** The entries with one more; what is at or before the reset, or past the bound, raises the floor. */
function withEntry(score: Score, entry: Entry): Pick<Score, 'entries' | 'floor'> {
  const all = [...score.entries, entry].sort((a, b) => a.post - b.post);
  return settled(all, score.floor, score.resetAt);
}

function settled(
  all: readonly Entry[],
  before: number,
  resetAt: number,
): Pick<Score, 'entries' | 'floor'> {
  const old = all.filter(({ at }) => at <= resetAt).map(({ post }) => post);
  const floor = Math.max(before, ...old, ...all.slice(0, -ENTRIES_MAX).map(({ post }) => post));
  return { floor, entries: all.filter(({ post }) => post > floor) };
}

/** The list's own word: the truth about the member from here on. */
function foldStanding(book: Book, event: Standing, seq: number): void {
  const { member, what, at, count, byBounces } = event;
  const before = scoreRow(book, member);
  if (before.standing?.what === 'removed') return;
  const line = what === 'warned' || what === 'probed' ? `${what} ${count}` : what;
  const said = noted(before, at, seq, line);
  const standing = { what, at, count, byBounces, seq };
  switch (what) {
    case 'probed': {
      // It may have come back before the list said that it went out.
      const isBack = before.asked?.what === 'disable' && before.probe === PROBES_FROM + count;
      const asked = isBack ? before.asked : null;
      book.put(['score', member], { ...said, standing, asked });
      if (!isBack) book.put(['ask', 'member', member], undefined);
      return;
    }
    case 'reset': {
      const resetAt = Math.max(before.resetAt, at);
      const left = settled(before.entries, before.floor, resetAt);
      book.put(['score', member], { ...said, ...left, resetAt, standing: null, asked: null });
      break;
    }
    default:
      book.put(['score', member], { ...said, standing, asked: null });
  }
  book.put(['ask', 'member', member], undefined);
}

type Hints = { readonly day: number; readonly addresses: Readonly<Record<string, true>> };

/** A hint leads to a probe at most, an address once a day (B1). */
function foldHint(book: Book, event: Bounce, seq: number): void {
  const { address } = event;
  const rules = book.rules();
  const day = Math.floor(event.at / DAY_MS);
  const before = (book.get(['hints']) as Hints | undefined) ?? { day: 0, addresses: {} };
  if (address === null || day < before.day) return;
  const known = day === before.day ? before.addresses : {};
  const name = address.toLowerCase();
  const isFull = Object.keys(known).length >= HINTS_PER_DAY_MAX;
  if (Object.hasOwn(known, name) || isFull) return;
  book.put(['hints'], { day, addresses: { ...known, [name]: true } });
  foldDay(book, event);
  if (event.kind === 'complaint' || weightOf(event, rules.scoring) === 0) return;
  const command = { type: 'bounce-hint', address, cause: causeOf(event, seq) } as const;
  book.put(['ask', 'hint', seq], { id: `hint.${seq}`, command });
}

function foldTally(book: Book, event: Bounce, post: number): void {
  const before = tallyOf(book, post);
  const after = tallied(before, event);
  if (before === NO_TALLY) prune(book, 'post', (value) => (value as Tally).at, event.at);
  const storm = stormOf(post, after, event.reason, book.membersOf(post));
  const isNew = storm !== null && after.storm === null;
  book.put(['post', post], isNew ? { ...after, storm: event.reason } : after);
  if (!isNew) return;
  const command = { type: 'bounce-storm', ...storm } as const;
  book.put(['ask', 'storm', post], { id: `storm.${post}`, command });
}

function foldDay(book: Book, event: Bounce): void {
  const number = Math.floor(event.at / DAY_MS);
  const found = book.get(['day', number]) as Day | undefined;
  if (found === undefined) {
    prune(book, 'day', (_, tail) => Number(tail[1]) * DAY_MS, event.at);
  }
  const day = found ?? NO_DAY;
  const what = !event.verified ? 'hints' : event.kind === 'complaint' ? 'complaints' : 'bounces';
  book.put(['day', number], {
    ...{ ...day, [what]: day[what] + 1 },
    reasons: event.verified ? plusOne(day.reasons, event.reason) : day.reasons,
    routes: event.verified ? plusOne(day.routes, event.route ?? 'dsn') : day.routes,
  });
}

/** Each new row lets two old ones go, so that they never pile up. */
function prune(
  book: Book,
  kind: 'post' | 'day',
  atOf: (value: unknown, tail: Tail) => number,
  now: number,
): void {
  for (let i = 0; i < 2; i++) {
    const first = book.first(kind);
    if (first === null || atOf(first.value, first.tail) > now - KEPT_DAYS * DAY_MS) return;
    book.put(first.tail, undefined);
  }
}

export const scoreRow = (book: Pick<Book, 'get'>, member: number): Score =>
  (book.get(['score', member]) as Score | undefined) ?? NO_SCORE;
const tallyOf = (book: Pick<Book, 'get'>, post: number): Tally =>
  (book.get(['post', post]) as Tally | undefined) ?? NO_TALLY;

function noted(score: Score, at: number, seq: number, what: string): Score {
  const history = [...score.history, { seq, at, what }].slice(-HISTORY_MAX);
  return { ...score, at: Math.max(score.at, at), history };
}

const lineOf = ({ kind, reason, status }: Bounce): string =>
  [kind === 'complaint' ? 'complaint' : reason, status ?? ''].join(' ').trim();

function causeOf({ reason, status, code, diagnostic }: Bounce, seq: number): Cause {
  return { seq, reason, status, code, diagnostic: diagnostic.slice(0, DIAGNOSTIC_MAX) };
}

// ── Decide ────────────────────────────────────────────────────────────────

/** What time alone will bring: when, and what is then asked; `null` instead of a verdict: the row goes. */
export function nextOf(
  member: number,
  score: Score,
  rules: Rules,
): { readonly due: number; readonly asking: Asking | null } {
  const { standing } = score;
  const gone = { due: score.at + KEPT_DAYS * DAY_MS, asking: null };
  if (standing === null || standing.what === 'removed') return gone;
  const asking = (verdict: 'warn' | 'remove' | 're-enable', count: number): Asking => ({
    id: `${member}.${verdict}.${standing.seq}`,
    command: { type: 'bounce-verdict', verdict, member, count, complaint: false, cause: null },
  });
  if (standing.what === 'probed')
    return { due: standing.at + PROBE_DAYS * DAY_MS, asking: asking('re-enable', 0) };
  if (!standing.byBounces || rules.scoring === 'off') return gone;
  const due = standing.at + rules.warningDays * DAY_MS;
  if (standing.count < rules.warnings) return { due, asking: asking('warn', standing.count + 1) };
  return { due, asking: asking('remove', 0) };
}

/** When to ask again what was asked at `now` and not yet answered. */
export const askAgainAt = (now: number): number => now + ASK_AGAIN_MS;

// ── Machine and effects ───────────────────────────────────────────────────
// It has one mode, so no chart: a checkpoint is one synchronous commit. Its effects are the rows
// `ask`: each is put into its list's mailbox and then deleted; done twice, it is one.
