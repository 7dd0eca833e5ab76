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
 * B1. Only a bounce whose token is ours counts, and a copy once, by its first day.
 * B2. The bounces of a day are a set: their order does not matter, to the scores or to what is asked.
 * B3. Nobody is disabled but by a probe that came back, or by a complaint; nobody is removed but
 *     from being disabled, after every warning, each in its time. The list sees to that too.
 * B4. What a storm's post brings counts against nobody: what was asked before it was seen is taken
 *     back, and whom it disabled is enabled.
 * B5. The fold is a function of the events alone: from any checkpoint it comes to the same rows.
 */
import type { Address } from '../src/mail/address.ts';
import {
  type Bounce,
  type BounceEvent,
  PROBES_FROM,
  type Standing,
} from '../src/mail/bounce-event.ts';
import { type Copy, compareWords, dayOf, firstAt, withWord, wordOf } from './bounces/copies.ts';
import { type Day, NO_DAY, withCopy } from './bounces/day.ts';
import {
  type Book,
  type Happening,
  type Score,
  scoreRow,
  type Tail,
  tallyOf,
} from './bounces/score.ts';
import { DAY_MS, weightOf } from './bounces/scoring.ts';
import {
  NO_TALLY,
  type Storm,
  stormOf,
  stormReason,
  type Tally,
  tallied,
} from './bounces/storm.ts';
import { standsOn, wanted } from './bounces/wants.ts';

// ── Protocol ──────────────────────────────────────────────────────────────

/** The bounce that a verdict rests on; small, since the list's facts keep it for ever. */
export type Cause = {
  /** Its `eventNumber`: there in BOUNCES is its DSN, for 60 days. */
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
      /** Null: what the list has noted as the cause before. */
      readonly cause: Cause | null;
      /** `re-enable`: a storm disabled the member. */
      readonly storm?: true;
    }
  /** A plain DSN speaks of this address, which anyone could have written, or another list found it dead. */
  | { readonly type: 'bounce-hint'; readonly address: Address; readonly cause: Cause }
  | ({ readonly type: 'bounce-storm' } & Storm);

/** A verdict with the id that makes it count once. */
export type Asking = { readonly id: string; readonly command: Verdict };

// ── State ─────────────────────────────────────────────────────────────────

/** The stream keeps events so long; rows about them go after it. */
export const KEPT_DAYS = 60;
/** Posts of one member that are told apart; past that the oldest count no more. */
export const COPIES_MAX = 64;
/** Lines of each kind: what came back, and what the list did. */
const HISTORY_MAX = 24;
/** Addresses of one list that plain DSNs may speak of in a day. */
export const HINTS_PER_DAY_MAX = 1_000;

// ── Fold ──────────────────────────────────────────────────────────────────

/** Folds one event of a list: B1 to B5. What the list is to do becomes rows `ask`. */
export function fold(book: Book, event: BounceEvent, seq: number): void {
  if (event.type === 'standing') foldStanding(book, event, seq);
  else if (event.verified && event.member !== null && event.post !== null)
    foldVerified(book, event, { member: event.member, post: event.post }, seq);
  else foldHint(book, event, seq);
}

type Of = { readonly member: number; readonly post: number };

function foldVerified(book: Book, event: Bounce, of: Of, seq: number): void {
  const before = scoreRow(book, of.member);
  if (before.standing?.what === 'removed') return;
  if (of.post >= PROBES_FROM) foldProbe(book, event, of, seq);
  else if (of.post > before.floor && !isOld(book, event, of.post)) foldCopy(book, event, of, seq);
  else return;
  consider(book, of.member, event.at, true);
}

/** Nobody knows any more what came back of such a post before: `floor` may be forgotten (B1). */
function isOld(book: Book, { at }: Bounce, post: number): boolean {
  const sent = book.sent(post);
  return sent !== null && at > sent.at + KEPT_DAYS * DAY_MS;
}

function foldCopy(book: Book, event: Bounce, { member, post }: Of, seq: number): void {
  const score = scoreRow(book, member);
  const before = score.copies.find((copy) => copy.post === post) ?? null;
  const after = withWord(before, post, wordOf(event, seq));
  if (after === null) return;
  const all = [...score.copies.filter((copy) => copy !== before), after];
  all.sort((a, b) => a.post - b.post);
  const next = { ...score, ...settled(all, score.floor, score.resetAt) };
  book.put(['score', member], noted(next, event.at, { seq, what: lineOf(event) }));
  foldDay(book, before, after);
  foldTally(book, before, after, event.at);
}

