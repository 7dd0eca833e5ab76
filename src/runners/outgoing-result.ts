/**
 * What a try of a chunk comes to: the result that is told, and the next try, if any recipient needs
 * one. A next try holds all who still need one; each is tried when its own time has come, so that
 * whom one provider keeps waiting keeps nobody else waiting.
 */
import type {
  By,
  Chunk,
  DeferredRecipient,
  Recipient,
  RefusedRecipient,
  Result,
  Word,
} from '../mail/chunk.ts';
import { acceptedIn, chunkName } from '../mail/chunk.ts';
import { numbersIn, rangeOf, rangesOfAll } from '../mail/ranges.ts';
import type { Noted, RecipientReply } from '../world.ts';
import { type Cause, causeOf, dueAt, isTooManyRecipients } from './retry-schedule.ts';

/** What became of the recipients so far; those in none of the three were not tried. */
export type Progress = {
  /** The MTA's word on each copy that it took. */
  readonly accepted: Map<number, Word>;
  /** Who was not accepted, and the MTA's word. */
  readonly replies: Map<number, Reply>;
  /** Who is in a transaction that is not answered yet. */
  readonly underWay: Set<number>;
  /** Who may have had a copy before this try. */
  readonly repeated: Set<number>;
};
/** An MTA's word on one recipient, and which route said it. */
export type Reply = RecipientReply & By;

/**
 * How a try ended. `all`: everybody whose time had come has an outcome. `cut`: the hand was taken
 * away. `route`: there is no connection to be had. `slow`: it took too long. `pause`, `cancel`: the
 * post is not to be sent on.
 */
export type Ended = 'all' | 'cut' | 'route' | 'slow' | 'pause' | 'cancel';

/** Who becomes due so shortly after the first is tried with it. */
const TOGETHER_MS = 10_000;

/**
 * Who has an outcome before this try begins: a `part` of it, or the try before, or the journal says
 * so.
 */
export function progressBefore(
  chunk: Chunk,
  told: readonly (Result | null)[],
  journaled: Noted,
): Progress {
  const [part] = told;
  const repeated = new Set(part?.repeated?.flatMap(numbersIn));
  const progress: Progress = {
    ...{ accepted: new Map(), replies: new Map(), underWay: new Set(), repeated },
  };
  for (const [number] of chunk.to) {
    const noted = journaled.get(number);
    if (noted !== undefined) progress.accepted.set(number, { ...noted, reply: '' });
    for (const result of told) {
      const range = result === null ? null : rangeOf(result.accepted, number);
      if (range !== null) progress.accepted.set(number, range[2]);
    }
  }
  for (const refused of [...(part?.deferred ?? []), ...(part?.refused ?? [])]) {
    if (!progress.accepted.has(refused.number)) progress.replies.set(refused.number, refused);
  }
  return progress;
}

/** Who has no outcome, and is to have none from what is under way. */
export function untried(chunk: Chunk, progress: Progress): readonly Recipient[] {
  const { accepted, replies, underWay } = progress;
  const isTried = (number: number): boolean =>
    accepted.has(number) || replies.has(number) || underWay.has(number);
  return chunk.to.filter(([number]) => !isTried(number));
}

/** Of those, whose time has come. */
export function dueNow(chunk: Chunk, progress: Progress, now: number): readonly Recipient[] {
  const waits = new Map(chunk.waits);
  return untried(chunk, progress).filter(([number]) => (waits.get(number) ?? 0) <= now);
}

/** A chunk that waited because its post was paused is as much younger. */
export function resumed(chunk: Chunk, now: number): Chunk {
  if (chunk.pausedAt === undefined) return chunk;
  const { pausedAt, ...rest } = chunk;
  return { ...rest, firstAt: chunk.firstAt + Math.max(0, now - pausedAt) };
}

/** A 5xx, unless it only means that the envelope was too long. */
const isFinal = (reply: RecipientReply): boolean =>
  reply.code >= 500 && !isTooManyRecipients(reply);

/** Given up on: RFC 3463 §3.5. */
const EXPIRED = { code: 554, status: '5.4.7' } as const;
/** What is said of whom we could not try at all: nothing of theirs. */
export const NO_ROUTE = 'no route could be reached';
const NO_ANSWERS: ReadonlyMap<number, readonly Reply[]> = new Map();
const UNREACHED = { code: 451, status: '4.4.1', reply: NO_ROUTE } as const;

export type Outcome = {
  readonly result: Result;
  /** The next try, and when it is due; null when nobody needs one. */
  readonly next: { readonly chunk: Chunk; readonly at: number } | null;
};

/** What a try is judged by. */
export type Circumstances = {
  readonly now: number;
  /** Who was not accepted so long after the first try is given up on. */
  readonly lifeMs: number;
  /** No next try waits longer; absent: as its cause says. */
  readonly retryMsMax?: number;
  /** The last route that was tried; '' if there was none. */
  readonly route: string;
  /** The results of the tries before. */
  readonly before: readonly (Result | null)[];
};

/** What is told of a try so far, while it is not known when who was refused is tried again. */
export function partOf(chunk: Chunk, progress: Progress, at: number): Result {
  const circumstances = { now: at, lifeMs: Infinity, route: '', before: [] };
  const { result } = outcomeOf(chunk, progress, 'cut', circumstances);
  return { ...result, kind: 'part' };
}

