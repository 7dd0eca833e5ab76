/**
 * A node's lease: the row in `troupe_nodes` that says it lives, and the only heartbeat there is.
 *
 * It is for liveness, not for safety: the fence is on each list's ledger. It is renewed every 5 s; a node that could not renew
 * it for 12 s by a monotonic clock takes it for over, and does nothing more until it has one again. The server forgets it after 15 s.
 */
import { textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { type NodeRow, nodeRowOf, writtenRow } from '../nats/node-rows.ts';
import type { Clock, Kv } from '../world.ts';

export const LEASE_RENEW_MS = 5_000;
/** Without a renewal for so long it is over for its own node, before others may take it for dead. */
export const LEASE_OVER_MS = 12_000;
/** The age at which `troupe_nodes` forgets a row. */
export const LEASE_FORGOTTEN_MS = 15_000;
const RETRY_MS = 500;

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

type World = { readonly kv: Kv; readonly clock: Clock; readonly log: Log };
type State = {
  readonly world: World;
  readonly about: Omit<NodeRow, 'isDraining' | 'beat'>;
  readonly events: LeaseEvents;
  readonly stopping: AbortController;
  /** Monotonic ms of the last renewal, when it was sent. */
  renewedAt: number;
  /** Of our row; null while it is not known. */
  revision: number | null;
  beat: number;
  isDraining: boolean;
  isHeld: boolean;
  isWriting: Promise<void>;
};

/**
 * Resolves once the lease is held for the first time; rejects with an AbortError where `ending`
 * comes before. After `ending` nothing is renewed.
 */
export async function startLease(
  world: World,
  about: Omit<NodeRow, 'isDraining' | 'beat'>,
  events: LeaseEvents,
  ending: AbortSignal,
): Promise<Lease> {
  const state: State = {
    ...{ world, about, events, stopping: new AbortController(), isWriting: Promise.resolve() },
    ...{ renewedAt: Number.NEGATIVE_INFINITY, revision: null, beat: 0 },
    ...{ isDraining: false, isHeld: false },
  };
  ending.addEventListener('abort', () => state.stopping.abort(), { once: true });
  while (msLeft(state) === 0) {
    ending.throwIfAborted();
    await renew(state);
    if (msLeft(state) === 0) await world.clock.sleep(RETRY_MS, ending);
  }
  look(state);
  void watch(state);
  void beats(state);
  return {
    msLeft: () => msLeft(state),
    incarnation: about.incarnation,
    isDraining: () => state.isDraining,
    drain: () => sayDraining(state, true),
    undrain: () => sayDraining(state, false),
    stop: () => giveUp(state),
  };
}

const msLeft = ({ renewedAt, world }: State): number =>
  Math.max(0, renewedAt + LEASE_OVER_MS - world.clock.monotonic());

// ── Renewing ──────────────────────────────────────────────────────────────

async function renew(state: State): Promise<void> {
  const { log } = state.world;
  try {
    if (!(await write(state))) log.error({}, 'lease: another node has this name');
  } catch (error) {
    log.warn({ error: textOf(error) }, 'lease: not renewed');
  }
}

/** One renewal; throws while NATS is away. False if another incarnation has the name. */
async function write(state: State): Promise<boolean> {
  const { world, about, isDraining } = state;
  const sentAt = world.clock.monotonic();
  state.beat += 1;
  const value = writtenRow({ ...about, isDraining, beat: state.beat });
  let written: number | null;
  try {
    written = await put(state, value, state.revision);
  } catch (error) {
    state.revision = null; // In doubt: what is there now is read before the next try.
    throw error;
  }
  if (written === null) return await takeOver(state, value, sentAt);
  state.revision = written;
  state.renewedAt = sentAt;
  return true;
}

/** A row of ours that was written in doubt, or of an incarnation before: it is ours to replace. */
async function takeOver(state: State, value: Uint8Array, sentAt: number): Promise<boolean> {
  const { world, about } = state;
  const there = await world.kv.get(about.node);
  if (there !== null) {
    const row = nodeRowOf(there.value);
    if (row.incarnation !== about.incarnation && row.startedAt > about.startedAt) return false;
  }
  state.revision = await put(state, value, there?.revision ?? null);
  if (state.revision !== null) state.renewedAt = sentAt;
  return true;
}

const put = (
  { world, about }: State,
  value: Uint8Array,
  revision: number | null,
): Promise<number | null> =>
  revision === null
    ? world.kv.create(about.node, value)
    : world.kv.update(about.node, value, revision);

async function beats(state: State): Promise<void> {
  const { world, stopping } = state;
  while (!stopping.signal.aborted) {
    const isLate = world.clock.monotonic() - state.renewedAt >= LEASE_RENEW_MS;
    await world.clock.sleep(isLate ? RETRY_MS : LEASE_RENEW_MS, stopping.signal);
    if (stopping.signal.aborted) return;
    state.isWriting = renew(state);
    await state.isWriting;
    look(state);
  }
}

async function sayDraining(state: State, isSo: boolean): Promise<void> {
  state.isDraining = isSo;
  await state.isWriting;
  state.isWriting = renew(state);
  await state.isWriting;
}

// ── Its end ───────────────────────────────────────────────────────────────

/** Watches the end by the clock alone: a renewal that hangs must not hide it. */
async function watch(state: State): Promise<void> {
  const { world, stopping } = state;
  while (!stopping.signal.aborted) {
    const ms = Math.max(state.isHeld ? msLeft(state) : RETRY_MS, 1);
    await world.clock.sleep(ms, stopping.signal);
    if (!stopping.signal.aborted) look(state);
  }
}

function look(state: State): void {
  const now = msLeft(state) > 0;
  if (now === state.isHeld) return;
  state.isHeld = now;
  if (now) state.events.held();
  else state.events.over();
}

async function giveUp(state: State): Promise<void> {
  const { kv, log } = state.world;
  state.stopping.abort();
  await state.isWriting;
  state.isHeld = false;
  state.renewedAt = Number.NEGATIVE_INFINITY;
  await kv
    .delete(state.about.node)
    .catch((error) => log.warn({ error: textOf(error) }, 'lease: not given up'));
}
