/**
 * Every subject, spelled once. No text from a user is ever a token of a stream's subject: lists stand by
 * their key, slots by their number. Only `troupe.inspect.*` ends in an address, and nothing stores it.
 */
import { type ChunkId, type Class, chunkName } from '../mail/chunk.ts';
import type { MailKind } from '../mail/envelope.ts';
import { type ListKey, parseListKey, slotOf } from '../mail/list-key.ts';

export const MAIL_PART = 'troupe.mail.part';
export const DUE = 'troupe.due';
export const OUTBOX_QUERY = 'troupe.outbox';
export const PARKED = 'troupe.parked.>';
export const LEDGERS = 'troupe.ledger.*.*';
export const INSPECT = 'troupe.inspect';
export const INSPECT_QUEUE_GROUP = 'inspect';

export const mail = (kind: MailKind): string => `troupe.mail.${kind}`;
export const mailbox = (key: ListKey): string => `troupe.mailbox.${slotOf(key)}.${key}`;
export const mailboxOfSlot = (slot: number): string => `troupe.mailbox.${slot}.*`;
export const ledger = (slot: number, whose: ListKey | 'owner'): string =>
  `troupe.ledger.${slot}.${whose}`;
export const ledgerOfSlot = (slot: number): string => `troupe.ledger.${slot}.*`;
export const held = (key: ListKey): string => `troupe.held.${slotOf(key)}.${key}`;
export const archive = (key: ListKey): string => `troupe.archive.${slotOf(key)}.${key}`;
export const bounces = (key: ListKey): string => `troupe.bounces.${slotOf(key)}.${key}`;
export const bouncesOfSlot = (slot: number): string => `troupe.bounces.${slot}.*`;
export const later = (id: string): string => `troupe.later.${id}`;
export const laterUnder = (prefix: string): string => `troupe.later.${prefix}.>`;
export const outgoing = (cls: Class): string => `troupe.outgoing.${cls}`;
export const results = (id: ChunkId): string => `troupe.results.${slotOf(id.key)}.${chunkName(id)}`;
/** All results of a post, or of one of its ranges of members; the order that was given for it is not among them. */
export const resultsOfPost = (key: ListKey, post: string): string =>
  `troupe.results.${slotOf(key)}.${key}.${post}.*.*`;
/** All results of a post, and the order that was given for it. */
export const toldOfPost = (key: ListKey, post: string): string =>
  `troupe.results.${slotOf(key)}.${key}.${post}.>`;
export const postOrder = (key: ListKey, post: string): string =>
  `troupe.results.${slotOf(key)}.${key}.${post}.order`;
/** What stays in each stream that is emptied (`keep.ts`); no consumer takes from these. */
export const KEEP = new Map([
  ['TROUPE_MAILBOX', 'troupe.mailbox.keep.last'],
  ['TROUPE_HELD', 'troupe.held.keep.last'],
  ['TROUPE_LATER', 'troupe.later.keep'],
  ['TROUPE_OUTGOING', 'troupe.outgoing.keep'],
] as const);
export const parked = (where: string): string => `troupe.parked.${where}`;
export const ask = (key: ListKey): string => `troupe.ask.${slotOf(key)}.${key}`;
export const askOfSlot = (slot: number): string => `troupe.ask.${slot}.*`;
export const inspectList = (address: string): string => `${INSPECT}.list.${address}`;
export const inspectDelivery = (list: string): string => `${INSPECT}.delivery.${list}`;
export const inspectBounces = (address: string): string => `${INSPECT}.bounces.${address}`;
export const inspectSlot = (slot: number): string => `${INSPECT}.slot.${slot}`;
/** Without a name: whichever node answers speaks of itself. */
export const inspectNode = (node: string | null): string =>
  node === null ? `${INSPECT}.node` : `${INSPECT}.node.${node}`;

/** What one node itself knows of a slot. */
export const inspectSlotAt = (node: string, slot: number): string =>
  `${INSPECT}.node.${node}.slot.${slot}`;
export const inspectRoute = (name: string): string => `${INSPECT}.route.${name}`;
export const INSPECT_ROUTES = `${INSPECT}.routes`;
/** The routes as one node has them: what it carries itself. */
export const inspectRoutesAt = (node: string): string => `${inspectNode(node)}.routes`;
/** Where routes are added, set, drained, resumed and removed: any node that sends does it. */
export const ROUTE_ORDERS = 'troupe.route';
export const INSPECT_NODES = `${INSPECT}.nodes`;
export const INSPECT_SLOTS = `${INSPECT}.slots`;
/** Where a node is told what to do; the right to do so is the right to publish on it. */
export const nodeControl = (node: string): string => `troupe.node.${node}`;

const QUEUES =
  /^troupe\.(?:mail\.(?:post|command|owner|bounce)|mailbox\.\d+\.[a-z2-7]{26}|outgoing\.[a-z]+|due\.[a-z0-9.-]+)$/;

/** True for what runners take from: what a parked message may be sent back to. */
export const isQueueSubject = (subject: string): boolean => QUEUES.test(subject);

/** Of a ledger, mailbox or ask subject the slot, and whose it is: a list's, or the slot's own; null if it is none. */
export function partsOf(subject: string): { slot: number; whose: ListKey | 'owner' } | null {
  const [, , slot, whose] = subject.split('.');
  if (slot === undefined || whose === undefined || !/^\d+$/.test(slot)) return null;
  const key = whose === 'owner' ? whose : parseListKey(whose);
  return key === null ? null : { slot: Number(slot), whose: key };
}
