/**
 * The outbox of one list: its effects, in order, apart from its turns (design §3, Effects).
 *
 * An effect is done when the world has it; how far the outbox is done rides on the list's next record, or on a marker after a
 * second of rest. Effects that do not depend on each other are done together.
 */
import type { Effect } from '../../actors/protocol.ts';
import { textOf } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import { type Done, openDraft } from '../store/list-rows.ts';
import type { RowKey } from '../world.ts';
import { chunksOf } from './fanout.ts';
import type { HostWorld } from './world.ts';

/** At this many waiting rows the list takes no further turn until some are done. */
export const BLOCKED_AT = 1_000;
/** Effects done together at most. */
const TOGETHER_MAX = 64;
/** How long the outbox rests before a marker tells the ledger how far it is. */
const REST_MS = 1_000;
const AGAIN_MS_MIN = 100;
const AGAIN_MS_MAX = 60_000;

export type Doing = {
  /** What it is an effect of. */
  readonly at: Pick<Done, 'n' | 'index'>;
  /** The chunk to go on from. */
  readonly from: number;
  /** It may have been done before, and longer ago than any window of dedupe. */
  readonly isAgain: boolean;
  readonly progress: (chunks: number) => void;
};

/** Performs one effect; throws to be asked again. */
export type Perform = (key: ListKey, effect: Effect, doing: Doing) => Promise<void>;

export type Outbox = {
  /** There may be new rows. */
  kick(): void;
  /** How far it is, if the ledger does not know yet. */
  untoldDone(): Done | null;
  /** Rows not done, at most BLOCKED_AT of them counted. */
  waiting(): number;
  /** The first row that is not done. */
  oldest(): { readonly n: number; readonly type: string } | null;
  /** Why the first effect fails, if it does. */
  failing(): string | null;
  /** Resolves at the next progress. */
  progressed(): Promise<void>;
  isIdle(): boolean;
  /** Resolves when nothing of it is under way; after its signal aborted, for good. */
  rested(): Promise<void>;
};

type Pending = { readonly at: Done; readonly effect: Effect };

type State = {
  readonly world: HostWorld;
  readonly key: ListKey;
  readonly perform: Perform;
  readonly signal: AbortSignal;
  readonly onRest: () => void;
  /** The list's record when it woke: what was there may have been begun by a process that is gone. */
  readonly wokenAt: number;
  done: Done;
  isRunning: boolean;
  isKicked: boolean;
  resting: Promise<void>;
  failing: string | null;
  wakers: (() => void)[];
};

/** `onRest` is called when it has rested and the ledger does not know how far it is. */
export function createOutbox(
  world: HostWorld,
  key: ListKey,
  perform: Perform,
  signal: AbortSignal,
  onRest: () => void,
): Outbox {
  const { done, n: wokenAt } = openDraft(world.rows, key, 0).head();
  const state: State = {
    ...{ world, key, perform, signal, onRest, wokenAt, done },
    ...{ isRunning: false, isKicked: false, resting: Promise.resolve(), failing: null, wakers: [] },
  };
  return {
    kick: () => {
      state.isKicked = true;
      if (!state.isRunning && !signal.aborted) void run(state);
    },
    untoldDone: () => untoldDone(state),
    waiting: () => pending(state, BLOCKED_AT).length,
    oldest: () => {
      const [first] = pending(state, 1);
      return first === undefined ? null : { n: first.at.n, type: first.effect.type };
    },
    failing: () => state.failing,
    progressed: () => new Promise((resolve) => state.wakers.push(resolve)),
    isIdle: () => !state.isRunning && untoldDone(state) === null,
    rested: () => state.resting,
  };
}

// ── How far it is ─────────────────────────────────────────────────────────

function untoldDone({ world, key, done }: State): Done | null {
  return isSame(done, openDraft(world.rows, key, 0).head().done) ? null : done;
}

function advance(state: State, to: Done): void {
  state.done = to;
  const woken = state.wakers;
  state.wakers = [];
  for (const wake of woken) wake();
}

