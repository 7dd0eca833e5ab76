/**
 * Inspection over NATS: `troupe.inspect.list.dev@example.org` and its kin, answered in JSON by any
 * node, and the captured mail of a node under `troupe.outbox`. Questions only: nothing here changes
 * anything.
 *
 * Registered as a NATS micro service, so `nats micro ls` shows who can be asked what.
 */
import type { Endpoint, Msg, ServiceHandler, ServiceMsg } from 'nats';
import type { InspectLevel } from '../../actors/protocol.ts';
import { MailError } from '../errors.ts';
import { type Address, parseAddress } from '../mail/address.ts';
import { SLOTS } from '../mail/list-key.ts';
import type { CapturedMail } from '../world.ts';
import type { AskError } from './ask.ts';
import type { Nats } from './connect.ts';
import { type DeliveryRequest, parseDeliveryRequest } from './delivery-view.ts';
import {
  answerOutbox,
  type OutboxMail,
  type OutboxPage,
  type OutboxRequest,
  type OutboxSource,
  parseOutboxRequest,
} from './outbox-view.ts';
import { encodeReply, errorReply, send } from './reply.ts';
import {
  INSPECT,
  INSPECT_NODES,
  INSPECT_QUEUE_GROUP,
  INSPECT_ROUTES,
  INSPECT_SLOTS,
  inspectNode,
  inspectRoutesAt,
  nodeControl,
  OUTBOX_QUERY,
} from './subjects.ts';

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
  list(address: Address, level: InspectLevel): unknown;
  /** What became of a post of the list. */
  delivery(list: Address, request: DeliveryRequest): unknown;
  /** What came back of a list's posts, and how far its bounce actor is. */
  bounces(address: Address): unknown;
  node(): unknown;
  /** All nodes, as this one sees them. */
  nodes(): unknown;
  /** A slot as its owner has it, or who should. */
  slot(slot: number): unknown;
  /** A slot as this node has it. */
  slotHere(slot: number): unknown;
  slots(): unknown;
  /** Absent on a node that sends nothing: it knows no routes. */
  route?(name: string): unknown;
  routes?(): unknown;
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
  type Ask = (what: string, body: Uint8Array) => unknown;
  const endpoint = (name: string, subject: string, ask: Ask): void => {
    const from = subject.endsWith('.>') ? subject.length - 1 : subject.length;
    const handler: ServiceHandler = (error, msg) => {
      if (error !== null) nats.log.error({ subject, err: error }, 'questions cannot be taken');
      else void answer(nats, msg, taken, () => ask(msg.subject.slice(from), msg.data));
    };
    service.addEndpoint(name, { subject, handler } satisfies Partial<Endpoint>);
  };
  endpoint('list', `${INSPECT}.list.>`, (text, body) =>
    inspection.list(addressOf(text), levelOf(body)),
  );
  endpoint('delivery', `${INSPECT}.delivery.>`, (text, body) =>
    inspection.delivery(addressOf(text), parseDeliveryRequest(bodyOf(body))),
  );
  endpoint('bounces', `${INSPECT}.bounces.>`, (text) => inspection.bounces(addressOf(text)));
  endpoint('slot', `${INSPECT}.slot.>`, (text) => inspection.slot(slotNumberOf(text)));
  endpoint('slots', INSPECT_SLOTS, () => inspection.slots());
  const { route, routes } = inspection;
  if (route !== undefined) endpoint('route', `${INSPECT}.route.>`, (name) => route(name));
  if (routes !== undefined) endpoint('routes', INSPECT_ROUTES, () => routes());
  endpoint('nodes', INSPECT_NODES, () => inspection.nodes());
  endpoint('node', inspectNode(null), () => inspection.node());
  const here = inspectNode(inspection.nodeId);
  endpoint('this-node', here, () => inspection.node());
  if (routes !== undefined) {
    endpoint('this-routes', inspectRoutesAt(inspection.nodeId), () => routes());
  }
  endpoint('this-slot', `${here}.slot.>`, (text) => inspection.slotHere(slotNumberOf(text)));
  return {
    async close() {
      await service.stop();
    },
  };
}

