/**
 * What a try of a chunk comes to: the result that is told, and the next try, if any recipient needs
 * one.
 */
import type { Chunk, Recipient, RefusedRecipient, Result } from '../mail/chunk.ts';
import { chunkName } from '../mail/chunk.ts';
import type { Ended, Progress } from './outgoing-send.ts';
import { isIn, type Range, rangesOf } from './ranges.ts';
import { dueAt, GIVE_UP_MS } from './retry-schedule.ts';

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
  const accepted: readonly Range[] = told.flatMap((result) => result?.accepted ?? []);
  const noted = new Set(journaled);
  const progress: Progress = { accepted: new Set(), replies: new Map() };
  for (const [number] of chunk.to) {
    if (noted.has(number) || isIn(accepted, number)) progress.accepted.add(number);
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

/**
 * The result as `progress` has it. Past {@link GIVE_UP_MS} nobody is deferred any more (RFC 3463
 * §3.5: 5.4.7).
 */
export function resultOf(
  kind: Result['kind'],
  chunk: Chunk,
  progress: Progress,
  route: string,
  now: number,
): Result {
  const numbers = chunk.to.map(([number]) => number).sort((a, b) => a - b);
  const isTooOld = now - chunk.firstAt >= GIVE_UP_MS;
  const deferred: RefusedRecipient[] = [];
  const refused: RefusedRecipient[] = [];
  for (const [number, { code, status, reply }] of progress.replies) {
    if (code >= 500) refused.push({ number, code, status, reply });
    else if (isTooOld) refused.push({ number, code: 554, status: '5.4.7', reply });
    else deferred.push({ number, code, status, reply });
  }
  // Between the numbers of a first try is nobody; between those of a later one, whoever is done.
  const accepted = rangesOf(progress.accepted, numbers, chunk.try === 0);
  return { kind, at: now, route, accepted, deferred, refused };
}

/**
 * The next try, and when; null when nobody needs one. Who was not tried for want of a route is in
 * it too, and sooner.
 */
export function nextTryOf(
  chunk: Chunk,
  result: Result,
  progress: Progress,
  ended: Ended,
  maxMs?: number,
): { readonly chunk: Chunk; readonly at: number } | null {
  const deferred = new Set(result.deferred.map(({ number }) => number));
  const unsent = new Set(untried(chunk, progress).map(([number]) => number));
  const to = chunk.to.filter(([number]) => deferred.has(number) || unsent.has(number));
  if (to.length === 0) return null;
  const next: Chunk = { ...chunk, class: 'retry', try: chunk.try + 1, to };
  const cause = ended === 'route' ? 'route' : 'refused';
  const at = dueAt(result.at, result.at - chunk.firstAt, cause, chunkName(next), maxMs);
  return { chunk: next, at };
}
