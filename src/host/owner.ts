/**
 * Which slots this node owns: steps each slot's chart by what is observed, and does what the chart says.
 *
 *   a slot without a living holder   is claimed by the node that the placement names, at once
 *   a slot held by another           is waited for: its owner sees us, and hands it over
 *   a slot of ours, placed elsewhere is handed over, one at a time, once the other node has lived for a while
 *   our lease over                   every slot is dropped: no answer, no effect
 */
import { IDLE, type Observed, observe, type SlotState } from '../../actors/slot.ts';
import { OperatorError, textOf } from '../errors.ts';
import { SLOTS } from '../mail/list-key.ts';
import type { Membership } from './membership.ts';
import type { SlotRow } from './slot-table.ts';
import { acquire, type OwnedSlot, ownSlot } from './slots.ts';
import type { HostWorld } from './world.ts';

/** A node must live for so long before a slot moves to it: one that comes and goes moves nothing. */
export const SETTLED_MS = 10_000;
/** While NATS does not answer. */
const AGAIN_MS = 500;
/** Tries to say in the bucket that a slot is free; if none gets through, its next owner waits for our lease to end. */
const RELEASE_TRIES_MAX = 20;
/** A slot that was fenced is not asked for again before the bucket has had time to say whose it is. */
const FENCED_MS = 5_000;

/** What the host does for a slot. */
export type SlotWork = {
  /** Folds what the rows lack; throws to be asked again. */
  recover(slots: readonly OwnedSlot[]): Promise<void>;
  serve(slot: OwnedSlot): void;
  /** Takes nothing new for it, finishes what is under way, says how far the outboxes are. */
  drain(slot: OwnedSlot): Promise<void>;
  /** Forgets all that it has awake of the slot. */
  drop(slot: OwnedSlot): void;
};

export type Owner = {
  /** Slots that are served now. */
  owned(): readonly OwnedSlot[];
  find(slot: number): OwnedSlot | null;
  state(slot: number): SlotState['mode'];
  /** The slot was found to be another's: a later epoch writes. */
  fenced(slot: number): void;
  /** Hands every slot over; resolves when none is left. */
  drain(): Promise<void>;
  /** Takes slots again; not while a drain is under way. */
  undrain(): void;
  /** Resolves when no slot that is ours to have is still on its way. */
  settled(): Promise<void>;
  stop(): Promise<void>;
};

type Held = {
  state: SlotState;
  owned: OwnedSlot | null;
  ending: AbortController;
};

