/**
 * A slot on its way through its chart (`actors/slot.ts`): steps it by what is observed, and does what the chart says. Which slots are
 * to be ours is decided in `owner.ts`.
 */
import { IDLE, type Observed, observe, type SlotState } from '../../actors/slot.ts';
import { OperatorError, textOf } from '../errors.ts';
import { SLOTS } from '../mail/list-key.ts';
import type { SlotRow } from '../nats/node-rows.ts';
import type { Membership } from './membership.ts';
import { acquire, type OwnedSlot, ownSlot } from './slots.ts';
import type { HostWorld } from './world.ts';

/** While NATS does not answer. */
const AGAIN_MS = 500;
/** Tries to say in the bucket that a slot is free; if none gets through, its next owner waits for our lease to end. */
const RELEASE_TRIES_MAX = 20;

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

export type Held = {
  readonly slot: number;
  state: SlotState;
  owned: OwnedSlot | null;
  /** Since when it is served, monotonic ms. */
  since: number;
  ending: AbortController;
};

/** All slots as this node has them. */
export type Holding = {
  readonly world: HostWorld;
  readonly membership: Membership;
  readonly work: SlotWork;
  readonly fatal: (error: unknown) => void;
  /** Something changed that the placement may want to know. */
  readonly evaluateSoon: () => void;
  readonly stopping: AbortController;
  readonly slots: readonly Held[];
  /** Slots that are not to be claimed now: their release is being said, or they were found to be another's. */
  readonly releasing: Set<number>;
  readonly sayingAgain: Set<number>;
  recovering: OwnedSlot[];
  /** Called after each change. */
  readonly waiters: Set<() => void>;
};

export function openHolding(
  needs: Pick<Holding, 'world' | 'membership' | 'work' | 'fatal' | 'evaluateSoon'>,
): Holding {
  return {
    ...needs,
    stopping: new AbortController(),
    slots: Array.from({ length: SLOTS }, (_, slot) => ({
      ...{ slot, state: IDLE, owned: null, since: 0, ending: new AbortController() },
    })),
    ...{ releasing: new Set(), sayingAgain: new Set(), recovering: [], waiters: new Set() },
  };
}

export function heldOf({ slots }: Holding, slot: number): Held {
  const found = slots[slot];
  if (found === undefined) throw new RangeError(`no slot ${slot}`);
  return found;
}

export function step(holding: Holding, here: Held, event: Observed): void {
  const { state, effects } = observe(here.state, event);
  here.state = state;
  for (const { type } of effects) perform(holding, here, type);
  tellWaiters(holding);
}

export function tellWaiters({ waiters }: Pick<Holding, 'waiters'>): void {
  for (const waiter of [...waiters]) waiter();
}

/** Resolves when it is so; looks after each change. */
export async function until(
  { waiters }: Pick<Holding, 'waiters'>,
  isSo: () => boolean,
): Promise<void> {
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

// ── What the chart causes ─────────────────────────────────────────────────

function perform(holding: Holding, here: Held, what: string): void {
  const { owned } = here;
  switch (what) {
    case 'claim':
      here.ending = new AbortController();
      void claim(holding, here);
      return;
    case 'recover':
      if (owned !== null) queueRecovery(holding, owned);
      return;
    case 'serve':
      here.since = holding.world.clock.monotonic();
      if (owned !== null) holding.work.serve(owned);
      holding.evaluateSoon();
      return;
    case 'drain':
      if (owned !== null) void drainOne(holding, here, owned);
      return;
    case 'release':
      here.owned = null;
      here.ending.abort();
      void release(holding, here.slot, heirOf(holding.membership, here.slot));
      return;
    case 'drop':
      here.owned = null;
      here.ending.abort();
      if (owned !== null) holding.work.drop(owned);
      return;
  }
}

/** Repeats `attempt` until it gives an answer or the slot is lost; a world that is away is waited for. */
async function insist<T>(
  { world, fatal }: Holding,
  signal: AbortSignal,
  attempt: () => Promise<T>,
): Promise<T | null> {
  while (!signal.aborted) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof OperatorError) {
        fatal(error);
        return null;
      }
      world.log.warn({ error: textOf(error) }, 'slots: will try again');
      await world.clock.sleep(AGAIN_MS, signal);
    }
  }
  return null;
}

