/**
 * The lists that are awake: each one a queue of commands, one turn at a time, and its outbox. All else is rows, so a list that
 * sleeps takes no memory at all.
 */
import { MailError } from '../errors.ts';
import { type ListKey, slotOf } from '../mail/list-key.ts';
import { openDraft } from '../store/list-rows.ts';
import type { Committer } from './commit.ts';
import { createPerform } from './effects.ts';
import { BrokenChainError } from './fold.ts';
import { BLOCKED_AT, createOutbox, type Outbox } from './outbox.ts';
import type { Running } from './questions.ts';
import type { OwnedSlot } from './slots.ts';
import { takeTurn, type Waiting } from './turn.ts';
import type { HostWorld } from './world.ts';

/** A list that has had nothing to do for this long leaves memory. */
const PASSIVE_AFTER_MS = 60_000;
/** How long stopping waits for turns that are under way, and then for the last markers. */
const STOP_MS_MAX = 10_000;
const MARKERS_MS_MAX = 1_000;
const STOP_LOOK_MS = 10;
/** Commands of one list that callers may have waiting; past that they are told to come again. */
const ASKED_MAX = 4_096;

type Awake = {
  readonly key: ListKey;
  readonly slot: OwnedSlot;
  readonly waiting: Waiting[];
  readonly outbox: Outbox;
  isTurning: boolean;
  wantsMarker: boolean;
  usedAt: number;
  /** Called after the next turn. */
  readonly watchers: (() => void)[];
};

export type Lists = {
  readonly enqueue: (key: ListKey, waiting: Waiting) => void;
  /** Wakes a list whose outbox a crash left undone. */
  readonly resume: (key: ListKey) => void;
  /** Sets a list aside: its history does not fit its rows. */
  readonly quarantine: (key: ListKey, error: BrokenChainError) => void;
  /** Why this list cannot take a command now; null if it can. */
  readonly refusal: (key: ListKey) => MailError | null;
  /** Commands that wait for a turn of the list. */
  readonly waiting: (key: ListKey) => number;
  /** Resolves after the list's next turn; at once if it sleeps. */
  readonly turned: (key: ListKey) => Promise<void>;
  readonly running: (key: ListKey) => Running;
  readonly sweep: () => void;
  readonly status: () => {
    readonly awake: number;
    readonly blocked: readonly ListKey[];
    readonly quarantined: readonly { readonly key: ListKey; readonly why: string }[];
  };
  /** Finishes the turns under way, then appends what the outboxes have done. */
  readonly settle: () => Promise<void>;
};

export type ListsNeeds = {
  readonly world: HostWorld;
  /** The slots this node owns now; a stale one is deleted from it. */
  readonly slots: Map<number, OwnedSlot>;
  readonly committer: Committer;
  /** Aborts when outboxes are to stop; `ending` when turns are to stop too. */
  readonly stopping: AbortSignal;
  readonly ending: AbortSignal;
  /** Hears of what this process cannot live with. */
  readonly fatal: (error: unknown) => void;
};

