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

export function createOutbox(
  world: HostWorld,
  key: ListKey,
  perform: Perform,
  signal: AbortSignal,
  onRest: () => void,
): Outbox {
  const { done: doneBefore, n: wokenAt } = openDraft(world.rows, key, 0).head();
  let done: Done = doneBefore;
  let isRunning = false;
  let resting: Promise<void> = Promise.resolve();
  let isKicked = false;
  let failing: string | null = null;
  let wakers: (() => void)[] = [];

  const untoldDone = (): Done | null =>
    isSame(done, openDraft(world.rows, key, 0).head().done) ? null : done;

  function advance(to: Done): void {
    done = to;
    const woken = wakers;
    wakers = [];
    for (const wake of woken) wake();
  }

  async function run(): Promise<void> {
    isRunning = true;
    resting = doAll();
    await resting;
    isRunning = false;
    if (signal.aborted || untoldDone() === null) return;
    await world.clock.sleep(REST_MS, signal);
    if (!signal.aborted && !isRunning) onRest();
  }

  async function doAll(): Promise<void> {
    while (!signal.aborted) {
      isKicked = false;
      const group = nextGroup(pending(world, key, done, TOGETHER_MAX));
      const last = group.at(-1);
      if (last !== undefined) {
        await world.yields();
        await doTogether(group, last);
      } else if (!isKicked) break;
    }
  }

  /** Does all of a group, again and again those that fail, and moves on when the last is done. */
  async function doTogether(group: readonly Pending[], last: Pending): Promise<void> {
    let left = group;
    let isRetry = false;
    for (let pause = AGAIN_MS_MIN; !signal.aborted; pause = Math.min(pause * 2, AGAIN_MS_MAX)) {
      const outcomes = await Promise.allSettled(
        left.map((row) => doOne(row, group.length === 1, isRetry)),
      );
      const failed = left.filter((_, i) => outcomes[i]?.status === 'rejected');
      if (failed.length === 0) {
        failing = null;
        return advance({ ...last.at, k: last.at.k + 1, chunk: 0 });
      }
      const first = outcomes.find((outcome) => outcome.status === 'rejected');
      const type = failed[0]?.effect.type ?? '';
      failing = `${type}: ${textOf(first?.reason)}`;
      world.log.warn(
        { list: key, effect: type, err: first?.reason, pause },
        'outbox: will try again',
      );
      world.meter.count('outbox_failed', { effect: type });
      left = failed;
      isRetry = true;
      await world.clock.sleep(pause, signal);
    }
  }

  async function doOne(row: Pending, isAlone: boolean, isRetry: boolean): Promise<void> {
    const { at, effect } = row;
    const from = isSame({ ...at, chunk: done.chunk }, done) ? done.chunk : 0;
    // What was there when the list woke may have been begun by a process that is gone.
    const isAgain = isRetry || at.n <= wokenAt;
    const progress = (chunk: number): void => {
      if (isAlone) advance({ ...at, chunk });
    };
    await perform(key, effect, { from, isAgain, progress });
    world.meter.count('outbox_done', { effect: effect.type });
  }

  return {
    kick: () => {
      isKicked = true;
      if (!isRunning && !signal.aborted) void run();
    },
    untoldDone,
    waiting: () => pending(world, key, done, BLOCKED_AT).length,
    oldest: () => {
      const [first] = pending(world, key, done, 1);
      return first === undefined ? null : { n: first.at.n, type: first.effect.type };
    },
    failing: () => failing,
    progressed: () => new Promise((resolve) => wakers.push(resolve)),
    isIdle: () => !isRunning && untoldDone() === null,
    rested: () => resting,
  };
}

const isSame = (a: Done, b: Done): boolean =>
  a.n === b.n && a.index === b.index && a.k === b.k && a.chunk === b.chunk;

function pending(world: HostWorld, key: ListKey, done: Done, limit: number): Pending[] {
  const from: RowKey = [key, 'outbox', done.n, done.index, done.k];
  const to: RowKey = [key, 'outbox', Number.MAX_SAFE_INTEGER];
  return [...world.rows.range(from, to, limit)].map(([[, , n, index, k], effect]) => ({
    at: { n: Number(n), index: Number(index), k: Number(k), chunk: 0 },
    effect: effect as Effect,
  }));
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