/** The newest probe that came back; an older one says nothing any more. */
function foldProbe(book: Book, event: Bounce, { member, post }: Of, seq: number): void {
  const score = scoreRow(book, member);
  const known = score.probe;
  if (event.at <= score.resetAt || post < (known?.post ?? 0)) return;
  const before = known?.post === post ? known : null;
  const probe = withWord(before, post, wordOf(event, seq));
  if (probe === null) return;
  const what = `probe: ${lineOf(event)}`;
  book.put(['score', member], noted({ ...score, probe }, event.at, { seq, what }));
}

/** The copies that count; what is at or before the reset, or past the bound, raises the floor. */
function settled(
  all: readonly Copy[],
  before: number,
  resetAt: number,
): Pick<Score, 'copies' | 'floor'> {
  const old = all.filter((copy) => firstAt(copy) <= resetAt).map(({ post }) => post);
  const floor = Math.max(before, ...old, ...all.slice(0, -COPIES_MAX).map(({ post }) => post));
  return { floor, copies: all.filter(({ post }) => post > floor) };
}

/** The list's own word: the truth about the member from here on. */
function foldStanding(book: Book, event: Standing, seq: number): void {
  const { member, what, at, count, byBounces, cause } = event;
  const before = scoreRow(book, member);
  if (before.standing?.what === 'removed') return;
  const line = what === 'warned' || what === 'probed' ? `${what} ${count}` : what;
  const said = { ...noted(before, at, { seq, what: line, cause }), asked: null };
  const byScore =
    what === 'probed'
      ? before.copies.some(({ words }) => words.some((word) => word.seq === cause))
      : before.standing?.byScore === true;
  book.put(['ask', 'member', member], undefined);
  if (what === 'reset') {
    const resetAt = Math.max(before.resetAt, at);
    const left = settled(before.copies, before.floor, resetAt);
    book.put(['score', member], { ...said, ...left, resetAt, standing: null });
  } else {
    const standing = { what, at, count, byBounces, seq, byScore };
    book.put(['score', member], { ...said, standing });
  }
  // A probe may have come back before the list said that it went out; a storm may have been seen.
  consider(book, member, at, true);
}

/** By address, in lower case: for which reason the list is asked; '' if for none. */
type Hints = { readonly day: number; readonly addresses: Readonly<Record<string, string>> };

/** A hint leads to a probe at most, an address once a day (B1). */
function foldHint(book: Book, event: Bounce, seq: number): void {
  const { address, at, reason } = event;
  const { scoring } = book.rules();
  const day = dayOf(at);
  const before = (book.get(['hints']) as Hints | undefined) ?? { day: 0, addresses: {} };
  if (address === null || day < before.day) return;
  const known = day === before.day ? before.addresses : {};
  const name = address.toLowerCase();
  const isNew = !Object.hasOwn(known, name);
  if (isNew && Object.keys(known).length >= HINTS_PER_DAY_MAX) return;
  const row: Tail = ['ask', 'hint', name];
  const asked = isNew ? '' : (known[name] ?? '');
  const isWorth = event.kind !== 'complaint' && weightOf(event, scoring) > 0;
  // Of those of a day the weightiest is why, as long as the list has not heard of another.
  const isMore =
    asked === '' ||
    (book.get(row) !== undefined &&
      compareWords(wordOf(event, seq), { ...wordOf(event, seq), reason: asked }) < 0);
  const why = isWorth && isMore ? reason : asked;
  if (isNew || why !== asked)
    book.put(['hints'], { day, addresses: { ...known, [name]: why } } satisfies Hints);
  if (isNew) putDay(book, day, (of) => ({ ...of, hints: of.hints + 1 }));
  if (why === asked) return;
  const command = { type: 'bounce-hint', address, cause: causeOf({ seq, reason }) } as const;
  book.put(row, { id: `hint.${seq}`, command } satisfies Asking);
}

