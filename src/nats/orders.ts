/** Serves orders: requests with a JSON body that one of the nodes obeys and answers. */
import type { Msg } from 'nats';
import { MailError } from '../errors.ts';
import type { Nats } from './connect.ts';
import { encodeReply, errorReply, send } from './reply.ts';

/** Orders in hand at once; whoever gives more is told to come again. */
const ORDERS_IN_HAND_MAX = 16;

/**
 * Takes what is asked on `subject` in the queue group `group`; `obey` gives the answer or throws a MailError, which the
 * asker is told.
 */
export function serveOrders(
  nats: Nats,
  subject: string,
  group: string,
  obey: (order: unknown) => Promise<unknown>,
): { close(): void } {
  let inHand = 0;
  const asError = (error: unknown): unknown => ({ error });

  async function take(msg: Msg): Promise<void> {
    inHand += 1;
    try {
      if (inHand > ORDERS_IN_HAND_MAX) throw new MailError(451, '4.3.2', 'Too many orders at once');
      send(msg, encodeReply(nats, await obey(bodyOf(msg)), asError));
    } catch (error) {
      send(msg, encodeReply(nats, asError(errorReply(nats, subject, error)), asError));
    } finally {
      inHand -= 1;
    }
  }

  const subscription = nats.nc.subscribe(subject, {
    queue: group,
    callback: (error, msg) => {
      if (error === null) void take(msg);
      else nats.log.error({ subject, err: error }, 'orders cannot be taken');
    },
  });
  return { close: () => subscription.unsubscribe() };
}

function bodyOf(msg: Msg): unknown {
  try {
    return msg.json();
  } catch {
    throw new MailError(501, '5.5.4', 'The body is no JSON');
  }
}
