/**
 * What a try of a chunk comes to: the result that is told, and the next try, if any recipient needs
 * one. A next try holds all who still need one; each is tried when its own time has come, so that
 * whom one provider keeps waiting keeps nobody else waiting.
 */
import type {
  Chunk,
  DeferredRecipient,
  Recipient,
  RefusedRecipient,
  Result,
} from '../mail/chunk.ts';
import { chunkName } from '../mail/chunk.ts';
import { rangeOf, rangesOf } from '../mail/ranges.ts';
import type { RecipientReply } from '../world.ts';
import { type Cause, causeOf, dueAt, isTooManyRecipients } from './retry-schedule.ts';

/** What became of the recipients so far; those in neither were not tried. */
export type Progress = {
  /** The MTA's words; '' where they were lost. */
  readonly accepted: Map<number, string>;
  /** Who was not accepted, and the MTA's word. */
  readonly replies: Map<number, RecipientReply>;
};

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
  journaled: readonly number[],
): Progress {
  const [part] = told;
  const noted = new Set(journaled);
  const progress: Progress = { accepted: new Map(), replies: new Map() };
  for (const [number] of chunk.to) {
    if (noted.has(number)) progress.accepted.set(number, '');
    for (const result of told) {
      const range = result === null ? null : rangeOf(result.accepted, number);
      if (range !== null) progress.accepted.set(number, range[2] ?? '');
    }
  }
  for (const refused of [...(part?.deferred ?? []), ...(part?.refused ?? [])]) {
    if (!progress.accepted.has(refused.number)) progress.replies.set(refused.number, refused);
  }
  return progress;
}

/** Who has no outcome yet. */
export function untried(chunk: Chunk, { accepted, replies }: Progress): readonly Recipient[] {
  return chunk.to.filter(([number]) => !accepted.has(number) && !replies.has(number));
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

export type Outcome = {
  readonly result: Result;
  /** The next try, and when it is due; null when nobody needs one. */
  readonly next: { readonly chunk: Chunk; readonly at: number } | null;
};

type Limits = {
  readonly now: number;
  /** Who was not accepted so long after the first try is given up on. */
  readonly lifeMs: number;
  /** No next try waits longer; absent: as its cause says. */
  readonly retryMsMax?: number;
};

/** What is told of a try so far, while it is not known when who was refused is tried again. */
export function partOf(chunk: Chunk, progress: Progress, route: string, at: number): Result {
  const { result } = outcomeOf(chunk, progress, 'cut', route, { now: at, lifeMs: Infinity });
  return { ...result, kind: 'part' };
}

/** What the try has come to. */
export function outcomeOf(
  chunk: Chunk,
  progress: Progress,
  ended: Ended,
  route: string,
  { now, lifeMs, retryMsMax }: Limits,
): Outcome {
  const endsAt = chunk.firstAt + lifeMs;
  const isOver = now >= endsAt;
  const refused: RefusedRecipient[] = [];
  const deferred: DeferredRecipient[] = [];
  const due = new Map<number, number>();
  const at = (cause: Cause): number => {
    const time = dueAt(now, now - chunk.firstAt, cause, chunkName(chunk), retryMsMax);
    return cause === 'paused' ? time : Math.min(time, endsAt);
  };
  for (const [number, { code, status, reply }] of progress.replies) {
    const said = { number, code, status, reply };
    if (isFinal(said)) refused.push(said);
    else if (isOver) refused.push({ ...said, ...EXPIRED });
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
    if (isOver && ended === 'route') refused.push({ number, ...EXPIRED, reply: NO_ROUTE });
    else if (ended === 'pause') due.set(number, at('paused'));
    else due.set(number, Math.max(waits.get(number) ?? 0, ended === 'all' ? 0 : at('route')));
  }
  const result = { kind: 'done', at: now, route, accepted: rangesOf(progress.accepted) } as const;
  if (ended === 'cancel') {
    const cancelled = rangesOf(new Map([...due.keys()].map((number) => [number, ''])));
    return { result: { ...result, deferred, refused, cancelled }, next: null };
  }
  return { result: { ...result, deferred, refused }, next: nextTry(chunk, due, ended, now) };
}

/** What is said of whom we could not try at all: nothing of theirs. */
export const NO_ROUTE = 'no route could be reached';

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