/** What the try has come to. */
export function outcomeOf(
  chunk: Chunk,
  progress: Progress,
  ended: Ended,
  { now, lifeMs, retryMsMax, route, before }: Circumstances,
): Outcome {
  const endsAt = chunk.firstAt + lifeMs;
  const isOver = now >= endsAt;
  const refused: RefusedRecipient[] = [];
  const deferred: DeferredRecipient[] = [];
  const due = new Map<number, number>();
  const answers = isOver ? answersIn(before) : NO_ANSWERS;
  const at = (cause: Cause): number => {
    const time = dueAt(now, now - chunk.firstAt, cause, chunkName(chunk), retryMsMax);
    return cause === 'paused' ? time : Math.min(time, endsAt);
  };
  for (const [number, { code, status, reply, route, at: saidAt }] of progress.replies) {
    const said = { number, code, status, reply, route, at: saidAt };
    if (isFinal(said)) refused.push(said);
    else if (isOver) refused.push(givenUp(said, answers.get(number)));
    else if (ended === 'cut') deferred.push(said);
    else {
      // Whose connection was lost when the route died was not refused by anybody.
      const isLost = ended === 'route' && (code === 0 || code === 421);
      due.set(number, at(isLost ? 'route' : causeOf(said)));
      if (ended !== 'cancel') deferred.push({ ...said, next: due.get(number) ?? now });
    }
  }
  const waits = new Map(chunk.waits);
  for (const [number] of untried(chunk, progress)) {
    const until = waits.get(number) ?? 0;
    const unreached = { number, ...UNREACHED, route, at: now };
    if (ended === 'pause') due.set(number, at('paused'));
    else if (ended !== 'route') due.set(number, Math.max(until, ended === 'all' ? 0 : at('route')));
    else if (isOver) refused.push(givenUp(unreached, answers.get(number)));
    else {
      due.set(number, Math.max(until, at('route')));
      // Of whom it was not the time yet, the try before has said why they wait.
      if (until <= now) deferred.push({ ...unreached, next: due.get(number) ?? now });
    }
  }
  const { accepted, repeated } = progress;
  const result = {
    ...({ kind: 'done', at: now, accepted: acceptedIn(accepted) } as const),
    ...(repeated.size > 0 && { repeated: rangesOfAll(repeated) }),
  };
  if (ended === 'cancel') {
    const cancelled = rangesOfAll(due.keys());
    return { result: { ...result, deferred, refused, cancelled }, next: null };
  }
  return { result: { ...result, deferred, refused }, next: nextTry(chunk, due, ended, now) };
}

/** What each recipient was told by the tries before, in their order. */
function answersIn(before: readonly (Result | null)[]): ReadonlyMap<number, readonly Reply[]> {
  return Map.groupBy(
    before.flatMap((result) => result?.deferred ?? []),
    ({ number }) => number,
  );
}

/**
 * Says how often it was tried, and what an MTA answered last; that was over the route that it names. Whom no route reached in the
 * end may have been answered before.
 */
function givenUp(
  last: Reply & { readonly number: number },
  before: readonly Reply[] = [],
): RefusedRecipient {
  const tries = [...before, last];
  const isReached = last.reply !== NO_ROUTE;
  const heard = tries.findLast(({ reply }) => reply !== NO_ROUTE);
  const said = [
    `given up after ${tries.length === 1 ? 'one try' : `${tries.length} tries`}`,
    ...(isReached ? [] : [`: ${NO_ROUTE}`]),
    ...(heard === undefined ? [] : [isReached ? ': ' : '; the last answer: ', answerOf(heard)]),
  ];
  const { route } = heard ?? last;
  return { number: last.number, ...EXPIRED, reply: said.join(''), route, at: last.at };
}

/** Without a code where the connection was lost. */
const answerOf = ({ code, status, reply }: Reply): string =>
  [code || '', status, reply].filter((part) => part !== '').join(' ');

function nextTry(
  chunk: Chunk,
  due: ReadonlyMap<number, number>,
  ended: Ended,
  now: number,
): Outcome['next'] {
  if (due.size === 0) return null;
  const at = Math.min(...due.values());
  const { waits: _, pausedAt, ...rest } = chunk;
  const to = chunk.to.filter(([number]) => due.has(number));
  const waits = [...due].filter(([, until]) => until > at + TOGETHER_MS);
  const isPaused = ended === 'pause';
  const next: Chunk = {
    ...rest,
    ...{ try: chunk.try + 1, to },
    ...(!isPaused && { class: 'retry', was: chunk.was ?? chunk.class }),
    ...(waits.length > 0 && { waits }),
    ...(isPaused && { pausedAt: pausedAt ?? now }),
  };
  return { chunk: next, at };
}

/** Recipients of one try by what became of them; `maybe` are those of the deferred who may have it (RFC 1047). */
type Counts = { accepted: number; deferred: number; refused: number; maybe: number };

/** By the route that said so. */
export function countsOf({ accepted, deferred, refused }: Result): ReadonlyMap<string, Counts> {
  const all = new Map<string, Counts>();
  const of = ({ route }: By): Counts => {
    const counts = all.get(route) ?? { accepted: 0, deferred: 0, refused: 0, maybe: 0 };
    all.set(route, counts);
    return counts;
  };
  for (const [from, to, word] of accepted) of(word).accepted += to - from + 1;
  for (const one of deferred) {
    of(one).deferred += 1;
    if (one.code === 0) of(one).maybe += 1;
  }
  for (const one of refused) of(one).refused += 1;
  return all;
}
