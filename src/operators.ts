/** What operators see of a node and may tell it: health, inspection, draining. Part of the wiring (`main.ts`). */
import { systemClock } from './clock.ts';
import { LEASE_FORGOTTEN_MS } from './host/lease.ts';
import { type ListKey, SLOTS, slotOf } from './mail/list-key.ts';
import { createAsker } from './nats/ask.ts';
import { requestFrom, serveControl, serveInspect } from './nats/inspect.ts';
import { inspectSlotAt } from './nats/subjects.ts';
import { type HealthFacts, healthOf } from './ops/health.ts';
import {
  type InspectNeeds,
  inspectList,
  inspectNode,
  inspectSlot,
  listReplyOf,
  type SlotHere,
  slotHere,
} from './ops/inspect.ts';
import { type Places, watchPlaces } from './ops/slots.ts';
import type { Node } from './site.ts';

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
    isDirectoryRead: true,
    isStopping: parts.isStopping,
    isRelaxed: config.durability === 'relaxed',
    disk: host === null ? null : { freeBytes: host.diskFreeBytes, isLow: host.isDiskLow },
    blocked: host?.blocked.map(nameOf) ?? [],
    quarantined: host?.quarantined.map(({ key }) => nameOf(key)) ?? [],
  };
}

/** Starts answering `troupe.inspect.>` and taking `troupe.node.<id>`. */
export async function startInspection(node: Node): Promise<void> {
  const { config, site, mirror, parts, startedAt, closers, membership } = node;
  const { nats, directory } = site;
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
    addressOf: (key) => mirror.byKey(key)?.address ?? null,
    lease: membership.lease,
    keys,
  };
  const stamp = () => ({ node: config.node, asOf: systemClock.now() });
  const asker = createAsker(nats, { timeoutMs: OWNER_MS_MAX, tries: 1 });
  const service = await serveInspect(nats, {
    nodeId: config.node,
    list: async (address, level) => {
      const entry = mirror.find(address) ?? (await directory.find(address));
      if (entry === null) return inspectList(address, null, null, null, needs);
      const reply = await asker.question(entry.key, { ask: 'inspect', level });
      const place = places.slot(slotOf(entry.key));
      return inspectList(address, entry.key, listReplyOf(reply), place, needs);
    },
    bounces: async (address) => {
      const entry = mirror.find(address) ?? (await directory.find(address));
      if (entry === null) return null;
      const reply = await asker.question(entry.key, { ask: 'bounce-report' });
      return reply.ok ? reply.answer : { address, ...reply };
    },
    node: () => inspectNode(needs),
    nodes: () => ({ ...stamp(), nodes: places.nodes() }),
    slot: async (slot) => inspectSlot(places.slot(slot), await ofOwner(node, places, slot), needs),
    slotHere: (slot) => slotHere(slot, needs),
    slots: async () => ({ ...stamp(), slots: await withEpochs(node, places) }),
    ...(config.roles.includes('outgoing') && {
      route: (name: string) => routeFacts(node, name),
    }),
  });
  closers.push(() => service.close());
  const control = serveControl(nats, config.node, async () => {
    const began = systemClock.monotonic();
    if (parts.host === null) await membership.lease.drain();
    else await parts.host.drain();
    return { ...stamp(), tookMs: Math.round(systemClock.monotonic() - began) };
  });
  closers.push(() => control.close());
}

/** The route of this name as this node has it, without its password; null if it has none of this name. */
function routeFacts({ config, parts }: Node, name: string) {
  const { route } = parts;
  if (route === null || route.name !== name) return null;
  const configured = config.routes.find((one) => one.name === name);
  const url = configured === undefined ? null : new URL(configured.url);
  return {
    node: config.node,
    asOf: systemClock.now(),
    name,
    to: url === null ? 'kept, sent nowhere' : `${url.protocol}//${url.host}`,
    weight: configured?.weight ?? null,
    role: configured?.role ?? null,
    connectionsMax: configured?.connections ?? null,
    ...route.state(),
  };
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
