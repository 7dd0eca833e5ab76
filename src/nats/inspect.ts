/**
 * Inspection over NATS: `troupe.inspect.list.dev@example.org` and its kin, answered in JSON by any
 * node, and the captured mail of a node under `troupe.outbox`. Questions only: nothing here changes
 * anything.
 *
 * Registered as a NATS micro service, so `nats micro ls` shows who can be asked what.
 */
import type { Endpoint, ServiceHandler, ServiceMsg } from 'nats';
import { MailError } from '../errors.ts';
import { type Address, parseAddress } from '../mail/address.ts';
import { SLOTS } from '../mail/list-key.ts';
import type { CapturedMail } from '../world.ts';
import type { AskError } from './ask.ts';
import type { Nats } from './connect.ts';
import { answerOutbox, parseOutboxRequest } from './outbox-view.ts';
import { encodeReply, errorReply, send } from './reply.ts';
import { INSPECT, INSPECT_QUEUE_GROUP, OUTBOX_QUERY } from './subjects.ts';

/** The version of the answers' shapes; grows when a field changes its meaning. */
const ANSWERS_VERSION = '1.0.0';
/** Questions in hand at once; whoever asks more is told to come again. */
const QUESTIONS_IN_HAND_MAX = 256;
/**
 * What a node can be asked. Each answers plain JSON, or null if there is no such thing, or throws a
 * MailError.
 */
export type Inspection = {
  /**
   * This node's id: one token. Only it answers `troupe.inspect.node.<id>`; any node
   * `troupe.inspect.node`.
   */
  readonly nodeId: string;
  list(address: Address): unknown;
  node(): unknown;
  slot(slot: number): unknown;
  route(name: string): unknown;
};

/** Answers `troupe.inspect.>` until closed. Rejects if the server refuses the subscriptions. */
export async function serveInspect(
  nats: Nats,
  inspection: Inspection,
): Promise<{ close(): Promise<void> }> {
  const service = await nats.nc.services.add({
    name: 'troupe',
    version: ANSWERS_VERSION,
    description: 'Inspects lists, slots, nodes and routes of a Troupe site; changes nothing.',
    queue: INSPECT_QUEUE_GROUP,
    metadata: { node: inspection.nodeId },
  });
  const taken = { inHand: 0 };
  const endpoint = (name: string, subject: string, ask: (what: string) => unknown): void => {
    const from = subject.endsWith('.>') ? subject.length - 1 : subject.length;
    const handler: ServiceHandler = (error, msg) => {
      if (error !== null) nats.log.error({ subject, err: error }, 'questions cannot be taken');
      else void answer(nats, msg, taken, () => ask(msg.subject.slice(from)));
    };
    service.addEndpoint(name, { subject, handler } satisfies Partial<Endpoint>);
  };
  endpoint('list', `${INSPECT}.list.>`, (text) => inspection.list(addressOf(text)));
  endpoint('slot', `${INSPECT}.slot.>`, (text) => inspection.slot(slotNumberOf(text)));
  endpoint('route', `${INSPECT}.route.>`, (name) => inspection.route(name));
  endpoint('node', `${INSPECT}.node`, () => inspection.node());
  endpoint('this-node', `${INSPECT}.node.${inspection.nodeId}`, () => inspection.node());
  return {
    async close() {
      await service.stop();
    },
  };
}

/** Serves what the `capture` route keeps; each node shows its own. */
export function serveOutbox(nats: Nats, captured: CapturedMail): { close(): void } {
  const subscription = nats.nc.subscribe(OUTBOX_QUERY, {
    callback: (error, msg) => {
      if (error !== null) {
        nats.log.error({ err: error }, 'questions about the outbox cannot be taken');
        return;
      }
      const outbox = (): unknown => {
        const asked = msg.data.length === 0 ? {} : msg.json();
        return answerOutbox(captured, parseOutboxRequest(asked));
      };
      send(msg, encodeReply(nats, attempt(nats, OUTBOX_QUERY, outbox), asError));
    },
  });
  return { close: () => subscription.unsubscribe() };
}

async function answer(
  nats: Nats,
  msg: ServiceMsg,
  taken: { inHand: number },
  ask: () => unknown,
): Promise<void> {
  taken.inHand += 1;
  try {
    if (taken.inHand > QUESTIONS_IN_HAND_MAX) throw busy();
    const value = await ask();
    if (value === null || value === undefined) throw new MailError(550, '5.1.1', 'No such thing');
    send(msg, encodeReply(nats, value, asError));
  } catch (error) {
    refuse(nats, msg, errorReply(nats, msg.subject, error));
  } finally {
    taken.inHand -= 1;
  }
}

/**
 * An error in the body for whoever reads JSON, and in the headers of NATS' services for its tools.
 */
function refuse(nats: Nats, msg: ServiceMsg, error: AskError): void {
  try {
    msg.respondError(error.code, error.text, encodeReply(nats, asError(error), asError));
  } catch {
    // Closed meanwhile: the requester is told "no answer" by its own clock.
  }
}

function attempt(nats: Nats, subject: string, work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return asError(errorReply(nats, subject, error));
  }
}

function asError(error: AskError): { error: AskError } {
  return { error };
}

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new MailError(501, '5.1.3', 'Not a mail address');
  return address;
}

function slotNumberOf(text: string): number {
  const slot = /^\d{1,4}$/.test(text) ? Number(text) : SLOTS;
  if (slot >= SLOTS) throw new MailError(501, '5.5.4', `Slots are 0 to ${SLOTS - 1}`);
  return slot;
}

function busy(): MailError {
  return new MailError(451, '4.3.2', 'Too many questions at once');
}
