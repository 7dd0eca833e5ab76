/**
 * Some messages stay in every stream that is emptied: one behind all that came in each second, on a
 * subject that no consumer takes from.
 *
 * nats-server 2.15 keeps a stream in blocks of some megabytes, and deletes a block when the last
 * message of it is taken away. If power goes before what follows is on the disk, a copy has
 * forgotten how far it was; if all copies have, none may lead, and the stream is without a leader
 * for ever (decision 0011). A block with a message that stays is not deleted.
 */
import { textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Clock } from '../world.ts';
import type { Nats } from './connect.ts';
import { type ApiAnswer, apiRequest, failure } from './stored.ts';
import type { StreamName } from './streams.ts';
import { KEEP } from './subjects.ts';

/** Less than a block takes to fill; a stream to which nothing came is only looked at. */
const EVERY_MS = 1_000;
/**
 * So many stay, one a second at most: four minutes. The server syncs a stream when it notes how far
 * it is, which it does every three.
 */
export const KEPT_MAX = 240;

export type KeepNeeds = {
  readonly nats: Nats;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly log: Log;
  /** One node of the site does it; two at once do no harm. */
  isOurs(): boolean;
};

/** Does so until the signal aborts; what fails is tried again next time. Never throws. */
export async function keepStreams(needs: KeepNeeds, signal: AbortSignal): Promise<void> {
  const kept = new Map<StreamName, number>();
  while (!signal.aborted) {
    if (needs.isOurs()) await keepAll(needs, kept);
    await needs.clock.sleep(EVERY_MS, signal);
  }
}

async function keepAll({ nats, log }: KeepNeeds, kept: Map<StreamName, number>): Promise<void> {
  await Promise.all(
    [...KEEP].map(async ([stream, subject]) => {
      try {
        kept.set(stream, await keepLast(nats, stream, subject, kept.get(stream) ?? null));
      } catch (error) {
        log.debug({ stream, error: textOf(error) }, 'keep: not done');
      }
    }),
  );
}

/**
 * Puts a message at the stream's end and takes those away that have stayed for long; its sequence.
 * Does nothing where `kept` is the last of the stream. Throws MailError 451 4.3.0 when NATS is away
 * or refuses.
 */
export async function keepLast(
  nats: Nats,
  stream: StreamName,
  subject: string,
  kept: number | null,
): Promise<number> {
  const { state } = await ask(nats, `$JS.API.STREAM.INFO.${stream}`, {});
  if ((state as { readonly last_seq: number }).last_seq === kept) return kept;
  const { seq } = await ask(nats, subject, { why: 'stays, so that its block does' });
  await ask(nats, `$JS.API.STREAM.PURGE.${stream}`, { filter: subject, keep: KEPT_MAX });
  return Number(seq);
}

async function ask(nats: Nats, subject: string, body: unknown): Promise<ApiAnswer> {
  const answer = await apiRequest(nats, subject, body);
  if (answer.error !== undefined) throw failure(answer.error);
  return answer;
}
