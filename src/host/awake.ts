/**
 * The lists that are awake: each one a queue of commands, one turn at a time, and its outbox. All else is rows, so a list that
 * sleeps takes next to no memory.
 */
import { type Ending, endWith, within } from '../ending.ts';
import { MailError, textOf } from '../errors.ts';
import { type ListKey, slotOf } from '../mail/list-key.ts';
import { openDraft } from '../store/list-rows.ts';
import { type Asleep, createAsleep } from './asleep.ts';
import type { Committer } from './commit.ts';
import { createPerform } from './effects.ts';
import { BrokenChainError, isWhole, mend } from './fold.ts';
import { BLOCKED_AT, createOutbox, type Outbox, type Perform } from './outbox.ts';
import type { Running } from './questions.ts';
import type { OwnedSlot } from './slots.ts';
import { takeTurn, type Waiting } from './turn.ts';
import type { HostWorld } from './world.ts';

/** Handing a slot over waits so long for turns and effects that are under way, and then for the last markers. */
const DRAIN_MS_MAX = 1_000;
const MARKERS_MS_MAX = 500;
/** While the ledger cannot be read. */
const CHECK_AGAIN_MS = 250;
/** Commands of one list that callers may have waiting; past that they are told to come again. */
const ASKED_MAX = 4_096;

type Awake = {
  readonly key: ListKey;
  readonly slot: OwnedSlot;
  readonly waiting: Waiting[];
  readonly outbox: Outbox;
  /** Its rows were compared with the ledger since it woke, or when it woke before and are as it left them. */
  isChecked: boolean;
  isTurning: boolean;
  wantsMarker: boolean;
  /** Who waits for an empty record to be appended. */
  readonly barriers: ((failed: MailError | null) => void)[];
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
  /** Appends a record even if there is nothing to say; resolves with why it could not. */
  readonly barrier: (key: ListKey) => Promise<MailError | null>;
  readonly running: (key: ListKey) => Omit<Running, 'leaseMsLeft' | 'node' | 'asOf'>;
  readonly sweep: () => void;
  readonly status: () => {
    readonly awake: number;
    readonly blocked: readonly ListKey[];
    readonly quarantined: readonly { readonly key: ListKey; readonly why: string }[];
  };
  /** The slot's lists may be woken. */
  readonly serve: (slot: OwnedSlot) => void;
  /** Lets its lists finish their turns, and the ledger know what their outboxes have done; then they sleep. */
  readonly drain: (slot: OwnedSlot) => Promise<void>;
  /** Forgets its lists at once; callers learn that they are not here. */
  readonly drop: (slot: OwnedSlot) => void;
};

export type ListsNeeds = {
  readonly world: HostWorld;
  readonly committer: Committer;
  /** The slot turned out to be another owner's. */
  readonly fenced: (slot: number) => void;
  /** Hears of what this process cannot live with. */
  readonly fatal: (error: unknown) => void;
};

/** A slot that is served, and what ends its outboxes. */
type Served = { readonly slot: OwnedSlot; readonly leaving: Ending };

type State = ListsNeeds & {
  readonly perform: Perform;
  readonly awake: Map<ListKey, Awake>;
  readonly asleep: Asleep;
  readonly served: Map<number, Served>;
  readonly quarantined: Map<ListKey, string>;
};

export function createLists(needs: ListsNeeds): Lists {
  const state: State = {
    ...{ ...needs, perform: createPerform(needs.world) },
    ...{ awake: new Map(), asleep: createAsleep() },
    ...{ served: new Map(), quarantined: new Map() },
  };
  const { world, awake, served } = state;
  return {
    enqueue: (key, waiting) => enqueue(state, key, waiting),
    resume: (key) => wake(state, key)?.outbox.kick(),
    quarantine: (key, error) => quarantine(state, key, error),
    refusal: (key) => refusalOf(world, awake.get(key)),
    waiting: (key) => awake.get(key)?.waiting.length ?? 0,
    turned: async (key) => {
      const list = awake.get(key);
      if (list !== undefined) await watched(list);
    },
    barrier: (key) => barrier(state, key),
    running: (key) => runningOf(state, key),
    sweep: () => {
      const before = world.clock.monotonic() - world.passiveMs;
      for (const list of awake.values()) if (isPassive(list, before)) fallAsleep(state, list);
    },
    status: () => ({
      awake: awake.size,
      blocked: [...awake.values()].filter((list) => isBlocked(world, list)).map(({ key }) => key),
      quarantined: [...state.quarantined].map(([key, why]) => ({ key, why })),
    }),
    serve: (slot) => {
      served.set(slot.slot, { slot, leaving: endWith(slot.signal) });
    },
    drain: (slot) => drain(state, slot),
    drop: (slot) => {
      if (served.get(slot.slot)?.slot === slot) served.delete(slot.slot);
      for (const list of inSlot(state, slot)) forget(state, list);
    },
  };
}