/** What a node can be told; each resolves with its answer when it is done. */
export type Orders = { drain(): Promise<unknown>; undrain(): Promise<unknown> };

/**
 * Serves `troupe.node.<id>`: `{"do":"drain"}` is answered when the node owns nothing any more. One order is carried out after
 * another; told twice meanwhile, it is done once.
 */
export function serveControl(nats: Nats, nodeId: string, orders: Orders): { close(): void } {
  let last: { readonly what: keyof Orders; readonly done: Promise<unknown> } | null = null;
  const obey = async (msg: Msg): Promise<unknown> => {
    const { do: what } = bodyOf(msg.data);
    if (what !== 'drain' && what !== 'undrain') {
      throw new MailError(501, '5.5.4', 'A node can be told to drain or to undrain');
    }
    if (last?.what !== what) {
      const before = Promise.allSettled([last?.done]);
      last = { what, done: before.then(() => orders[what]()) };
    }
    const mine = last;
    try {
      return await mine.done;
    } finally {
      if (last === mine) last = null;
    }
  };
  const subscription = nats.nc.subscribe(nodeControl(nodeId), {
    callback: (error, msg) => {
      if (error !== null) {
        nats.log.error({ err: error }, 'orders to this node cannot be taken');
        return;
      }
      obey(msg)
        .catch((problem: unknown) => asError(errorReply(nats, msg.subject, problem)))
        .then((value) => send(msg, encodeReply(nats, value, asError)))
        .catch((problem: unknown) => nats.log.error({ err: problem }, 'an order was not answered'));
    },
  });
  return { close: () => subscription.unsubscribe() };
}

/** The JSON answer to a request without a body; null when nobody answers in time, or with an error. */
export async function requestFrom(
  nats: Nats,
  subject: string,
  timeoutMs: number,
): Promise<unknown> {
  try {
    const answer: unknown = (await nats.nc.request(subject, '', { timeout: timeoutMs })).json();
    const isError = typeof answer === 'object' && answer !== null && 'error' in answer;
    return isError ? null : answer;
  } catch {
    return null;
  }
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

const OUTBOX_MS_MAX = 2_000;

/** The outbox of whichever node answers first: for a node that sends nothing itself. */
export function remoteOutbox(nats: Nats): OutboxSource {
  const ask = async (request: OutboxRequest): Promise<unknown> => {
    const body = JSON.stringify(request);
    try {
      return (await nats.nc.request(OUTBOX_QUERY, body, { timeout: OUTBOX_MS_MAX })).json();
    } catch (error) {
      throw new MailError(451, '4.3.2', 'No node that keeps mail answers', error);
    }
  };
  return {
    page: async (request) => (await ask(request)) as OutboxPage,
    mail: async (id) => (await ask({ id })) as OutboxMail,
  };
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

const LEVELS: readonly InspectLevel[] = ['fast', 'confirmed', 'barrier'];

/** `{"level":"confirmed"}`; an empty body asks for `fast`. */
function levelOf(body: Uint8Array): InspectLevel {
  const { level = 'fast' } = bodyOf(body);
  const known = LEVELS.find((one) => one === level);
  if (known === undefined) throw new MailError(501, '5.5.4', `Levels are ${LEVELS.join(', ')}`);
  return known;
}

/** The fields of a JSON body; none where it is empty. Throws MailError 501. */
function bodyOf(body: Uint8Array): { readonly [field: string]: unknown } {
  if (body.length === 0) return {};
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(body));
    if (typeof value === 'object' && value !== null) return { ...value };
  } catch {
    // Said below.
  }
  throw new MailError(501, '5.5.4', 'The body is no JSON object');
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
