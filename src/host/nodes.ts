/**
 * The nodes that live, as this one sees it: their leases, followed. The server forgets a lease without a word, so who has not
 * renewed in time is asked about at the leader before being taken for dead; while NATS is away nobody is.
 */
import { ReplacedError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { type NodeRow, nodeRowOf } from '../nats/node-rows.ts';
import type { Clock, Kv } from '../world.ts';
import { LEASE_FORGOTTEN_MS } from './lease.ts';

/** A renewal may be on its way when a lease ends. */
const GRACE_MS = 250;
const ASK_AGAIN_MS = 500;

export type SeenNode = NodeRow & {
  /** Monotonic ms: since when it lives, and when it was last renewed, as seen here. */
  readonly since: number;
  readonly seenAt: number;
};

export type Nodes = {
  /** By name. */
  live(): ReadonlyMap<string, SeenNode>;
  /** Resolves when the signal has aborted; rejects if the bucket cannot be followed any more. */
  readonly ended: Promise<void>;
};

type State = {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly log: Log;
  readonly changed: () => void;
  readonly signal: AbortSignal;
  readonly nodes: Map<string, SeenNode>;
};

/** Resolves once all leases have been read; `changed` is called after each coming, going and draining. */
export async function followNodes(
  world: { readonly kv: Kv; readonly clock: Clock; readonly log: Log },
  changed: () => void,
  signal: AbortSignal,
): Promise<Nodes> {
  const { kv, clock, log } = world;
  const state: State = { kv, clock, log, changed, signal, nodes: new Map() };
  const ready = Promise.withResolvers<void>();
  const ended = follow(state, ready.resolve);
  ended.catch(ready.reject);
  await ready.promise;
  return { live: () => state.nodes, ended };
}

async function follow(state: State, ready: () => void): Promise<void> {
  const { kv, log, signal } = state;
  try {
    for await (const row of kv.watch(signal)) {
      if (row === 'ready') ready();
      else seen(state, row.key, row.value);
    }
  } catch (error) {
    if (!(error instanceof ReplacedError)) throw error;
    // Whoever lives renews into the new bucket; whoever does not is asked about as ever.
    log.warn({ error: textOf(error) }, 'nodes: the bucket is another; read anew');
    await follow(state, ready);
  }
}

function seen(state: State, name: string, value: Uint8Array | null): void {
  const { nodes, clock, log, changed } = state;
  if (value === null) {
    if (nodes.has(name)) gone(state, name, 'gave up its lease');
    return;
  }
  const before = nodes.get(name);
  const row = nodeRowOf(value);
  const isSame = before?.incarnation === row.incarnation;
  const seenAt = clock.monotonic();
  nodes.set(name, { ...row, since: isSame ? before.since : seenAt, seenAt });
  if (!isSame) log.info({ other: name, roles: row.roles }, 'nodes: a node came');
  if (!isSame || before.isDraining !== row.isDraining) changed();
  void expire(state, name, seenAt);
}

function gone({ nodes, log, changed }: State, name: string, why: string): void {
  nodes.delete(name);
  log.info({ other: name, why }, 'nodes: a node went');
  changed();
}

/** Looks once the lease that was renewed at `seenAt` should have been renewed again. */
async function expire(state: State, name: string, seenAt: number): Promise<void> {
  const { nodes, kv, clock, log, signal } = state;
  const isRenewed = (): boolean => nodes.get(name)?.seenAt !== seenAt;
  await clock.sleep(LEASE_FORGOTTEN_MS + GRACE_MS, signal);
  while (!signal.aborted && !isRenewed()) {
    const there = await kv.get(name).catch(() => 'away' as const);
    if (isRenewed()) return;
    if (there === null) return gone(state, name, 'did not renew its lease');
    if (there !== 'away') log.debug({ other: name }, 'nodes: late, but there');
    await clock.sleep(ASK_AGAIN_MS, signal);
  }
}
