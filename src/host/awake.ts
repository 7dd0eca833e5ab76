/**
 * The lists that are awake: each one a queue of commands, one turn at a time, and its outbox. All else is rows, so a list that
 * sleeps takes next to no memory.
 */
import { type Ending, endWith, within } from '../ending.ts';
import { MailError, textOf } from '../errors.ts';
import { type ListKey, slotOf } from '../mail/list-key.ts';
import { openDraft } from '../store/list-rows.ts';
import { type Aside, createAside } from './aside.ts';
import { type Asleep, createAsleep } from './asleep.ts';
import {
  type Awake,
  finished,
  isBlocked,
  isPassive,
  notHere,
  refusalOf,
  refuseAll,
  setAside,
  tellWatchers,
  watched,
} from './awake-list.ts';
import { BrokenChainError, isWhole, mend } from './chain.ts';
import type { Committer } from './commit.ts';
import { createPerform } from './effects.ts';
import { createOutbox, type Perform } from './outbox.ts';
import type { Running } from './questions.ts';
import { createRepairs, type Repairs } from './repair.ts';
import type { OwnedSlot } from './slots.ts';
import { takeTurn, type Waiting } from './turn.ts';
import type { HostWorld } from './world.ts';

/** Handing a slot over waits so long for turns and effects that are under way, and then for the last markers. */
const DRAIN_MS_MAX = 1_000;
const MARKERS_MS_MAX = 500;
/** While the ledger cannot be read. */
const CHECK_AGAIN_MS = 250;

export type Lists = {
  readonly enqueue: (key: ListKey, waiting: Waiting) => void;
  /** Wakes a list whose outbox a crash left undone. */
  readonly resume: (key: ListKey) => void;
  /** It takes no turn until somebody has looked at it. */
  readonly isSetAside: (key: ListKey) => boolean;
  /** Why this list cannot take a command now; null if it can. */
  readonly refusal: (key: ListKey) => MailError | null;
  /** Commands that wait for a turn of the list. */
  readonly waiting: (key: ListKey) => number;
  /** Resolves after the list's next turn; at once if it sleeps. */
  readonly turned: (key: ListKey) => Promise<void>;
  /** Appends a record even if there is nothing to say; resolves with why it could not. */
  readonly barrier: (key: ListKey) => Promise<MailError | null>;
  readonly repairs: Repairs;
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
  readonly aside: Aside;
};

