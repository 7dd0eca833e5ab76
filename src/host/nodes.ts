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

/** Resolves once all leases have been read; `changed` is called after each coming, going and draining. */
export async function followNodes(
  world: { readonly kv: Kv; readonly clock: Clock; readonly log: Log },
  changed: () => void,
  signal: AbortSignal,
): Promise<Nodes> {
  const { kv, clock, log } = world;
  const nodes = new Map<string, SeenNode>();
  const ready = Promise.withResolvers<void>();

  function seen(name: string, value: Uint8Array | null): void {
    const before = nodes.get(name);
    if (value === null) {
      if (nodes.delete(name)) gone(name, 'gave up its lease');
      return;
    }
    const row = nodeRowOf(value);
    const isSame = before?.incarnation === row.incarnation;
    const seenAt = clock.monotonic();
    nodes.set(name, { ...row, since: isSame ? before.since : seenAt, seenAt });
    if (!isSame) log.info({ other: name, roles: row.roles }, 'nodes: a node came');
    if (!isSame || before.isDraining !== row.isDraining) changed();
    void expire(name);
  }

  function gone(name: string, why: string): void {
    log.info({ other: name, why }, 'nodes: a node went');
    changed();
  }

  /** Looks once its lease should have been renewed; each renewal looks anew. */
  async function expire(name: string): Promise<void> {
    const { seenAt, incarnation } = nodes.get(name) ?? { seenAt: 0, incarnation: '' };
    await clock.sleep(LEASE_FORGOTTEN_MS + GRACE_MS, signal);
    for (;;) {
      const now = nodes.get(name);
      if (signal.aborted || now?.seenAt !== seenAt) return;
      const there = await kv.get(name).catch(() => 'away' as const);
      if (nodes.get(name)?.seenAt !== seenAt) return;
      if (there === null) {
        nodes.delete(name);
        return gone(name, 'did not renew its lease');
      }
      if (there !== 'away') log.debug({ other: name, incarnation }, 'nodes: late, but there');
      await clock.sleep(ASK_AGAIN_MS, signal);
    }
  }

  async function follow(): Promise<void> {
    try {
      for await (const row of kv.watch(signal)) {
        if (row === 'ready') ready.resolve();
        else seen(row.key, row.value);
      }
    } catch (error) {
      if (!(error instanceof ReplacedError)) throw error;
      // Whoever lives renews into the new bucket; whoever does not is asked about as ever.
      log.warn({ error: textOf(error) }, 'nodes: the bucket is another; read anew');
      await follow();
    }
  }

  const ended = follow();
  ended.catch((error) => ready.reject(error));
  await ready.promise;
  return { live: () => nodes, ended };
}
