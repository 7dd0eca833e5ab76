/**
 * Warm standby: this node follows the ledger of the slots that it would own next, so that a take-over has nothing left to fold.
 * That there is nothing left it knows from the ledger itself: the record that makes it the owner comes after all others.
 */
import { within } from '../ending.ts';
import { textOf } from '../errors.ts';
import { type ListKey, SLOTS } from '../mail/list-key.ts';
import { asideRow } from '../store/aside.ts';
import type { StoredRecord } from '../world.ts';
import { BrokenChainError, foldRecord } from './chain.ts';
import { inSlices, unfolded } from './fold.ts';
import { tellWaiters, until } from './holding.ts';
import type { Membership } from './membership.ts';
import type { Owner } from './owner.ts';
import { type OwnedSlot, ownSlot } from './slots.ts';
import type { HostWorld } from './world.ts';

/** Nodes come in groups; the slots to follow are looked at when they have come, and have what is theirs. */
const SETTLE_MS = 1_000;
const AGAIN_MS = 1_000;
/** How long the record that makes us the owner is waited for; what has not come by then is asked for. */
const LAST_MS_MAX = 1_000;

export type Standby = {
  /** How far each followed slot is folded. */
  followed(): readonly OwnedSlot[];
  /**
   * Follows these no more: they were acquired. Resolves when they are folded as far as they are followed, up to their epochs
   * unless that takes too long; {@link OwnedSlot.reached} says so.
   */
  leave(owned: readonly OwnedSlot[]): Promise<void>;
  stop(): Promise<void>;
};

export function startStandby(
  world: HostWorld,
  membership: Membership,
  owner: Pick<Owner, 'state'>,
): Standby {
  const { clock, rows } = world;
  const stopping = new AbortController();
  let following = new AbortController();
  const waiters = new Set<() => void>();
  const told = (): void => tellWaiters({ waiters });
  let slots: Followed = new Map();
  let isSettling = false;
  let running: Promise<void> = Promise.resolve();

  /** Slots that are about to be owned: who begins anew misses the record that says so. */
  const areOnTheirWay = (): boolean =>
    [...slots.keys()].some((slot) => ['acquiring', 'recovering'].includes(owner.state(slot)));

  /** The slots that are ours next: if their owner goes, or when it hands them over. */
  const wanted = (): number[] =>
    Array.from({ length: SLOTS }, (_, slot) => slot).filter(
      (slot) =>
        owner.state(slot) === 'idle' &&
        membership.ranked(slot).slice(0, 2).includes(membership.node),
    );

  async function settle(): Promise<void> {
    if (isSettling) return;
    isSettling = true;
    do await clock.sleep(SETTLE_MS, stopping.signal);
    while (!stopping.signal.aborted && areOnTheirWay());
    isSettling = false;
    if (stopping.signal.aborted) return;
    const next = wanted();
    if (next.length === slots.size && next.every((slot) => slots.has(slot))) return;
    following.abort();
    following = new AbortController();
    const { signal } = following;
    await running;
    // What changed meanwhile was looked at meanwhile: nobody may be left to follow what others know nothing of.
    if (stopping.signal.aborted || signal.aborted) return;
    slots = new Map(wanted().map((slot) => [slot, ownSlot(rows, slot, 0)]));
    told();
    if (slots.size > 0) running = follow(world, slots, told, signal);
  }

  const isFolded = ({ slot, epoch }: OwnedSlot): boolean =>
    (slots.get(slot)?.reached() ?? epoch) >= epoch;

  const forget = membership.onChange(() => void settle());
  void settle();
  return {
    followed: () => [...slots.values()],
    leave: async (owned) => {
      const folded = until({ waiters }, () => owned.every(isFolded));
      await within(clock, LAST_MS_MAX, folded);
      for (const slot of owned) {
        slot.folded(slots.get(slot.slot)?.reached() ?? 0);
        slots.delete(slot.slot);
      }
      told();
    },
    stop: async () => {
      forget();
      stopping.abort();
      following.abort();
      await running;
    },
  };
}

/** By slot; one that is about to be owned is taken out meanwhile. */
type Followed = Map<number, OwnedSlot>;

async function follow(
  world: HostWorld,
  slots: Followed,
  told: () => void,
  signal: AbortSignal,
): Promise<void> {
  const { clock, ledger, log } = world;
  while (!signal.aborted) {
    try {
      // What there is, quiet slots apart; then all of them from where that ended.
      const end = await ledger.end();
      for await (const [, stored] of inSlices(world, unfolded(world, [...slots.values()]))) {
        if (signal.aborted) return;
        fold(world, slots, stored);
      }
      const news = ledger.follow([...slots.keys()], end, signal);
      for await (const stored of inSlices(world, news)) {
        if (signal.aborted) return;
        const { whose } = stored;
        if (whose !== 'owner') fold(world, slots, { ...stored, key: whose });
        else slots.get(stored.slot)?.folded(stored.seq);
        if (whose === 'owner') told();
      }
    } catch (error) {
      log.warn({ error: textOf(error) }, 'standby: following again');
      await clock.sleep(AGAIN_MS, signal);
    }
  }
}

function fold(
  world: HostWorld,
  slots: Followed,
  stored: StoredRecord & { slot: number; key: ListKey },
): void {
  const { log, rows } = world;
  const slot = slots.get(stored.slot);
  if (slot === undefined) return; // It is about to be owned.
  try {
    const folded = foldRecord(world, stored.key, stored);
    slot.folded(stored.seq);
    const row = slot.reachedRow();
    rows.commit([...(folded?.writes ?? []), ...(row === null ? [] : [row])]);
  } catch (error) {
    if (!(error instanceof BrokenChainError)) throw error;
    // Mended, or set aside, by whoever owns it, and by us should we be next; till then it is only not kept warm.
    const isNews = rows.get(asideRow(stored.key)) === undefined;
    rows.commit([[asideRow(stored.key), error.message]]);
    log.warn({ list: stored.key, error: error.message }, 'standby: a list does not fit');
    // Its owner has read past what is wrong: it looks for itself, and sets the list aside if it is the ledger that is at fault.
    if (isNews) void world.askOwner(stored.key, { ask: 'chain' });
  }
}