function foldTally(book: Book, was: Copy | null, { post, words }: Copy, at: number): void {
  const before = tallyOf(book, post);
  if (before === NO_TALLY) prune(book, 'post', (value) => (value as Tally).at, at);
  const counted = tallied(before, was?.words ?? [], words);
  const sent = book.sent(post);
  const storm = stormReason(counted, sent?.members ?? null) ?? before.storm;
  book.put(['post', post], { ...counted, storm });
  if (storm === null || sent === null) return;
  const row: Tail = ['ask', 'storm', post];
  const isNew = before.storm === null;
  // Until the list hears of it, it hears of all that came.
  if (isNew || book.get(row) !== undefined) {
    const command = { type: 'bounce-storm', ...stormOf(post, storm, counted, sent) } as const;
    book.put(row, { id: `storm.${post}`, command } satisfies Asking);
  }
  if (isNew) for (const member of book.stakes(post)) consider(book, member, at, false);
}

/** A copy is of one day: that of the word that counts. */
function foldDay(book: Book, before: Copy | null, after: Copy): void {
  if (before !== null) putDay(book, dayOf(before.words[0].at), (day) => withCopy(day, before, -1));
  putDay(book, dayOf(after.words[0].at), (day) => withCopy(day, after, 1));
}

function putDay(book: Book, number: number, next: (day: Day) => Day): void {
  const found = book.get(['day', number]) as Day | undefined;
  if (found === undefined)
    prune(book, 'day', (_, tail) => Number(tail[1]) * DAY_MS, number * DAY_MS);
  book.put(['day', number], next(found ?? NO_DAY));
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
    if (kind !== 'post') continue;
    const post = Number(first.tail[1]);
    for (const member of book.stakes(post)) book.put(['stake', post, member], undefined);
  }
}

/** What came back and what the list did are kept apart: a flood of the one must not hide the other. */
function noted(score: Score, at: number, line: Omit<Happening, 'at'>): Score {
  const all = [...score.history, { ...line, at }];
  const isDone = (one: Omit<Happening, 'at'>): boolean => one.cause !== undefined;
  const alike = all.filter((one) => isDone(one) === isDone(line));
  const [oldest] = alike;
  const history = alike.length > HISTORY_MAX ? all.filter((one) => one !== oldest) : all;
  return { ...score, at: Math.max(score.at, (dayOf(at) + 1) * DAY_MS), history };
}

const lineOf = ({ kind, reason, status }: Bounce): string =>
  [kind === 'complaint' ? 'complaint' : reason, status ?? ''].join(' ').trim();

/** What is said there in words, the host reads from BOUNCES when it asks. */
const causeOf = ({ seq, reason }: Pick<Cause, 'seq' | 'reason'>): Cause => ({
  ...{ seq, reason, status: null, code: null, diagnostic: '' },
});

// ── Decide ────────────────────────────────────────────────────────────────

/**
 * Makes what the list is to be asked about a member fit what is known now. What came of the member's
 * own lets it be asked again on another day; what came of others only changes what is asked.
 */
function consider(book: Book, member: number, now: number, isOwn: boolean): void {
  const score = scoreRow(book, member);
  const row: Tail = ['ask', 'member', member];
  const want = wanted(book, score);
  if (want?.verdict === 'probe' || score.standing?.byScore === true) stake(book, member, score);
  if (want === null) {
    if (score.asked === null) return;
    book.put(row, undefined);
    book.put(['score', member], { ...score, asked: null });
    return;
  }
  const { verdict, word } = want;
  const day = dayOf(now);
  const before = score.asked?.what === verdict ? score.asked.day : null;
  const isAsked = before !== null && (!isOwn || day <= before);
  const waiting = book.get(row) as Asking | undefined;
  if (isAsked && waiting === undefined) return; // The list has heard.
  const seq = word?.seq ?? score.standing?.seq;
  const id = `${member}.${verdict}.${seq}`;
  if (isAsked && waiting?.id === id) return;
  book.put(['score', member], { ...score, asked: { what: verdict, day: isAsked ? before : day } });
  const command = {
    ...({ type: 'bounce-verdict', verdict, member, count: 0 } as const),
    complaint: word?.kind === 'complaint',
    cause: word === null ? null : causeOf(word),
    ...(verdict === 're-enable' && { storm: true as const }),
  };
  book.put(row, { id, command } satisfies Asking);
}

/** The posts that a score rests on: when one of them turns out to be a storm, the member is considered again. */
function stake(book: Book, member: number, score: Score): void {
  for (const { post } of standsOn(book, score))
    if (book.get(['stake', post, member]) === undefined) book.put(['stake', post, member], true);
}

// ── Machine and effects ───────────────────────────────────────────────────
// It has one mode, so no chart: a checkpoint is one synchronous commit. Its effects are the rows
// `ask`: each is put into its list's mailbox and then deleted; done twice, it is one.