export function createLists(needs: ListsNeeds): Lists {
  const state: State = {
    ...{ ...needs, perform: createPerform(needs.world) },
    ...{ awake: new Map(), asleep: createAsleep() },
    ...{ served: new Map(), aside: createAside(needs.world) },
  };
  const { world, awake, served, aside } = state;
  const resume = (key: ListKey): void => {
    if (!aside.has(key)) wake(state, key)?.outbox.kick();
  };
  return {
    enqueue: (key, waiting) => enqueue(state, key, waiting),
    resume,
    isSetAside: aside.has,
    refusal: (key) => (aside.has(key) ? setAside() : refusalOf(world, awake.get(key))),
    waiting: (key) => awake.get(key)?.waiting.length ?? 0,
    turned: async (key) => {
      const list = awake.get(key);
      if (list !== undefined) await watched(list);
    },
    barrier: (key) => barrier(state, key),
    repairs: createRepairs({
      ...{ ...needs, isSetAside: aside.has },
      served: (key) => served.get(slotOf(key))?.slot ?? null,
      broken: (key, error) => {
        aside.add(key, error);
        const list = awake.get(key);
        if (list !== undefined) forget(state, list, setAside());
      },
      mended: (key) => {
        aside.remove(key);
        resume(key);
      },
    }),
    running: (key) => runningOf(state, key),
    sweep: () => {
      const before = world.clock.monotonic() - world.passiveMs;
      for (const list of awake.values()) if (isPassive(list, before)) fallAsleep(state, list);
    },
    status: () => ({
      awake: awake.size,
      blocked: [...awake.values()].filter((list) => isBlocked(world, list)).map(({ key }) => key),
      quarantined: aside.all(),
    }),
    serve: (slot) => {
      served.set(slot.slot, { slot, leaving: endWith(slot.signal) });
      aside.serve(slot.slot);
    },
    drain: (slot) => drain(state, slot),
    drop: (slot) => {
      if (served.get(slot.slot)?.slot === slot) {
        served.delete(slot.slot);
        aside.forget(slot.slot);
      }
      for (const list of inSlot(state, slot)) forget(state, list, notHere());
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
  const leaving = endWith(here.leaving.signal);
  const list: Awake = {
    key,
    slot: here.slot,
    waiting: [],
    outbox: createOutbox(world, key, perform, leaving.signal, onRest),
    leaving,
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

/** The list, awake; or why it cannot be. */
function wakeToTurn(state: State, key: ListKey): Awake | MailError {
  const list = state.aside.has(key) ? setAside() : wake(state, key);
  if (list instanceof MailError) return list;
  if (list === null || list.slot.signal.aborted) return notHere();
  list.usedAt = state.world.clock.monotonic();
  return list;
}

function enqueue(state: State, key: ListKey, waiting: Waiting): void {
  const list = wakeToTurn(state, key);
  if (list instanceof MailError) {
    waiting.reply({ kind: 'failed', error: list });
    return;
  }
  list.waiting.push(waiting);
  void turns(state, list);
}

function barrier(state: State, key: ListKey): Promise<MailError | null> {
  const list = wakeToTurn(state, key);
  if (list instanceof MailError) return Promise.resolve(list);
  const passed = new Promise<MailError | null>((resolve) => list.barriers.push(resolve));
  void turns(state, list);
  return passed;
}

// ── Turns ─────────────────────────────────────────────────────────────────

/** Turns, one after another, until nothing waits. */
async function turns(state: State, list: Awake): Promise<void> {
  const { world, fatal } = state;
  if (list.isTurning) return;
  list.isTurning = true;
  try {
    while (list.waiting.length > 0 || list.wantsMarker || list.barriers.length > 0) {
      if (!list.isChecked && !(await check(state, list))) return;
      const isMarker = list.wantsMarker || list.barriers.length > 0;
      if (!isMarker && isBlocked(world, list)) await waitForOutbox(state, list);
      list.wantsMarker = false;
      if (!(await turnOrMend(state, list))) return;
      list.outbox.kick();
    }
  } catch (error) {
    if (error instanceof BrokenChainError) quarantine(state, list, error);
    else fatal(error);
  } finally {
    list.isTurning = false;
    tellWatchers(list);
  }
}

/** Once each time it wakes. False if it may not go on. */
async function check(state: State, list: Awake): Promise<boolean> {
  const { world, asleep } = state;
  const { key, slot } = list;
  const { hash } = openDraft(world.rows, key, 0).head();
  list.isChecked =
    asleep.isAsLeft(key, { epoch: slot.epoch, hash }) ||
    (await patiently(
      state,
      list,
      async () => (await isWhole(world, slot.slot, key)) || (await isMended(state, list)),
    ));
  return list.isChecked;
}

/** Repeats what reads the ledger until it could; false too if the slot is lost. */
async function patiently(state: State, list: Awake, attempt: () => Promise<boolean>) {
  const { world } = state;
  const { key, slot } = list;
  for (let tries = 0; !slot.signal.aborted; tries++) {
    try {
      return await attempt();
    } catch (error) {
      world.log.warn({ list: key, error: textOf(error), tries }, 'host: cannot read the ledger');
      await world.clock.sleep(CHECK_AGAIN_MS, slot.signal);
    }
  }
  refuseAll(list, notHere());
  return false;
}

/** Its rows may be at fault: then they are folded anew, and the list goes on. False if it may not. */
async function isMended(state: State, list: Awake): Promise<boolean> {
  const { world } = state;
  const { key, slot } = list;
  const broken = await mend(world, slot.slot, key);
  if (broken !== null) {
    quarantine(state, list, broken);
    return false;
  }
  world.log.warn({ list: key }, 'host: its rows did not fit the ledger; folded anew');
  const isStale = openDraft(world.rows, key, 0).head().epoch > slot.epoch;
  return isStale ? letGo(state, list, true) : true;
}

async function waitForOutbox({ world }: State, list: Awake): Promise<void> {
  const failing = list.outbox.failing();
  world.log.warn({ list: list.key, failing }, 'host: blocked by its outbox; its commands wait');
  await list.outbox.progressed();
}

/** False if there shall be no further turn. A gap that does not fit may be the rows' fault: they are folded anew, once. */
async function turnOrMend(state: State, list: Awake): Promise<boolean> {
  try {
    return await turn(state, list);
  } catch (error) {
    if (!(error instanceof BrokenChainError)) throw error;
    const isFit = await patiently(state, list, () => isMended(state, list));
    return isFit && (await turn(state, list));
  }
}

/** False if there shall be no further turn. */
async function turn(state: State, list: Awake): Promise<boolean> {
  const { world, committer } = state;
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
  return letGo(state, list, outcome === 'stale');
}

function letGo({ world, fenced }: State, list: Awake, isStale: boolean): false {
  const { key, slot } = list;
  refuseAll(list, notHere());
  if (!isStale || slot.signal.aborted) return false;
  world.log.error({ list: key, slot: slot.slot }, 'host: another owner writes; slot let go');
  fenced(slot.slot);
  return false;
}

// ── Leaving ───────────────────────────────────────────────────────────────

/** Its ledger does not hold together: nothing more is decided or sent for it. Another's to find, where the slot is lost. */
function quarantine(state: State, list: Awake, error: BrokenChainError): void {
  const isOurs = !list.slot.signal.aborted;
  if (isOurs) state.aside.add(list.key, error);
  forget(state, list, isOurs ? setAside() : notHere());
}

function fallAsleep({ world, awake, asleep }: State, list: Awake): void {
  const { key, slot, isChecked } = list;
  const { hash } = openDraft(world.rows, key, 0).head();
  if (isChecked) asleep.leave(key, { epoch: slot.epoch, hash });
  list.leaving.end();
  awake.delete(key);
}

async function drain(state: State, slot: OwnedSlot): Promise<void> {
  const { world, served } = state;
  const lists = inSlot(state, slot);
  served.get(slot.slot)?.leaving.end();
  served.delete(slot.slot); // Nobody is woken any more; those awake finish.
  await within(world.clock, DRAIN_MS_MAX, Promise.all(lists.map((list) => finished(list))));
  const markers = lists.filter((list) => list.outbox.untoldDone() !== null);
  for (const list of markers) list.wantsMarker = true;
  await within(world.clock, MARKERS_MS_MAX, Promise.all(markers.map((list) => turns(state, list))));
  for (const list of lists) forget(state, list, notHere());
  if (!slot.signal.aborted) state.aside.forget(slot.slot); // Else it was dropped, and may be ours anew.
}

function forget({ awake }: State, list: Awake, why: MailError): void {
  list.leaving.end();
  if (awake.get(list.key) === list) awake.delete(list.key);
  refuseAll(list, why);
}

// ── What is told of a list ────────────────────────────────────────────────

function runningOf(state: State, key: ListKey): ReturnType<Lists['running']> {
  const { world, awake, served, aside } = state;
  const list = awake.get(key);
  return {
    slot: slotOf(key),
    epoch: served.get(slotOf(key))?.slot.epoch ?? 0,
    lag: served.get(slotOf(key))?.slot.lag(key) ?? 0,
    outbox: {
      waiting: list?.outbox.waiting() ?? openDraft(world.rows, key, 0).head().waiting,
      failing: list?.outbox.failing() ?? null,
      oldest: list?.outbox.oldest() ?? null,
    },
    blocked: list !== undefined && isBlocked(world, list),
    quarantined: aside.why(key),
    waiting: list?.waiting.length ?? 0,
  };
}
