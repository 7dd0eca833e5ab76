/**
 * A node's lease: the row in `troupe_nodes` that says it lives, and the only heartbeat there is.
 *
 * It is for liveness, not for safety: the fence is on each list's ledger. It is renewed every 5 s; a node that could not renew
 * it for 12 s by a monotonic clock takes it for over, and does nothing more until it has one again. The server forgets it after 15 s.
 */
import { textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Clock, Kv } from '../world.ts';

export const LEASE_RENEW_MS = 5_000;
/** Without a renewal for so long it is over for its own node, before others may take it for dead. */
export const LEASE_OVER_MS = 12_000;
/** The age at which `troupe_nodes` forgets a row. */
export const LEASE_FORGOTTEN_MS = 15_000;
const RETRY_MS = 500;

/** What a node says of itself. */
export type NodeRow = {
  readonly node: string;
  /** Another one each time the node starts. */
  readonly incarnation: string;
  readonly roles: readonly string[];
  readonly version: string;
  readonly pid: number;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly isDraining: boolean;
  /** Counts renewals: tells a row of ours that was written in doubt. */
  readonly beat: number;
};

export type Lease = {
  /** Milliseconds until this node takes it for over; 0 if it is. */
  msLeft(): number;
  readonly incarnation: string;
  /** Tells all others at once that this node wants to own nothing, or that it may own slots again. */
  drain(): Promise<void>;
  undrain(): Promise<void>;
  isDraining(): boolean;
  /** Gives it up, so that nobody has to wait for its end. */
  stop(): Promise<void>;
};

export type LeaseEvents = {
  /** Called each time it ends; the node must let go of all that it owns. */
  readonly over: () => void;
  /** Called when it begins, the first time and again. */
  readonly held: () => void;
};

/** Resolves once the lease is held for the first time. */
export async function startLease(
  world: { readonly kv: Kv; readonly clock: Clock; readonly log: Log },
  about: Omit<NodeRow, 'isDraining' | 'beat'>,
  events: LeaseEvents,
): Promise<Lease> {
  const { kv, clock, log } = world;
  const stopping = new AbortController();
  let renewedAt = Number.NEGATIVE_INFINITY;
  let revision: number | null = null;
  let beat = 0;
  let isDraining = false;
  let isHeld = false;
  let isWriting: Promise<void> = Promise.resolve();

  const msLeft = (): number => Math.max(0, renewedAt + LEASE_OVER_MS - clock.monotonic());

  /** One renewal; throws while NATS is away. False if another incarnation has the name. */
  async function write(): Promise<boolean> {
    const sentAt = clock.monotonic();
    beat += 1;
    const row: NodeRow = { ...about, isDraining, beat };
    const value = Buffer.from(JSON.stringify(row));
    let written: number | null;
    try {
      written =
        revision === null
          ? await kv.create(about.node, value)
          : await kv.update(about.node, value, revision);
    } catch (error) {
      revision = null; // In doubt: what is there now is read before the next try.
      throw error;
    }
    if (written === null) return await takeOver(value, sentAt);
    revision = written;
    renewedAt = sentAt;
    return true;
  }

  /** A row of ours that was written in doubt, or of an incarnation before: it is ours to replace. */
  async function takeOver(value: Uint8Array, sentAt: number): Promise<boolean> {
    const there = await kv.get(about.node);
    if (there !== null) {
      const row = JSON.parse(Buffer.from(there.value).toString()) as NodeRow;
      if (row.incarnation !== about.incarnation && row.startedAt > about.startedAt) return false;
    }
    const written =
      there === null
        ? await kv.create(about.node, value)
        : await kv.update(about.node, value, there.revision);
    revision = written;
    if (written !== null) renewedAt = sentAt;
    return true;
  }

  async function renew(): Promise<void> {
    try {
      if (!(await write())) log.error({}, 'lease: another node has this name');
    } catch (error) {
      log.warn({ error: textOf(error) }, 'lease: not renewed');
    }
  }

  function look(): void {
    const now = msLeft() > 0;
    if (now === isHeld) return;
    isHeld = now;
    if (now) events.held();
    else events.over();
  }

  /** Watches the end by the clock alone: a renewal that hangs must not hide it. */
  async function watch(): Promise<void> {
    while (!stopping.signal.aborted) {
      await clock.sleep(Math.max(isHeld ? msLeft() : RETRY_MS, 1), stopping.signal);
      if (!stopping.signal.aborted) look();
    }
  }

  async function beats(): Promise<void> {
    while (!stopping.signal.aborted) {
      const isLate = clock.monotonic() - renewedAt >= LEASE_RENEW_MS;
      await clock.sleep(isLate ? RETRY_MS : LEASE_RENEW_MS, stopping.signal);
      if (stopping.signal.aborted) return;
      isWriting = renew();
      await isWriting;
      look();
    }
  }

  async function sayDraining(isSo: boolean): Promise<void> {
    isDraining = isSo;
    await isWriting;
    isWriting = renew();
    await isWriting;
  }

  while (msLeft() === 0) {
    await renew();
    if (msLeft() === 0) await clock.sleep(RETRY_MS);
  }
  look();
  void watch();
  void beats();
  return {
    msLeft,
    incarnation: about.incarnation,
    isDraining: () => isDraining,
    drain: () => sayDraining(true),
    undrain: () => sayDraining(false),
    stop: async () => {
      stopping.abort();
      await isWriting;
      isHeld = false;
      renewedAt = Number.NEGATIVE_INFINITY;
      await kv
        .delete(about.node)
        .catch((error) => log.warn({ error: textOf(error) }, 'lease: not given up'));
    },
  };
}
