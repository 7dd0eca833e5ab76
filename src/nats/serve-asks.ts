/**
 * The owner's side of asking: takes requests for the slots it owns, and for no others, so that a
 * list without an owner answers nobody, and NATS can say so at once.
 */
import type { Msg, Subscription } from 'nats';
import { systemClock } from '../clock.ts';
import { within } from '../ending.ts';
import type { ListKey } from '../mail/list-key.ts';
import { slotOf } from '../mail/list-key.ts';
import type { AskError, AskReply, AskRequest } from './ask.ts';
import type { Nats } from './connect.ts';
import { encodeReply, errorReply, send } from './reply.ts';
import { askOfSlot, partsOf } from './subjects.ts';
import { parseAskRequest } from './wire.ts';

/** Requests in hand at once, and their bytes; more are told to come again (4.3.2). */
export const ASKS_IN_HAND_MAX = 1_024;
export const ASK_BYTES_IN_HAND_MAX = 64 * 1024 * 1024;
/** One request; a larger one is refused before a list sees it: its facts would fit no record. */
export const ASK_BYTES_MAX = 512 * 1024;
/**
 * How long `close` waits for what is in hand, ms; whoever is not answered by then asks the next
 * owner.
 */
const CLOSE_MS_MAX = 5_000;

/** Null: say nothing, so that the caller asks again; for who may not speak for the list any more. */
export type AskHandler = (key: ListKey, request: AskRequest) => Promise<AskReply | null>;

const BUSY: AskError = {
  code: 451,
  status: '4.3.2',
  text: 'too many requests at once; try again in some seconds',
};

const TOO_LARGE: AskError = {
  code: 552,
  status: '5.3.4',
  text: 'the request is too large; ask for less at once',
};

/**
 * Serves `troupe.ask.<slot>.*` for these slots. A request that is too large (552 5.3.4) or not
 * understood (501 5.5.4) is refused here; what the handler throws becomes an error reply. `close`
 * first unsubscribes, so that no new request is taken, then waits for those in hand.
 */
export function serveAsks(
  nats: Nats,
  slots: readonly number[],
  handler: AskHandler,
): { close(): Promise<void> } {
  const inHand = new Set<Promise<void>>();
  let bytesInHand = 0;

  function take(msg: Msg): void {
    const bytes = msg.data.byteLength;
    if (bytes > ASK_BYTES_MAX) {
      reply(nats, msg, { ok: false, error: TOO_LARGE });
      return;
    }
    if (inHand.size >= ASKS_IN_HAND_MAX || bytesInHand + bytes > ASK_BYTES_IN_HAND_MAX) {
      reply(nats, msg, { ok: false, error: BUSY });
      return;
    }
    bytesInHand += bytes;
    const work = answer(nats, msg, handler).finally(() => {
      bytesInHand -= bytes;
      inHand.delete(work);
    });
    inHand.add(work);
  }

  const subscriptions = slots.map((slot) =>
    nats.nc.subscribe(askOfSlot(slot), {
      callback: (error, msg) => {
        if (error === null) take(msg);
        else nats.log.error({ slot, err: error }, 'requests for this slot cannot be taken');
      },
    }),
  );
  return {
    async close() {
      const done = Promise.all(subscriptions.map(endOf)).then(() => Promise.all(inHand));
      await within(systemClock, CLOSE_MS_MAX, done);
    },
  };
}

/** Unsubscribes at the server and hands over what had already been sent to us. */
function endOf(subscription: Subscription): Promise<void> {
  return subscription.isClosed() ? Promise.resolve() : subscription.drain().catch(() => undefined);
}

async function answer(nats: Nats, msg: Msg, handler: AskHandler): Promise<void> {
  try {
    const decided = await decide(msg, handler);
    if (decided !== null) reply(nats, msg, decided);
  } catch (error) {
    reply(nats, msg, { ok: false, error: errorReply(nats, msg.subject, error) });
  }
}

function decide(msg: Msg, handler: AskHandler): Promise<AskReply | null> | AskReply {
  const parts = partsOf(msg.subject);
  if (parts === null || parts.whose === 'owner' || slotOf(parts.whose) !== parts.slot) {
    return notUnderstood('no list has this subject');
  }
  const request = parseAskRequest(msg.data);
  return request.ok ? handler(parts.whose, request.value) : notUnderstood(request.why);
}

function notUnderstood(why: string): AskReply {
  return { ok: false, error: { code: 501, status: '5.5.4', text: why } };
}

function reply(nats: Nats, msg: Msg, value: AskReply): void {
  send(
    msg,
    encodeReply(nats, value, (error) => ({ ok: false, error })),
  );
}
