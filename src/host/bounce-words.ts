/**
 * What the fold asks of a list, with what it leaves out: the other side's words, which BOUNCES has,
 * and for a storm how many copies each route took, which the delivery record has. Verdicts are few,
 * so each costs a read; the fold of every bounce costs none.
 */
import type { Book } from '../../actors/bounces/score.ts';
import { NO_TALLY, stormOf, type Tally } from '../../actors/bounces/storm.ts';
import type { Asking, Cause } from '../../actors/bounces.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { BounceWorld } from './world.ts';

/** The most of what the other side said that the list's facts keep for ever. */
const DIAGNOSTIC_MAX = 300;

/** Throws MailError 451 while BOUNCES cannot be read. */
export async function inWords(
  { log, copiesByRoute }: Pick<BounceWorld, 'log' | 'copiesByRoute'>,
  book: Book,
  key: ListKey,
  { id, command }: Asking,
): Promise<Asking> {
  if (command.type === 'bounce-storm') {
    const { post, reason } = command;
    const sent = book.sent(post);
    if (sent === null) return { id, command };
    const tally = (book.get(['post', post]) as Tally | undefined) ?? NO_TALLY;
    const storm = stormOf(post, reason, tally, sent, await copiesByRoute(key, post));
    return { id, command: { ...command, ...storm } };
  }
  const { cause } = command;
  if (cause === null) return { id, command };
  return { id, command: { ...command, cause: await causeInWords(log, cause) } };
}

async function causeInWords(log: BounceWorld['log'], cause: Cause): Promise<Cause> {
  const event = await log.read(cause.seq);
  if (event?.type !== 'bounce') return cause; // It is older than BOUNCES.
  const { status, code, diagnostic } = event;
  return { ...cause, status, code, diagnostic: diagnostic.slice(0, DIAGNOSTIC_MAX) };
}
