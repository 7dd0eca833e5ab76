/**
 * One message stays in every stream that is emptied, behind all that came before it, where no
 * consumer takes it.
 *
 * nats-server 2.15 forgets how far a replicated stream was when its last message is taken away and
 * the power goes within half a minute; if all its copies forget, none may lead, and it is without a
 * leader for ever (decision 0010). A message that stays is still on each disk, and each copy knows
 * by it how far it was.
 */
import { textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Clock } from '../world.ts';
import type { Nats } from './connect.ts';
import { type ApiAnswer, apiRequest, failure } from './stored.ts';
import type { StreamName } from './streams.ts';
import { KEEP } from './subjects.ts';

/** How often it is put behind what came meanwhile; a stream that rests is only looked at. */
const RENEW_MS = 10_000;

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
    await needs.clock.sleep(RENEW_MS, signal);
  }
}

async function keepAll({ nats, log }: KeepNeeds, kept: Map<StreamName, number>): Promise<void> {
  await Promise.all(
    [...KEEP].map(async ([stream, subject]) => {
      try {
        kept.set(stream, await keepLast(nats, stream, subject, kept.get(stream) ?? null));
      } catch (error) {
        log.debug({ stream, error: textOf(error) }, 'keep: not renewed');
      }
    }),
  );
}

/**
 * Puts the message at the stream's end and takes older ones of its subject away; its sequence.
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
  const { seq } = await ask(nats, subject, { why: 'stays, so that the stream is never empty' });
  await ask(nats, `$JS.API.STREAM.PURGE.${stream}`, { filter: subject, keep: 1 });
  return Number(seq);
}

async function ask(nats: Nats, subject: string, body: unknown): Promise<ApiAnswer> {
  const answer = await apiRequest(nats, subject, body);
  if (answer.error !== undefined) throw failure(answer.error);
  return answer;
}