const isSame = (a: Done, b: Done): boolean =>
  a.n === b.n && a.index === b.index && a.k === b.k && a.chunk === b.chunk;

function pending({ world, key, done }: State, limit: number): Pending[] {
  const from: RowKey = [key, 'outbox', done.n, done.index, done.k];
  const to: RowKey = [key, 'outbox', Number.MAX_SAFE_INTEGER];
  return [...world.rows.range(from, to, limit)].map(([[, , n, index, k], effect]) => ({
    at: { n: Number(n), index: Number(index), k: Number(k), chunk: 0 },
    effect: effect as Effect,
  }));
}

// ── Doing what waits ──────────────────────────────────────────────────────

async function run(state: State): Promise<void> {
  const { world, signal } = state;
  state.isRunning = true;
  state.resting = doAll(state);
  await state.resting;
  state.isRunning = false;
  if (signal.aborted || untoldDone(state) === null) return;
  await world.clock.sleep(REST_MS, signal);
  if (!signal.aborted && !state.isRunning) state.onRest();
}

async function doAll(state: State): Promise<void> {
  while (!state.signal.aborted) {
    state.isKicked = false;
    const group = nextGroup(pending(state, TOGETHER_MAX));
    const last = group.at(-1);
    if (last !== undefined) {
      await state.world.yields();
      await doTogether(state, group, last);
    } else if (!state.isKicked) break;
  }
}

/** Does all of a group, again and again those that fail, and moves on when the last is done. */
async function doTogether(state: State, group: readonly Pending[], last: Pending): Promise<void> {
  const { world, signal } = state;
  let left = group;
  let isRetry = false;
  for (let pause = AGAIN_MS_MIN; !signal.aborted; pause = Math.min(pause * 2, AGAIN_MS_MAX)) {
    const outcomes = await Promise.allSettled(
      left.map((row) => doOne(state, row, group.length === 1, isRetry)),
    );
    const failed = left.filter((_, i) => outcomes[i]?.status === 'rejected');
    const [first] = failed;
    if (first === undefined) {
      state.failing = null;
      return advance(state, { ...last.at, k: last.at.k + 1, chunk: 0 });
    }
    const reason = outcomes.find((outcome) => outcome.status === 'rejected')?.reason;
    noteFailure(state, first.effect.type, reason, pause);
    left = failed;
    isRetry = true;
    await world.clock.sleep(pause, signal);
  }
}

function noteFailure(state: State, effect: Effect['type'], reason: unknown, pause: number): void {
  const { world, key: list } = state;
  state.failing = `${effect}: ${textOf(reason)}`;
  world.log.warn({ list, effect, err: reason, pause }, 'outbox: will try again');
  world.meter.count('outbox_failed', { effect });
}

async function doOne(
  state: State,
  { at, effect }: Pending,
  isAlone: boolean,
  isRetry: boolean,
): Promise<void> {
  const { done, wokenAt } = state;
  const from = isSame({ ...at, chunk: done.chunk }, done) ? done.chunk : 0;
  const progress = (chunk: number): void => {
    if (isAlone) advance(state, { ...at, chunk });
  };
  const isAgain = isRetry || at.n <= wokenAt;
  await state.perform(state.key, effect, { at, from, isAgain, progress });
  state.world.meter.count('outbox_done', { effect: effect.type });
}

/**
 * The first effects that may be done in any order. What the directory says, large fan-outs and what is said about a post go alone;
 * so does dropping a held mail, which done before the keeping of it would leave it kept.
 */
function nextGroup(rows: readonly Pending[]): readonly Pending[] {
  const alone = rows.findIndex(({ effect }) => isAlone(effect));
  if (alone === 0) return rows.slice(0, 1);
  return alone === -1 ? rows : rows.slice(0, alone);
}

const ALONE: readonly Effect['type'][] = ['publish-directory', 'drop-held', 'order-post'];

function isAlone(effect: Effect): boolean {
  if (ALONE.includes(effect.type)) return true;
  return effect.type === 'deliver' && chunksOf(effect) > 1;
}
