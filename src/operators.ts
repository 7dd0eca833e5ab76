/** What operators see of a node and may tell it: health, inspection, draining. Part of the wiring (`main.ts`). */
import { systemClock } from './clock.ts';
import { LEASE_FORGOTTEN_MS } from './host/lease.ts';
import type { Address } from './mail/address.ts';
import { CLASSES, type Class } from './mail/chunk.ts';
import { largeMax } from './mail/class-order.ts';
import { type ListKey, SLOTS, slotOf } from './mail/list-key.ts';
import { createAsker } from './nats/ask.ts';
import type { DeliverySource } from './nats/delivery-view.ts';
import { type Inspection, requestFrom, serveControl, serveInspect } from './nats/inspect.ts';
import { inspectSlotAt } from './nats/subjects.ts';
import { deliveryOf, inspectDelivery } from './ops/delivery.ts';
import { type HealthFacts, healthOf } from './ops/health.ts';
import {
  type InspectNeeds,
  inspectList,
  inspectNode,
  inspectSlot,
  listReplyOf,
  type OutgoingFacts,
  type SlotHere,
  slotHere,
} from './ops/inspect.ts';
import { type Places, watchPlaces } from './ops/slots.ts';
import type { Node } from './site.ts';
import { routeViews } from './smtp/route-view.ts';

export const VERSION = '0.1.0';
/** An owner that does not answer an inspection within this is told to be silent. */
const OWNER_MS_MAX = 1_500;

export function factsOf(node: Node): HealthFacts {
  const { config, site, parts, startedAt, mirror } = node;
  const host = parts.host?.status() ?? null;
  const nameOf = (key: ListKey) => mirror.byKey(key)?.address ?? key;
  return {
    node: config.node,
    version: VERSION,
    startedAt,
    roles: config.roles,
    rolesUp: parts.rolesUp,
    isConnected: site.nats.isConnected(),
    refusedServer: site.nats.refused(),
    isStopping: parts.isStopping,
    isRelaxed: config.durability === 'relaxed',
    silent: site.silent(),
    disk: host === null ? null : { freeBytes: host.diskFreeBytes, isLow: host.isDiskLow },
    blocked: host?.blocked.map(nameOf) ?? [],
    quarantined: host?.quarantined.map(({ key }) => nameOf(key)) ?? [],
    hasNoRoute: parts.routes?.all().every(({ candidate }) => candidate.warmth === 0) === true,
    openRoutes: (parts.routes?.all() ?? []).flatMap(({ live: { settings, health } }) =>
      health.isAway() ? [settings.name] : [],
    ),
  };
}

/** What became of posts, asked of their lists' owners and read in the record. */
export function deliveryIn({ config, site, mirror }: Node): DeliverySource {
  const { nats, directory, asker } = site;
  return deliveryOf({
    node: config.node,
    now: systemClock.now,
    keyOf: async (list) => (mirror.find(list) ?? (await directory.find(list)))?.key ?? null,
    asker,
    nats,
  });
}

/** Who may use the account of NATS may ask anything (README). */
const BY_NATS = { kind: 'operator', name: 'inspect' } as const;

/** Starts answering `troupe.inspect.>` and taking `troupe.node.<id>`. */
export async function startInspection(node: Node): Promise<void> {
  const { config, site, mirror, parts, startedAt, closers, membership } = node;
  const { nats } = site;
  const keys = function* () {
    for (const { key } of mirror.all()) yield key;
  };
  const leaseMs = LEASE_FORGOTTEN_MS;
  const places = watchPlaces({ members: membership, clock: systemClock, leaseMs, keys });
  closers.push(places.stop);
  const needs: InspectNeeds = {
    node: config.node,
    startedAt,
    now: systemClock.now,
    health: () => healthOf(factsOf(node), systemClock.now()),
    host: () => parts.host?.status() ?? null,
    outgoing: () => outgoingFacts(node),
    addressOf: (key) => mirror.byKey(key)?.address ?? null,
    lease: membership.lease,
    keys,
  };
  const service = await serveInspect(nats, {
    nodeId: config.node,
    ...aboutLists(node, places, needs),
    ...aboutNodes(node, places, needs),
    ...(config.roles.includes('outgoing') && aboutRoutes(node)),
  });
  closers.push(() => service.close());
  const control = serveControl(nats, config.node, {
    drain: () => ordered(node, (parts.host ?? membership.lease).drain),
    undrain: () => ordered(node, (parts.host ?? membership.lease).undrain),
  });
  closers.push(() => control.close());
}

