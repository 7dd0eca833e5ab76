/**
 * Who has each slot, as any node sees it: from the slots bucket, the leases and the placement, at once and without asking anybody.
 *
 * A slot whose holder's lease is gone has no owner; since when is noted here, because the bucket goes on naming the one who died.
 */
import { type ListKey, SLOTS, slotOf } from '../mail/list-key.ts';
import type { NodeRow, SlotRow } from '../nats/node-rows.ts';

/** A node that lives, as its lease says and this node saw it. */
export type LiveNode = NodeRow & {
  /** Monotonic ms of its last renewal. */
  readonly seenAt: number;
};

/** What is read of the membership (src/host/membership.ts). */
export type Members = {
  live(): ReadonlyMap<string, LiveNode>;
  /** Names of nodes that may own the slot, best first. */
  ranked(slot: number): readonly string[];
  readonly table: { get(slot: number): SlotRow | null };
  onChange(listener: () => void): () => void;
};

export type SlotPlace = {
  readonly slot: number;
  /** A node that lives; null: nobody owns it now. */
  readonly owner: string | null;
  /** Since when it has it, or since when nobody has; ms since the epoch. Null where nobody ever had it. */
  readonly since: number | null;
  /** Null where no node may own slots. */
  readonly shouldOwn: string | null;
  /** Who would have it if its owner died now. */
  readonly next: string | null;
  readonly lists: number;
};

export type NodePlace = Omit<NodeRow, 'incarnation' | 'beat'> & {
  /** Until the others take it for dead, unless it renews. */
  readonly leaseMsLeft: number;
  readonly slots: number;
  /** Slots that it would own next. */
  readonly standby: number;
};

export type Places = {
  slot(slot: number): SlotPlace;
  slots(): readonly SlotPlace[];
  nodes(): readonly NodePlace[];
  stop(): void;
};

type PlacesNeeds = {
  readonly members: Members;
  readonly clock: { now(): number; monotonic(): number };
  /** The age at which a lease is forgotten. */
  readonly leaseMs: number;
  keys(): Iterable<ListKey>;
};

export function watchPlaces(needs: PlacesNeeds): Places {
  const { members, clock, leaseMs } = needs;
  /** When a slot's holder was first seen to be gone. */
  const goneAt = new Map<number, number>();

  function look(): void {
    for (let slot = 0; slot < SLOTS; slot++) {
      const holder = members.table.get(slot)?.node ?? null;
      if (holder === null || ownerOf(members, slot) !== null) goneAt.delete(slot);
      else if (!goneAt.has(slot)) goneAt.set(slot, clock.now());
    }
  }

  function place(slot: number, lists: number): SlotPlace {
    const owner = ownerOf(members, slot);
    const ranked = members.ranked(slot);
    const since = goneAt.get(slot) ?? members.table.get(slot)?.at ?? null;
    const next = ranked.find((name) => name !== owner) ?? null;
    return { slot, owner, since, shouldOwn: ranked[0] ?? null, next, lists };
  }

  function slots(): readonly SlotPlace[] {
    look();
    const lists = countLists(needs.keys());
    return Array.from({ length: SLOTS }, (_, slot) => place(slot, lists[slot] ?? 0));
  }

  function nodes(): readonly NodePlace[] {
    const all = slots();
    const leasesFrom = clock.monotonic() - leaseMs;
    return [...members.live().values()]
      .map((node) => nodePlace(node, all, leasesFrom))
      .sort((a, b) => (a.node < b.node ? -1 : 1));
  }

  look();
  const stop = members.onChange(look);
  return {
    slot: (slot) => {
      look();
      return place(slot, countLists(needs.keys())[slot] ?? 0);
    },
    slots,
    nodes,
    stop,
  };
}

/** Null where it has none, or the one that the bucket names has died since. */
function ownerOf(members: Members, slot: number): string | null {
  const row = members.table.get(slot);
  if (row === null || row.node === null) return null;
  return members.live().get(row.node)?.incarnation === row.incarnation ? row.node : null;
}

/** `leasesFrom`: a lease that was last renewed then, monotonic ms, is over now. */
function nodePlace(live: LiveNode, all: readonly SlotPlace[], leasesFrom: number): NodePlace {
  const { node, roles, version, pid, startedAt, isDraining, seenAt } = live;
  return {
    ...{ node, roles, version, pid, startedAt, isDraining },
    leaseMsLeft: Math.max(0, Math.round(seenAt - leasesFrom)),
    slots: all.filter(({ owner }) => owner === node).length,
    standby: all.filter(({ owner, next }) => next === node && owner !== node).length,
  };
}

function countLists(keys: Iterable<ListKey>): readonly number[] {
  const lists = new Array<number>(SLOTS).fill(0);
  for (const key of keys) {
    const slot = slotOf(key);
    lists[slot] = (lists[slot] ?? 0) + 1;
  }
  return lists;
}

/** `nobody owns slot 5 since 2026-11-21T21:00:00.000Z; node b should`. */
export function noOwnerText({ slot, since, shouldOwn }: SlotPlace): string {
  const when = since === null ? ' yet' : ` since ${new Date(since).toISOString()}`;
  const who = shouldOwn === null ? 'no node has the role host' : `node ${shouldOwn} should`;
  return `nobody owns slot ${slot}${when}; ${who}`;
}