async function claim(holding: Holding, here: Held): Promise<void> {
  const { world, membership, evaluateSoon } = holding;
  const { table, lease, node } = membership;
  const { slot, ending } = here;
  const { signal } = ending;
  const owner = { node, incarnation: lease.incarnation };
  const outcome = await insist(holding, signal, async () => {
    // Our view of the others may lag behind: whom the bucket names is asked about where it is known, at each try.
    const seen = table.get(slot);
    const holder = isUs(membership, seen) ? await table.read(slot) : seen;
    if (isUs(membership, holder)) return 'ours'; // By whoever handed it over, or by us, in doubt.
    if (holder !== null && (await isAlive(membership, holder))) return 'held';
    return (await table.set(slot, { ...owner, at: world.clock.now() })) ? 'ours' : 'changed';
  });
  if (signal.aborted) return;
  if (outcome !== 'ours') step(holding, here, { type: 'lost' });
  // Whoever changed it may have let it go while we asked.
  if (outcome === 'changed') evaluateSoon();
  if (outcome !== 'ours') return;
  // Only then: an epoch from before would be older than those of others who had the slot in between.
  const epoch = await insist(holding, signal, () => acquire(world, slot, owner, signal));
  if (signal.aborted || epoch === null) return;
  here.owned = ownSlot(world.rows, slot, epoch, { signal, msLeft: lease.msLeft });
  step(holding, here, { type: 'acquired', epoch });
}

/** Slots that are acquired together are folded in one pass over the ledger. */
function queueRecovery(holding: Holding, owned: OwnedSlot): void {
  if (holding.recovering.length === 0) {
    holding.world.nextTick(() => void recoverQueued(holding));
  }
  holding.recovering.push(owned);
}

async function recoverQueued(holding: Holding): Promise<void> {
  const batch = holding.recovering;
  holding.recovering = [];
  await insist(holding, holding.stopping.signal, () =>
    holding.work.recover(batch.filter(({ signal }) => !signal.aborted)),
  );
  for (const { slot, signal } of batch) {
    if (!signal.aborted) step(holding, heldOf(holding, slot), { type: 'recovered' });
  }
}

async function drainOne(holding: Holding, here: Held, owned: OwnedSlot): Promise<void> {
  await holding.work.drain(owned);
  if (here.owned === owned) step(holding, here, { type: 'drained' });
}

// ── What the bucket is told ───────────────────────────────────────────────

/** Says whose the slot is now, by default nobody's, unless the bucket names another by now. */
export async function release(
  holding: Holding,
  slot: number,
  heir: Pick<SlotRow, 'node' | 'incarnation'> = NOBODY,
): Promise<void> {
  const { world, membership, releasing, evaluateSoon } = holding;
  const { table } = membership;
  const row = { ...heir, at: world.clock.now() };
  releasing.add(slot);
  for (let tries = 0; tries < RELEASE_TRIES_MAX; tries++) {
    try {
      if (!isUs(membership, table.get(slot)) || (await table.set(slot, row))) break;
    } catch (error) {
      world.log.warn({ slot, error: textOf(error) }, 'slots: not released yet');
      await world.clock.sleep(AGAIN_MS);
    }
  }
  releasing.delete(slot);
  tellWaiters(holding);
  evaluateSoon();
}

const NOBODY = { node: null, incarnation: '' };

/** Who should own the slot when we do not: named in the bucket, it has only the ledger left to tell. */
function heirOf(
  { ranked, live, node }: Membership,
  slot: number,
): Pick<SlotRow, 'node' | 'incarnation'> {
  const heir = live().get(ranked(slot).find((name) => name !== node) ?? '');
  return heir === undefined ? NOBODY : { node: heir.node, incarnation: heir.incarnation };
}

/** The bucket was made anew: what it does not say any more is said again. */
export async function sayAgain(holding: Holding, { slot, ending }: Held): Promise<void> {
  const { world, membership, sayingAgain } = holding;
  if (sayingAgain.has(slot)) return;
  sayingAgain.add(slot);
  const { node, lease, table } = membership;
  const row = { node, incarnation: lease.incarnation, at: world.clock.now() };
  await insist(holding, ending.signal, () => table.set(slot, row));
  sayingAgain.delete(slot);
}

/** True if the row names this node, in the incarnation that runs. */
export const isUs = ({ node, lease }: Membership, row: SlotRow | null): boolean =>
  row?.node === node && row.incarnation === lease.incarnation;

/** True if the row names a node that lives, in the incarnation that wrote it; from the leader. */
async function isAlive(membership: Membership, row: SlotRow): Promise<boolean> {
  if (row.node === null || isUs(membership, row)) return false;
  return (await membership.lookUp(row.node))?.incarnation === row.incarnation;
}
