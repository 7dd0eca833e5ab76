/** This node among the others: its lease, the nodes that live, and who holds which slot. Every node has it, whatever its roles. */
import type { Log } from '../log.ts';
import { type NodeRow, nodeRowOf } from '../nats/node-rows.ts';
import type { Clock, Kv } from '../world.ts';
import { type Lease, startLease } from './lease.ts';
import { followNodes, type Nodes } from './nodes.ts';
import { createRanking } from './placement.ts';
import { followSlots, type SlotTable } from './slot-table.ts';

export type Membership = {
  readonly node: string;
  readonly lease: Lease;
  live(): ReturnType<Nodes['live']>;
  /** What the leader says of a node; null if it has no lease. Throws MailError 451 while NATS is away. */
  lookUp(node: string): Promise<NodeRow | null>;
  readonly table: SlotTable;
  /** Names of the nodes that may own slots, best first. */
  ranked(slot: number): readonly string[];
  /** Calls `listener` after each change of nodes, slots or our own lease; returns what ends that. */
  onChange(listener: () => void): () => void;
  /** Calls `listener` each time our lease has ended. */
  onLeaseOver(listener: () => void): () => void;
  /** Rejects when membership cannot be followed any more. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
};

/** Resolves when the lease is held and the others are known; rejects where `ending` comes before. */
export async function joinSite(
  world: {
    readonly nodes: Kv;
    readonly slots: Kv;
    readonly clock: Clock;
    readonly log: Log;
    /** Ends a join that nobody can stop yet. */
    readonly ending: AbortSignal;
  },
  about: Omit<NodeRow, 'isDraining' | 'beat'>,
): Promise<Membership> {
  const { clock, log, ending } = world;
  const stopping = new AbortController();
  ending.addEventListener('abort', () => stopping.abort(), { once: true });
  const changes = new Set<() => void>();
  const overs = new Set<() => void>();
  const tell = (listeners: ReadonlySet<() => void>): void => {
    for (const listener of [...listeners]) listener();
  };
  const ranking = createRanking();
  const changed = (): void => tell(changes);
  const nodesChanged = (): void => {
    ranking.forget();
    changed();
  };
  const events = {
    held: changed,
    over: () => {
      log.error({}, 'lease: over; every slot is let go');
      tell(overs);
    },
  };
  const { signal } = stopping;
  const lease = await startLease({ kv: world.nodes, clock, log }, about, events, signal);
  const nodes = await followNodes({ kv: world.nodes, clock, log }, nodesChanged, signal);
  const table = await followSlots(world.slots, changed, signal);
  return {
    node: about.node,
    lease,
    live: nodes.live,
    lookUp: async (name) => {
      const row = await world.nodes.get(name);
      return row === null ? null : nodeRowOf(row.value);
    },
    table,
    ranked: (slot) => ranking.of(slot, () => mayOwn(nodes)),
    onChange: (listener) => listen(changes, listener),
    onLeaseOver: (listener) => listen(overs, listener),
    ended: Promise.all([nodes.ended, table.ended]).then(() => {}),
    stop: async () => {
      stopping.abort();
      await lease.stop();
    },
  };
}

function mayOwn(nodes: Nodes): string[] {
  return [...nodes.live().values()]
    .filter(({ roles, isDraining }) => roles.includes('host') && !isDraining)
    .map(({ node }) => node);
}

function listen(to: Set<() => void>, listener: () => void): () => void {
  to.add(listener);
  return () => to.delete(listener);
}