const inSlot = ({ awake }: State, { slot }: OwnedSlot): readonly Awake[] =>
  [...awake.values()].filter((list) => list.slot.slot === slot);

/** Null where its slot is not served. */
function wake(state: State, key: ListKey): Awake | null {
  const { world, awake, served, perform } = state;
  const there = awake.get(key);
  const here = served.get(slotOf(key));
  if (there !== undefined || here === undefined) return there ?? null;
  const onRest = (): void => {
    list.wantsMarker = true;
    void turns(state, list);
  };
  const list: Awake = {
    key,
    slot: here.slot,
    waiting: [],
    outbox: createOutbox(world, key, perform, here.leaving.signal, onRest),
    isChecked: false,
    isTurning: false,
    wantsMarker: false,
    barriers: [],
    usedAt: world.clock.monotonic(),
    watchers: [],
  };
  awake.set(key, list);
  return list;
}

function enqueue(state: State, key: ListKey, waiting: Waiting): void {
  const list = wake(state, key);
  if (list === null || list.slot.signal.aborted) {
    waiting.reply({ kind: 'failed', error: notHere() });
    return;
  }
  list.usedAt = state.world.clock.monotonic();
  list.waiting.push(waiting);
  void turns(state, list);
}

function barrier(state: State, key: ListKey): Promise<MailError | null> {
  const list = wake(state, key);
  if (list === null || list.slot.signal.aborted) return Promise.resolve(notHere());
  const passed = new Promise<MailError | null>((resolve) => list.barriers.push(resolve));
  list.usedAt = state.world.clock.monotonic();
  void turns(state, list);
  return passed;
}

function quarantine(state: State, key: ListKey, error: BrokenChainError): void {
  const { world, awake, quarantined } = state;
  quarantined.set(key, error.message);
  world.log.error({ list: key, err: error }, 'host: a history does not fit; list set aside');
  const list = awake.get(key);
  if (list !== undefined) refuseAll(list, setAside());
}

// ── Turns ─────────────────────────────────────────────────────────────────

/** Turns, one after another, until nothing waits. */
async function turns(state: State, list: Awake): Promise<void> {
  const { world, quarantined, fatal } = state;
  if (list.isTurning) return;
  list.isTurning = true;
  try {
    while (list.waiting.length > 0 || list.wantsMarker || list.barriers.length > 0) {
      if (quarantined.has(list.key)) return refuseAll(list, setAside());
      if (!list.isChecked && !(await check(state, list))) return;
      const isMarker = list.wantsMarker || list.barriers.length > 0;
      if (!isMarker && isBlocked(world, list)) await waitForOutbox(state, list);
      list.wantsMarker = false;
      if (!(await turn(state, list))) return;
      list.outbox.kick();
    }
  } catch (error) {
    if (error instanceof BrokenChainError) quarantine(state, list.key, error);
    else fatal(error);
  } finally {
    list.isTurning = false;
    tellWatchers(list);
  }
}

function fallAsleep({ world, awake, asleep }: State, { key, slot, isChecked }: Awake): void {
  const { hash } = openDraft(world.rows, key, 0).head();
  if (isChecked) asleep.leave(key, { epoch: slot.epoch, hash });
  awake.delete(key);
}

/** Once each time it wakes. False if it may not go on. */
async function check(state: State, list: Awake): Promise<boolean> {
  const { world, asleep } = state;
  const { key, slot } = list;
  const { hash } = openDraft(world.rows, key, 0).head();
  if (asleep.isAsLeft(key, { epoch: slot.epoch, hash })) {
    list.isChecked = true;
    return true;
  }
  for (let tries = 0; !slot.signal.aborted; tries++) {
    try {
      const isFit = (await isWhole(world, slot.slot, key)) || (await isMended(state, list));
      if (!isFit) refuseAll(list, setAside());
      list.isChecked = true;
      return isFit;
    } catch (error) {
      world.log.warn({ list: key, error: textOf(error), tries }, 'host: cannot read the ledger');
      await world.clock.sleep(CHECK_AGAIN_MS, slot.signal);
    }
  }
  refuseAll(list, notHere());
  return false;
}