export function startOwner(
  world: HostWorld,
  membership: Membership,
  work: SlotWork,
  fatal: (error: unknown) => void,
): Owner {
  const { clock, log, rows } = world;
  const { lease, table, node } = membership;
  const stopping = new AbortController();
  const slots: Held[] = Array.from({ length: SLOTS }, () => ({
    state: IDLE,
    owned: null,
    ending: new AbortController(),
  }));
  const waiters = new Set<() => void>();
  const releasing = new Set<number>();
  const sayingAgain = new Set<number>();
  let recovering: OwnedSlot[] = [];
  let isLeaving = false;
  let wakeAt = Number.POSITIVE_INFINITY;

  const held = (slot: number): Held => {
    const found = slots[slot];
    if (found === undefined) throw new RangeError(`no slot ${slot}`);
    return found;
  };

  function step(slot: number, event: Observed): void {
    const here = held(slot);
    const { state, effects } = observe(here.state, event);
    here.state = state;
    for (const { type } of effects) perform(slot, here, type);
    tellWaiters();
  }

  function tellWaiters(): void {
    for (const waiter of [...waiters]) waiter();
  }

  function perform(slot: number, here: Held, what: string): void {
    const { owned } = here;
    switch (what) {
      case 'claim':
        here.ending = new AbortController();
        void claim(slot, here);
        return;
      case 'recover':
        if (owned !== null) queueRecovery(owned);
        return;
      case 'serve':
        if (owned !== null) work.serve(owned);
        evaluateSoon();
        return;
      case 'drain':
        if (owned !== null) void drainOne(slot, here, owned);
        return;
      case 'release':
        here.owned = null;
        here.ending.abort();
        releasing.add(slot);
        void release(slot);
        return;
      case 'drop':
        here.owned = null;
        here.ending.abort();
        if (owned !== null) work.drop(owned);
        return;
    }
  }

  /** Repeats `attempt` until it gives an answer or the slot is lost; a world that is away is waited for. */
  async function insist<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T | null> {
    while (!signal.aborted) {
      try {
        return await attempt();
      } catch (error) {
        if (error instanceof OperatorError) {
          fatal(error);
          return null;
        }
        log.warn({ error: textOf(error) }, 'slots: will try again');
        await clock.sleep(AGAIN_MS, signal);
      }
    }
    return null;
  }

  async function claim(slot: number, here: Held): Promise<void> {
    const { signal } = here.ending;
    const { incarnation } = lease;
    const isOurs = await insist(signal, async () => {
      // Our view of the others may lag behind: whom the bucket names is asked about where it is known.
      const holder = table.get(slot);
      if (holder !== null && (await isAlive(holder))) return false;
      return table.set(slot, { node, incarnation, at: clock.now() });
    });
    if (signal.aborted) return;
    if (isOurs !== true) return step(slot, { type: 'lost' });
    const epoch = await insist(signal, () => acquire(world, slot, { node, incarnation }, signal));
    if (signal.aborted || epoch === null) return;
    here.owned = ownSlot(rows, slot, epoch, { signal, msLeft: lease.msLeft });
    step(slot, { type: 'acquired', epoch });
  }

  /** Slots that are acquired together are folded in one pass over the ledger. */
  function queueRecovery(owned: OwnedSlot): void {
    if (recovering.length === 0) world.nextTick(() => void recoverQueued());
    recovering.push(owned);
  }

  async function recoverQueued(): Promise<void> {
    const batch = recovering;
    recovering = [];
    await insist(stopping.signal, () =>
      work.recover(batch.filter(({ signal }) => !signal.aborted)),
    );
    for (const { slot, signal } of batch) if (!signal.aborted) step(slot, { type: 'recovered' });
  }

  async function drainOne(slot: number, here: Held, owned: OwnedSlot): Promise<void> {
    await work.drain(owned);
    if (here.owned === owned) step(slot, { type: 'drained' });
  }

  async function release(slot: number): Promise<void> {
    const row = { node: null, incarnation: '', at: clock.now() };
    for (let tries = 0; tries < RELEASE_TRIES_MAX; tries++) {
      try {
        if (!isUs(table.get(slot)) || (await table.set(slot, row))) break;
      } catch (error) {
        log.warn({ slot, error: textOf(error) }, 'slots: not released yet');
        await clock.sleep(AGAIN_MS);
      }
    }
    releasing.delete(slot);
    tellWaiters();
    evaluateSoon();
  }

  /** The bucket was made anew: what it does not say any more is said again. */
  async function sayAgain(slot: number, here: Held): Promise<void> {
    if (sayingAgain.has(slot)) return;
    sayingAgain.add(slot);
    const row = { node, incarnation: lease.incarnation, at: clock.now() };
    await insist(here.ending.signal, () => table.set(slot, row));
    sayingAgain.delete(slot);
  }

  const isUs = (row: SlotRow | null): boolean =>
    row?.node === node && row.incarnation === lease.incarnation;

  /** True if the row names a node that lives, in the incarnation that wrote it. */
  function isHeldByOther(slot: number): boolean {
    const row = table.get(slot);
    if (row === null || row.node === null) return false;
    return !isUs(row) && membership.live().get(row.node)?.incarnation === row.incarnation;
  }

  /** The same, from the leader. */
  async function isAlive(row: SlotRow): Promise<boolean> {
    if (row.node === null || isUs(row)) return false;
    return (await membership.lookUp(row.node))?.incarnation === row.incarnation;
  }

  /** Makes what we do and what the bucket says agree: after a lapse of the lease, or where somebody else claimed it. */
  function reconcile(slot: number): void {
    const row = table.get(slot);
    const { mode } = held(slot).state;
    const [best] = membership.ranked(slot);
    if (mode === 'idle' && isUs(row) && (best !== node || isLeaving) && !releasing.has(slot)) {
      releasing.add(slot);
      void release(slot);
    }
    if (mode !== 'idle' && mode !== 'acquiring' && row !== null && !isUs(row)) {
      log.warn({ slot, to: row.node }, 'slots: the bucket names another; let go');
      step(slot, { type: 'lost' });
    }
  }

  function evaluate(): void {
    if (stopping.signal.aborted || lease.msLeft() === 0) return;
    wakeAt = Number.POSITIVE_INFINITY;
    let isMoving = slots.some(({ state }) => state.mode === 'draining');
    for (let slot = 0; slot < SLOTS; slot++) {
      reconcile(slot);
      const { mode } = held(slot).state;
      const [best] = membership.ranked(slot);
      const isFree = !releasing.has(slot) && !isHeldByOther(slot);
      if (mode === 'idle' && best === node && !isLeaving && isFree) step(slot, { type: 'wanted' });
      if (mode !== 'owned') continue;
      if (table.get(slot) === null) void sayAgain(slot, held(slot));
      if (isLeaving) step(slot, { type: 'unwanted' });
      else if (!isMoving && best !== node && best !== undefined && isSettled(best)) {
        isMoving = true;
        step(slot, { type: 'unwanted' });
      }
    }
    if (wakeAt < Number.POSITIVE_INFINITY) void evaluateAt(wakeAt);
  }

  /** A node that has not lived long enough is looked at again when it has. */
  function isSettled(other: string): boolean {
    const since = membership.live().get(other)?.since ?? Number.POSITIVE_INFINITY;
    const due = since + SETTLED_MS;
    if (clock.monotonic() >= due) return true;
    wakeAt = Math.min(wakeAt, due);
    return false;
  }

  async function evaluateAt(due: number): Promise<void> {
    await clock.sleep(Math.max(due - clock.monotonic(), 1), stopping.signal);
    evaluateSoon();
  }

  let isSoon = false;
  function evaluateSoon(): void {
    if (isSoon) return;
    isSoon = true;
    world.nextTick(() => {
      isSoon = false;
      evaluate();
    });
  }

  function dropAll(): void {
    for (let slot = 0; slot < SLOTS; slot++) step(slot, { type: 'lost' });
  }

  async function until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      await new Promise<void>((resolve) => {
        const waiter = (): void => {
          waiters.delete(waiter);
          resolve();
        };
        waiters.add(waiter);
      });
    }
  }

  const forget = [membership.onChange(evaluateSoon), membership.onLeaseOver(dropAll)];
  evaluateSoon();
  const modes = (...wanted: SlotState['mode'][]) =>
    slots.filter(({ state }) => wanted.includes(state.mode));
  return {
    owned: () => modes('owned', 'draining').flatMap(({ owned }) => owned ?? []),
    find: (slot) => {
      const { state, owned } = held(slot);
      return state.mode === 'owned' || state.mode === 'draining' ? owned : null;
    },
    state: (slot) => held(slot).state.mode,
    fenced: (slot) => {
      step(slot, { type: 'lost' });
      releasing.add(slot);
      void clock.sleep(FENCED_MS, stopping.signal).then(() => {
        releasing.delete(slot);
        tellWaiters();
        evaluateSoon();
      });
    },
    drain: async () => {
      isLeaving = true;
      evaluate();
      await until(() => modes('idle').length === SLOTS && releasing.size === 0);
    },
    undrain: () => {
      isLeaving = false;
      evaluateSoon();
    },
    settled: () =>
      until(() =>
        slots.every(({ state }, slot) => {
          const [best] = membership.ranked(slot);
          return state.mode === 'owned' || best !== node || isHeldByOther(slot);
        }),
      ),
    stop: async () => {
      stopping.abort();
      for (const end of forget) end();
      dropAll();
    },
  };
}