export function createLists(needs: ListsNeeds): Lists {
  const { world, slots } = needs;
  const awake = new Map<ListKey, Awake>();
  const quarantined = new Map<ListKey, string>();
  const perform = createPerform(world);

  function wake(key: ListKey): Awake | null {
    const there = awake.get(key);
    const slot = slots.get(slotOf(key));
    if (there !== undefined || slot === undefined) return there ?? null;
    const rested = (): void => {
      list.wantsMarker = true;
      void turns(list);
    };
    const list: Awake = {
      key,
      slot,
      waiting: [],
      outbox: createOutbox(world, key, perform, needs.stopping, rested),
      isTurning: false,
      wantsMarker: false,
      usedAt: world.clock.monotonic(),
      watchers: [],
    };
    awake.set(key, list);
    return list;
  }

  function enqueue(key: ListKey, waiting: Waiting): void {
    const list = wake(key);
    if (list === null || needs.ending.aborted) {
      waiting.reply({ kind: 'failed', error: notHere() });
      return;
    }
    list.usedAt = world.clock.monotonic();
    list.waiting.push(waiting);
    void turns(list);
  }

  /** Turns, one after another, until nothing waits. */
  async function turns(list: Awake): Promise<void> {
    if (list.isTurning) return;
    list.isTurning = true;
    try {
      while (list.waiting.length > 0 || list.wantsMarker) {
        if (quarantined.has(list.key)) return refuseAll(list, setAside());
        if (!list.wantsMarker && isBlocked(world, list)) await waitForOutbox(list);
        list.wantsMarker = false;
        if (!(await turn(list))) return;
        list.outbox.kick();
      }
    } catch (error) {
      if (error instanceof BrokenChainError) quarantine(list.key, error);
      else needs.fatal(error);
    } finally {
      list.isTurning = false;
    }
  }

  async function waitForOutbox(list: Awake): Promise<void> {
    const failing = list.outbox.failing();
    world.log.warn({ list: list.key, failing }, 'host: blocked by its outbox; its commands wait');
    await list.outbox.progressed();
  }

  /** False if there shall be no further turn. */
  async function turn(list: Awake): Promise<boolean> {
    const { key, slot, waiting, outbox } = list;
    const { untoldDone } = outbox;
    const began = world.clock.monotonic();
    const of = { key, slot, waiting, untoldDone, signal: needs.ending };
    const outcome = await takeTurn(of, world, needs.committer);
    world.meter.observe('turn_ms', world.clock.monotonic() - began);
    for (const tell of list.watchers.splice(0)) tell();
    if (outcome === 'stale') {
      world.log.error({ list: key, slot: slot.slot }, 'host: another owner writes; slot let go');
      slots.delete(slot.slot);
      awake.delete(key);
      refuseAll(list, notHere());
    }
    return outcome === 'took' || outcome === 'behind';
  }

  function quarantine(key: ListKey, error: BrokenChainError): void {
    quarantined.set(key, error.message);
    world.log.error({ list: key, err: error }, 'host: a history does not fit; list set aside');
    const list = awake.get(key);
    if (list !== undefined) refuseAll(list, setAside());
  }

  return {
    enqueue,
    resume: (key) => wake(key)?.outbox.kick(),
    quarantine,
    refusal: (key) => {
      const list = awake.get(key);
      if (list === undefined) return null;
      if (list.waiting.length >= ASKED_MAX) return new MailError(451, '4.3.2', 'busy; try again');
      return isBlocked(world, list)
        ? new MailError(451, '4.3.2', 'the list is blocked by what it still has to send')
        : null;
    },
    waiting: (key) => awake.get(key)?.waiting.length ?? 0,
    turned: (key) =>
      new Promise((resolve) => {
        const list = awake.get(key);
        if (list === undefined) resolve();
        else list.watchers.push(resolve);
      }),
    running: (key) => {
      const list = awake.get(key);
      return {
        node: world.node,
        slot: slotOf(key),
        epoch: slots.get(slotOf(key))?.epoch ?? 0,
        leaseMsLeft: null,
        asOf: world.clock.now(),
        outbox: {
          waiting: list?.outbox.waiting() ?? 0,
          failing: list?.outbox.failing() ?? null,
          oldest: list?.outbox.oldest() ?? null,
        },
        blocked: list !== undefined && isBlocked(world, list),
        quarantined: quarantined.get(key) ?? null,
        waiting: list?.waiting.length ?? 0,
      };
    },
    sweep: () => {
      const before = world.clock.monotonic() - PASSIVE_AFTER_MS;
      for (const [key, list] of awake) if (isPassive(list, before)) awake.delete(key);
    },
    status: () => ({
      awake: awake.size,
      blocked: [...awake.values()].filter((list) => isBlocked(world, list)).map(({ key }) => key),
      quarantined: [...quarantined].map(([key, why]) => ({ key, why })),
    }),
    settle: () => settle(world, [...awake.values()], turns),
  };
}

const notHere = (): MailError => new MailError(451, '4.3.0', 'the list is not here now; try again');
const setAside = (): MailError =>
  new MailError(451, '4.3.0', 'the list is set aside until its operator has looked at it');

function refuseAll(list: Awake, error: MailError): void {
  for (const { reply } of list.waiting.splice(0)) reply({ kind: 'failed', error });
}

/** Looked at through the head's counter first, which costs one read whatever waits. */
function isBlocked(world: HostWorld, list: Awake): boolean {
  return (
    openDraft(world.rows, list.key, 0).head().waiting >= BLOCKED_AT &&
    list.outbox.waiting() >= BLOCKED_AT
  );
}

function isPassive(list: Awake, before: number): boolean {
  const isBusy = list.isTurning || list.waiting.length > 0 || !list.outbox.isIdle();
  return !isBusy && list.usedAt < before;
}

async function settle(
  world: HostWorld,
  lists: readonly Awake[],
  turns: (list: Awake) => Promise<void>,
): Promise<void> {
  const until = world.clock.monotonic() + STOP_MS_MAX;
  while (lists.some((list) => list.isTurning) && world.clock.monotonic() < until)
    await world.clock.sleep(STOP_LOOK_MS);
  const markers = lists.filter((list) => list.outbox.untoldDone() !== null);
  for (const list of markers) list.wantsMarker = true;
  await Promise.race([Promise.all(markers.map(turns)), world.clock.sleep(MARKERS_MS_MAX)]);
}