/** Its rows may be at fault: then they are folded anew, and the list goes on. */
async function isMended(state: State, { key, slot }: Awake): Promise<boolean> {
  const { world } = state;
  const setAsideAs = (broken: ListKey, error: BrokenChainError): void =>
    quarantine(state, broken, error);
  if (!(await mend(world, slot.slot, key, setAsideAs))) return false;
  world.log.warn({ list: key }, 'host: its rows did not fit the ledger; folded anew');
  return true;
}

async function waitForOutbox({ world }: State, list: Awake): Promise<void> {
  const failing = list.outbox.failing();
  world.log.warn({ list: list.key, failing }, 'host: blocked by its outbox; its commands wait');
  await list.outbox.progressed();
}

/** False if there shall be no further turn. */
async function turn({ world, committer, fenced }: State, list: Awake): Promise<boolean> {
  const { key, slot, waiting, outbox } = list;
  const began = world.clock.monotonic();
  const barriers = list.barriers.length; // Who comes later waits for the next turn.
  const { untoldDone } = outbox;
  const of = { key, slot, waiting, untoldDone, isBarrier: barriers > 0 };
  const outcome = await takeTurn(of, world, committer);
  world.meter.observe('turn_ms', world.clock.monotonic() - began);
  tellWatchers(list);
  if (outcome === 'took') for (const passed of list.barriers.splice(0, barriers)) passed(null);
  if (outcome === 'took' || outcome === 'behind') return true;
  refuseAll(list, notHere());
  if (outcome === 'stale' && !slot.signal.aborted) {
    world.log.error({ list: key, slot: slot.slot }, 'host: another owner writes; slot let go');
    fenced(slot.slot);
  }
  return false;
}

// ── Leaving ───────────────────────────────────────────────────────────────

async function drain(state: State, slot: OwnedSlot): Promise<void> {
  const { world, served } = state;
  const lists = inSlot(state, slot);
  served.get(slot.slot)?.leaving.end();
  served.delete(slot.slot); // Nobody is woken any more; those awake finish.
  await within(world.clock, DRAIN_MS_MAX, Promise.all(lists.map((list) => finished(list))));
  const markers = lists.filter((list) => list.outbox.untoldDone() !== null);
  for (const list of markers) list.wantsMarker = true;
  await within(world.clock, MARKERS_MS_MAX, Promise.all(markers.map((list) => turns(state, list))));
  for (const list of lists) forget(state, list);
}

async function finished(list: Awake): Promise<void> {
  await list.outbox.rested();
  while (list.isTurning) await watched(list);
}

function forget({ awake }: State, list: Awake): void {
  if (awake.get(list.key) === list) awake.delete(list.key);
  refuseAll(list, notHere());
}

// ── What is told of a list ────────────────────────────────────────────────

function refusalOf(world: HostWorld, list: Awake | undefined): MailError | null {
  if (list === undefined) return null;
  if (list.waiting.length >= ASKED_MAX) return new MailError(451, '4.3.2', 'busy; try again');
  return isBlocked(world, list)
    ? new MailError(451, '4.3.2', 'the list is blocked by what it still has to send')
    : null;
}

function runningOf(state: State, key: ListKey): ReturnType<Lists['running']> {
  const { world, awake, served, quarantined } = state;
  const list = awake.get(key);
  return {
    slot: slotOf(key),
    epoch: served.get(slotOf(key))?.slot.epoch ?? 0,
    lag: served.get(slotOf(key))?.slot.lag(key) ?? 0,
    outbox: {
      waiting: list?.outbox.waiting() ?? 0,
      failing: list?.outbox.failing() ?? null,
      oldest: list?.outbox.oldest() ?? null,
    },
    blocked: list !== undefined && isBlocked(world, list),
    quarantined: quarantined.get(key) ?? null,
    waiting: list?.waiting.length ?? 0,
  };
}

const notHere = (): MailError => new MailError(451, '4.3.0', 'the list is not here now; try again');
const setAside = (): MailError =>
  new MailError(451, '4.3.0', 'the list is set aside until its operator has looked at it');

const watched = (list: Awake): Promise<void> =>
  new Promise((resolve) => list.watchers.push(resolve));

function tellWatchers(list: Awake): void {
  for (const tell of list.watchers.splice(0)) tell();
}

function refuseAll(list: Awake, error: MailError): void {
  for (const failed of list.barriers.splice(0)) failed(error);
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
