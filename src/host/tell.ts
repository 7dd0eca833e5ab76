/**
 * Telling a list what nobody waits to hear answered: its owner is asked, in this process or over NATS, and what it does not take now
 * is put in MAILBOX. Both have the command's id, so however it got there, and however often, it counts once (decision 0018).
 */
import type { Command } from '../../actors/protocol.ts';
import { within } from '../ending.ts';
import type { Log } from '../log.ts';
import { type ListKey, SLOTS, slotOf } from '../mail/list-key.ts';
import { ASK_MS_MAX, type Asker } from '../nats/ask.ts';
import type { Asked, Clock, MailboxOut } from '../world.ts';
import type { Asking } from './asking.ts';

/** How long the owner of a slot that said nothing is not asked again: its lease is over by then, or it is well. */
export const SILENT_MS = 15_000;

export type TellNeeds = {
  /** The host of this process; null if it has none. */
  readonly here: Pick<Asking, 'command' | 'mayAnswer'> | null;
  readonly asker: Pick<Asker, 'once'>;
  readonly mailbox: MailboxOut<Command>;
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>;
  readonly log: Log;
};

/** `decided`: the list has taken or refused it. `not-now`: it has not. `silent`: that is not known. */
type Outcome = 'decided' | 'not-now' | 'silent';

/** As MAILBOX, it resolves when the command cannot be lost any more: decided by its list, or kept for it. Throws what MAILBOX throws. */
export function createTell(needs: TellNeeds): MailboxOut<Command> {
  const { here, clock, mailbox } = needs;
  /** When the owner of each slot may be asked again, monotonic ms. */
  const askAt = new Float64Array(SLOTS);

  return {
    async put(key, asked) {
      const slot = slotOf(key);
      if (clock.monotonic() >= (askAt[slot] ?? 0)) {
        const isHere = here?.mayAnswer(key) === true;
        const outcome = isHere
          ? await askHere(needs, here, key, asked)
          : await ask(needs, key, asked);
        if (outcome === 'decided') return;
        if (outcome === 'silent') askAt[slot] = clock.monotonic() + SILENT_MS;
      }
      await mailbox.put(key, asked);
    },
  };
}

async function askHere(
  { clock, log }: TellNeeds,
  here: NonNullable<TellNeeds['here']>,
  key: ListKey,
  asked: Asked<Command>,
): Promise<Outcome> {
  let outcome: Outcome = 'silent';
  const decided = here.command(key, asked).then((reply) => {
    const isDecision = reply.kind === 'answer' || reply.kind === 'refusal';
    outcome = isDecision && here.mayAnswer(key) ? 'decided' : 'not-now';
    if (reply.kind === 'refusal') noteRefusal(log, key, reply.refusal);
  });
  await within(clock, ASK_MS_MAX, decided);
  return outcome;
}

async function ask(
  { asker, log }: TellNeeds,
  key: ListKey,
  asked: Asked<Command>,
): Promise<Outcome> {
  const reply = await asker.once(key, asked);
  if (reply === 'silent') return 'silent';
  if (reply === 'nobody' || (!reply.ok && 'error' in reply)) return 'not-now';
  if (!reply.ok) noteRefusal(log, key, reply.refusal);
  return 'decided';
}

function noteRefusal(log: Log, key: ListKey, refusal: { readonly text: string }): void {
  log.warn({ list: key, why: refusal.text }, 'a list refused what it was told');
}
