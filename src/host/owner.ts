/**
 * Which slots this node owns, by what the placement and the bucket say:
 *
 *   a slot without a living holder   is claimed by the node that the placement names, at once
 *   a slot that was handed to us     is claimed, whatever the placement says here: its owner may have known more
 *   a slot held by another           is waited for: its owner sees us, and hands it over
 *   a slot of ours, placed elsewhere is handed over, one at a time, once it and the other node have been there for a while
 *   our lease over                   every slot is dropped: no answer, no effect
 *
 * How a slot is claimed, served and handed over is in `holding.ts`.
 */
import type { SlotState } from '../../actors/slot.ts';
import {
  type Held,
  type Holding,
  heldOf,
  isUs,
  openHolding,
  release,
  type SlotWork,
  sayAgain,
  step,
  tellWaiters,
  until,
} from './holding.ts';
import type { Membership } from './membership.ts';
import type { OwnedSlot } from './slots.ts';
import type { HostWorld } from './world.ts';

/** A node must live for so long before a slot moves to it, and a slot be where it is: what comes and goes moves nothing. */
export const SETTLED_MS = 10_000;
/** A slot that was fenced is not asked for again before the bucket has had time to say whose it is. */
const FENCED_MS = 5_000;

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

type Wanting = {
  readonly holding: Holding;
  /** This node hands everything over. */
  isLeaving: boolean;
  isSoon: boolean;
  /** When to look again at a node that has not lived for long enough; monotonic ms. */
  wakeAt: number;
};

export function startOwner(
  world: HostWorld,
  membership: Membership,
  work: SlotWork,
  fatal: (error: unknown) => void,
): Owner {
  const evaluateSoon = (): void => soon(wanting);
  const holding = openHolding({ world, membership, work, fatal, evaluateSoon });
  const { slots, releasing, stopping } = holding;
  const wanting: Wanting = { holding, isLeaving: false, isSoon: false, wakeAt: 0 };
  const dropAll = (): void => {
    for (const here of slots) step(holding, here, { type: 'lost' });
  };
  const forget = [membership.onChange(evaluateSoon), membership.onLeaseOver(dropAll)];
  evaluateSoon();
  return {
    owned: () => slots.filter(isServed).flatMap(({ owned }) => owned ?? []),
    find: (slot) => {
      const here = heldOf(holding, slot);
      return isServed(here) ? here.owned : null;
    },
    state: (slot) => heldOf(holding, slot).state.mode,
    fenced: (slot) => void letGo(holding, slot),
    drain: async () => {
      wanting.isLeaving = true;
      evaluate(wanting);
      const isIdle = (): boolean => slots.every(({ state }) => state.mode === 'idle');
      await until(holding, () => isIdle() && releasing.size === 0);
    },
    undrain: () => {
      wanting.isLeaving = false;
      evaluateSoon();
    },
    settled: () => until(holding, () => slots.every((here) => isSettled(holding, here))),
    stop: async () => {
      stopping.abort();
      for (const end of forget) end();
      dropAll();
    },
  };
}

const isServed = ({ state }: Held): boolean => state.mode === 'owned' || state.mode === 'draining';

/** Owned, or another's to have. */
function isSettled({ membership }: Holding, { slot, state }: Held): boolean {
  const isOurs = membership.ranked(slot)[0] === membership.node;
  return state.mode === 'owned' || !isOurs || isHeldByOther(membership, slot);
}

async function letGo(holding: Holding, slot: number): Promise<void> {
  const { world, releasing, stopping, evaluateSoon } = holding;
  step(holding, heldOf(holding, slot), { type: 'lost' });
  releasing.add(slot);
  await world.clock.sleep(FENCED_MS, stopping.signal);
  releasing.delete(slot);
  tellWaiters(holding);
  evaluateSoon();
}

// ── What should be ours ───────────────────────────────────────────────────

/** However much changes in one tick, it is looked at once. */
function soon(wanting: Wanting): void {
  if (wanting.isSoon) return;
  wanting.isSoon = true;
  wanting.holding.world.nextTick(() => {
    wanting.isSoon = false;
    evaluate(wanting);
  });
}

function evaluate(wanting: Wanting): void {
  const { slots, stopping, membership } = wanting.holding;
  if (stopping.signal.aborted || membership.lease.msLeft() === 0) return;
  wanting.wakeAt = Number.POSITIVE_INFINITY;
  const moving = { is: slots.some(({ state }) => state.mode === 'draining') };
  for (const here of slots) {
    reconcile(wanting, here);
    evaluateOne(wanting, here, moving);
  }
  if (wanting.wakeAt < Number.POSITIVE_INFINITY) void evaluateAt(wanting, wanting.wakeAt);
}

/** Claims a slot that is free and placed here, or was handed to us; hands over what is placed elsewhere, one slot at a time. */
function evaluateOne(wanting: Wanting, here: Held, moving: { is: boolean }): void {
  const { holding, isLeaving } = wanting;
  const { membership, releasing } = holding;
  const { slot } = here;
  const [best] = membership.ranked(slot);
  const isFree = !releasing.has(slot) && !isHeldByOther(membership, slot);
  const isToBeOurs = best === membership.node || isUs(membership, membership.table.get(slot));
  if (here.state.mode === 'idle' && isToBeOurs && !isLeaving && isFree) {
    step(holding, here, { type: 'wanted' });
  }
  if (here.state.mode !== 'owned') return;
  if (membership.table.get(slot) === null) void sayAgain(holding, here);
  const isElsewhere = best !== membership.node && best !== undefined;
  const mayMove = !moving.is && isElsewhere && isSteady(wanting, here, best);
  if (!isLeaving && !mayMove) return;
  moving.is = true;
  step(holding, here, { type: 'unwanted' });
}

/** Makes what we do and what the bucket says agree: after a lapse of the lease, or where somebody else claimed it. */
function reconcile({ holding, isLeaving }: Wanting, here: Held): void {
  const { world, membership, releasing } = holding;
  const { slot, state } = here;
  const row = membership.table.get(slot);
  if (state.mode === 'idle') {
    if (isLeaving && isUs(membership, row) && !releasing.has(slot)) void release(holding, slot);
    return;
  }
  if (state.mode !== 'acquiring' && row !== null && !isUs(membership, row)) {
    world.log.warn({ slot, to: row.node }, 'slots: the bucket names another; let go');
    step(holding, here, { type: 'lost' });
  }
}

/** What has not been so for long enough is looked at again when it has. */
function isSteady(wanting: Wanting, { since }: Held, node: string): boolean {
  const { world, membership } = wanting.holding;
  const livesSince = membership.live().get(node)?.since ?? Number.POSITIVE_INFINITY;
  const due = Math.max(since, livesSince) + SETTLED_MS;
  if (world.clock.monotonic() >= due) return true;
  wanting.wakeAt = Math.min(wanting.wakeAt, due);
  return false;
}

async function evaluateAt({ holding }: Wanting, due: number): Promise<void> {
  const { clock } = holding.world;
  await clock.sleep(Math.max(due - clock.monotonic(), 1), holding.stopping.signal);
  holding.evaluateSoon();
}

/** True if the bucket names a node that lives, in the incarnation that wrote the row. */
function isHeldByOther(membership: Membership, slot: number): boolean {
  const row = membership.table.get(slot);
  if (row === null || row.node === null || isUs(membership, row)) return false;
  return membership.live().get(row.node)?.incarnation === row.incarnation;
}