/** Who says it, and when it was true. */
const stampOf = ({ config }: Node) => ({ node: config.node, asOf: systemClock.now() });

/** What a list's owner says of it, and what became of its posts. */
function aboutLists(node: Node, places: Places, needs: InspectNeeds) {
  const { nats, directory } = node.site;
  const asker = createAsker(nats, { timeoutMs: OWNER_MS_MAX, tries: 1 });
  const source = deliveryIn(node);
  const find = async (address: Address) =>
    node.mirror.find(address) ?? (await directory.find(address));
  return {
    list: async (address, level) => {
      const entry = await find(address);
      if (entry === null) return inspectList(address, null, null, null, needs);
      const reply = await asker.question(entry.key, { ask: 'inspect', level });
      const place = places.slot(slotOf(entry.key));
      return inspectList(address, entry.key, listReplyOf(reply), place, needs);
    },
    delivery: (list, request) => inspectDelivery(source, needs, list, request, BY_NATS),
    bounces: async (address) => {
      const entry = await find(address);
      if (entry === null) return null;
      const reply = await asker.question(entry.key, { ask: 'bounce-report' });
      return reply.ok ? reply.answer : { address, ...reply };
    },
  } satisfies Partial<Inspection>;
}

/** Nodes and slots as this node sees them, and a slot as its owner has it. */
function aboutNodes(node: Node, places: Places, needs: InspectNeeds) {
  return {
    node: () => inspectNode(needs),
    nodes: () => ({ ...stampOf(node), nodes: places.nodes() }),
    slot: async (slot) => inspectSlot(places.slot(slot), await ofOwner(node, places, slot), needs),
    slotHere: (slot) => slotHere(slot, needs),
    slots: async () => ({ ...stampOf(node), slots: await withEpochs(node, places) }),
  } satisfies Partial<Inspection>;
}

/** Only a node that sends knows how its routes are. */
function aboutRoutes(node: Node) {
  const { config, parts } = node;
  const now = () => (parts.routes === null ? [] : routeViews(parts.routes));
  const routing = { strategy: config.routing.strategy, devmode: config.devmode ?? null };
  return {
    route: (name) => now().find((route) => route.name === name) ?? null,
    routes: () => ({ ...stampOf(node), ...routing, routes: now() }),
  } satisfies Partial<Inspection>;
}

/** Carries out an operator's order, and says how long it took. */
async function ordered(node: Node, carryOut: () => Promise<void>) {
  const began = systemClock.monotonic();
  await carryOut();
  return { ...stampOf(node), tookMs: Math.round(systemClock.monotonic() - began) };
}

function outgoingFacts({ config, parts }: Node): OutgoingFacts | null {
  const { inHandOf, repeats } = parts;
  if (inHandOf === null) return null;
  const { weights, concurrency: hands, reservePercent, bulkMembers } = config.outgoing;
  const factsOfClass = (cls: Class) => [cls, { weight: weights[cls], inHand: inHandOf(cls) }];
  const classes = Object.fromEntries(CLASSES.map(factsOfClass)) as OutgoingFacts['classes'];
  const handsOfLarge = largeMax(hands, config.outgoing);
  const repeated = repeats?.() ?? { chunks: 0, recipients: 0 };
  return { classes, hands, handsOfLarge, reservePercent, bulkMembers, repeated };
}

/** What the slot's owner says of it; null where it has none or that one is silent. */
async function ofOwner({ site }: Node, places: Places, slot: number): Promise<SlotHere | null> {
  const { owner } = places.slot(slot);
  if (owner === null) return null;
  return (await requestFrom(
    site.nats,
    inspectSlotAt(owner, slot),
    OWNER_MS_MAX,
  )) as SlotHere | null;
}

/** The epoch of each slot as the ledger has it: the sequence of the record that acquired it last. */
async function withEpochs({ site }: Node, places: Places) {
  const slots = places.slots();
  const lasts = await Promise.all(
    Array.from({ length: SLOTS }, (_, slot) => site.ledger.last(slot, 'owner')),
  );
  return slots.map((place) => ({ ...place, epoch: lasts[place.slot]?.seq ?? null }));
}
