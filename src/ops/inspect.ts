/**
 * What `troupe.inspect.*` answers: one list, one slot, this node. Assembled here from what the
 * parts say of themselves; nothing is changed, and nothing secret is in it.
 */
import type { ListInspection } from '../../actors/protocol.ts';
import { unreachable } from '../assert.ts';
import type { Class } from '../mail/chunk.ts';
import type { ListKey } from '../mail/list-key.ts';
import { type AskReply, NO_OWNER } from '../nats/ask.ts';
import type { HealthReport } from './health.ts';
import { noOwnerText, type SlotPlace } from './slots.ts';

/** What the host says of itself (src/host/host.ts, HostStatus). */
export type HostFacts = {
  readonly slots: readonly {
    readonly slot: number;
    readonly epoch: number;
    readonly reached: number;
    readonly lag: number;
  }[];
  /** Slots whose ledger it follows, to be their next owner. */
  readonly standby: readonly number[];
  readonly awake: number;
  readonly inHand: number;
  readonly blocked: readonly ListKey[];
  readonly quarantined: readonly { readonly key: ListKey; readonly why: string }[];
  readonly diskFreeBytes: number;
};

/** Every answer says who speaks and when. */
type Stamp = { readonly node: string; readonly asOf: number };

export type Problematic = Stamp & {
  readonly error: { readonly code: string; readonly text: string };
};

export type NodeInspection = Stamp & {
  readonly version: string;
  readonly startedAt: number;
  readonly roles: readonly string[];
  readonly isReady: boolean;
  readonly problems: readonly string[];
  readonly isDraining: boolean;
  /** Until it lets go of all that it owns, unless it renews. */
  readonly leaseMsLeft: number;
  /** Slots that it owns and serves. */
  readonly slots: number;
  /** Records that are being appended or folded, and that its rows lack. */
  readonly lag: number;
  readonly standby: number;
  readonly lists: number;
  readonly awake: number;
  readonly inHand: number;
  /** Addresses; a list without one in the directory stands by its key. */
  readonly blocked: readonly string[];
  readonly quarantined: readonly { readonly list: string; readonly why: string }[];
  readonly diskFreeBytes: number | null;
  /** Null on a node that sends nothing. */
  readonly outgoing: OutgoingFacts | null;
};

/** In which order this node sends, and how much it sends at once. */
export type OutgoingFacts = {
  readonly classes: Readonly<Record<Class, { readonly weight: number; readonly inHand: number }>>;
  /** Chunks in hand of a route at most, and how many of them may be of `bulk` and `retry` together. */
  readonly hands: number;
  readonly handsOfLarge: number;
  /** Of the hands, and of the connections of each route, left to notices and posts. */
  readonly reservePercent: number;
  /** A post to more members than this is `bulk`. */
  readonly bulkMembers: number;
  /** Of chunks that somebody had before, since this node started, its senders' too: at most so many recipients got a copy twice. */
  readonly repeated: { readonly chunks: number; readonly recipients: number };
};

/** A slot as one node has it: nulls where that node does not own it. */
export type SlotHere = Stamp & {
  readonly slot: number;
  /** Sequence of the record that acquired it. */
  readonly epoch: number | null;
  /** The ledger's sequence up to which it is folded. */
  readonly seq: number | null;
  readonly leaseMsLeft: number | null;
  /** Records that are being appended or folded, and that its rows lack. */
  readonly lag: number | null;
};

/** Who has the slot, and what its owner says of it; `node` is who answered. */
export type SlotInspection = SlotHere &
  SlotPlace & {
    /** What is not as it should be, in words; null: it is owned and served. */
    readonly problem: string | null;
  };

export type InspectNeeds = {
  readonly node: string;
  readonly startedAt: number;
  now(): number;
  health(): HealthReport;
  /** Null on a node that owns no slots. */
  host(): HostFacts | null;
  /** Null on a node that sends nothing. */
  outgoing(): OutgoingFacts | null;
  addressOf(key: ListKey): string | null;
  readonly lease: { msLeft(): number; isDraining(): boolean };
  /** All lists of the directory. */
  keys(): Iterable<ListKey>;
};

/** This node, whole. */
export function inspectNode(needs: InspectNeeds): NodeInspection {
  const { version, roles, isReady, problems } = needs.health();
  const host = needs.host();
  const nameOf = (key: ListKey): string => needs.addressOf(key) ?? key;
  return {
    ...stamp(needs),
    version,
    startedAt: needs.startedAt,
    roles,
    isReady,
    problems: problems.map(({ what, nextStep }) => `${what}. ${nextStep}`),
    isDraining: needs.lease.isDraining(),
    leaseMsLeft: Math.round(needs.lease.msLeft()),
    slots: host?.slots.length ?? 0,
    lag: (host?.slots ?? []).reduce((sum, { lag }) => sum + lag, 0),
    standby: host?.standby.length ?? 0,
    lists: count(needs.keys()),
    awake: host?.awake ?? 0,
    inHand: host?.inHand ?? 0,
    blocked: host?.blocked.map(nameOf) ?? [],
    quarantined: host?.quarantined.map(({ key, why }) => ({ list: nameOf(key), why })) ?? [],
    diskFreeBytes: host?.diskFreeBytes ?? null,
    outgoing: needs.outgoing(),
  };
}

/** One slot as this node itself has it. `slot` is in range. */
export function slotHere(slot: number, needs: InspectNeeds): SlotHere {
  const owned = needs.host()?.slots.find((one) => one.slot === slot);
  return {
    ...stamp(needs),
    slot,
    epoch: owned?.epoch ?? null,
    seq: owned?.reached ?? null,
    leaseMsLeft: owned === undefined ? null : Math.round(needs.lease.msLeft()),
    lag: owned?.lag ?? null,
  };
}

/** One slot: where the bucket and the leases place it, and what its owner says; null where that one does not answer. */
export function inspectSlot(
  place: SlotPlace,
  here: SlotHere | null,
  needs: Pick<InspectNeeds, 'node' | 'now'>,
): SlotInspection {
  const { slot } = place;
  const nothing = { epoch: null, seq: null, leaseMsLeft: null, lag: null };
  return {
    ...place,
    ...(here ?? { ...stamp(needs), slot, ...nothing }),
    problem: slotProblem(place, here),
  };
}

function slotProblem(place: SlotPlace, here: SlotHere | null): string | null {
  if (place.owner === null) return noOwnerText(place);
  if (here === null) return `node ${place.owner} has it and does not answer`;
  return here.epoch === null ? `node ${place.owner} is still folding its ledger` : null;
}

/** What a list's owner answered, or why it could not. */
export type ListReply =
  | { readonly kind: 'inspection'; readonly inspection: ListInspection }
  /** Nobody owns its slot now. */
  | { readonly kind: 'no-owner'; readonly text: string }
  | { readonly kind: 'refused'; readonly code: string; readonly text: string };

/** What an asker's reply to `inspect` means here. */
export function listReplyOf(reply: AskReply<ListInspection>): ListReply {
  if (reply.ok) return { kind: 'inspection', inspection: reply.answer };
  if ('refusal' in reply) {
    return { kind: 'refused', code: reply.refusal.code, text: reply.refusal.text };
  }
  const { status, text } = reply.error;
  return status === NO_OWNER.status
    ? { kind: 'no-owner', text }
    : { kind: 'refused', code: status, text };
}

/** One list: the owner's own words, or what is known without them. */
export function inspectList(
  address: string,
  key: ListKey | null,
  reply: ListReply | null,
  place: SlotPlace | null,
  needs: Pick<InspectNeeds, 'node' | 'now'>,
): ListInspection | Problematic {
  if (key === null || reply === null) {
    return problem(needs, 'no-such-list', `there is no list ${address}`);
  }
  switch (reply.kind) {
    case 'inspection':
      return reply.inspection;
    case 'no-owner':
      return problem(needs, 'no-owner', noOwner(place, reply.text));
    case 'refused':
      return problem(needs, reply.code, reply.text);
    default:
      return unreachable(reply);
  }
}

/** In the moment between a take-over and its first turn the bucket names somebody who does not answer yet. */
function noOwner(place: SlotPlace | null, text: string): string {
  if (place === null) return text;
  if (place.owner === null) return `${noOwnerText(place)}: ${text}`;
  return `node ${place.owner} has slot ${place.slot} and does not answer for it yet: ${text}`;
}

export function problem(
  needs: Pick<InspectNeeds, 'node' | 'now'>,
  code: string,
  text: string,
): Problematic {
  return { ...stamp(needs), error: { code, text } };
}

const stamp = ({ node, now }: Pick<InspectNeeds, 'node' | 'now'>): Stamp => ({ node, asOf: now() });

function count(items: Iterable<unknown>): number {
  let many = 0;
  for (const _ of items) many += 1;
  return many;
}
