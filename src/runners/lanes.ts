/**
 * Several queues as one, in weighted order: while all have work, each is served in proportion to
 * its weight, and none ever starves. Of each queue at most one delivery waits here.
 */
import { endWith } from '../ending.ts';
import { textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Clock, Delivery, Queue } from '../world.ts';

/** A queue that fails is taken from again after this. */
const FAILED_MS = 1_000;

export type Lane = { readonly queue: Queue; readonly weight: number };

/** A delivery in hand, and the queue it came from. */
export type Taken = { readonly delivery: Delivery; readonly from: string };

export type LanesOptions = {
  readonly lanes: readonly Lane[];
  /** How far each queue may pull ahead. */
  readonly ahead: number;
  /**
   * What a queue has pulled ahead while none of it was taken for longer than this is left to come
   * again: it may be in another hand by now.
   */
  readonly staleMs: number;
  /** Awaited before each pull. */
  readonly canPull: (signal: AbortSignal) => Promise<void>;
  /** Called as soon as a delivery is here, before it waits. */
  readonly onTaken: (taken: Taken) => void;
  readonly clock: Clock;
  readonly log: Log;
};

export type Lanes = {
  /** The next by weight; null when the signal has aborted. */
  next(): Promise<Taken | null>;
  /**
   * Resolves when no queue is taken from any more. After the abort, `waiting` is what nobody took.
   */
  readonly closed: Promise<void>;
  waiting(): readonly Taken[];
};

type Offer = { readonly taken: Taken; readonly accept: () => void };
type LaneState = { readonly lane: Lane; offer: Offer | null; credit: number };
type State = {
  readonly options: LanesOptions;
  readonly signal: AbortSignal;
  readonly lanes: readonly LaneState[];
  /** Those who asked for the next while there was none. */
  readonly idle: ((taken: Taken | null) => void)[];
};

/** Takes from all queues until the signal aborts. */
export function openLanes(options: LanesOptions, signal: AbortSignal): Lanes {
  const lanes: readonly LaneState[] = options.lanes.map((lane) => ({
    ...{ lane, offer: null, credit: 0 },
  }));
  const state: State = { options, signal, lanes, idle: [] };
  signal.addEventListener('abort', () => {
    for (const resolve of state.idle.splice(0)) resolve(null);
    for (const { offer } of lanes) offer?.accept();
  });
  return {
    async next() {
      if (signal.aborted) return null;
      const chosen = choose(lanes);
      if (chosen === null) return new Promise((resolve) => state.idle.push(resolve));
      chosen.accept();
      return chosen.taken;
    },
    closed: Promise.all(lanes.map((lane) => feed(state, lane))).then(() => undefined),
    waiting: () => lanes.flatMap(({ offer }) => (offer === null ? [] : [offer.taken])),
  };
}

/** Takes from one queue, one delivery after another, each when the one before has been accepted. */
async function feed(state: State, here: LaneState): Promise<void> {
  const { options, signal } = state;
  const { clock, canPull, staleMs, log } = options;
  const { queue } = here.lane;
  await canPull(signal);
  while (!signal.aborted) {
    const session = endWith(signal);
    try {
      const take = queue.take(options.ahead, session.signal);
      for await (const delivery of take) {
        const taken = { delivery, from: queue.name };
        options.onTaken(taken);
        const since = clock.monotonic();
        await offer(state, here, taken);
        await canPull(signal);
        if (signal.aborted || clock.monotonic() - since > staleMs) break;
      }
    } catch (error) {
      log.error({ queue: queue.name, error: textOf(error) }, 'a queue failed');
      await clock.sleep(FAILED_MS, signal);
    } finally {
      session.end();
    }
  }
}

/** Resolves when somebody took it, or the signal aborted. */
async function offer(state: State, here: LaneState, taken: Taken): Promise<void> {
  if (!state.signal.aborted) {
    const resolve = state.idle.shift();
    if (resolve !== undefined) return resolve(taken);
  }
  await new Promise<void>((accept) => {
    here.offer = { taken, accept };
    if (state.signal.aborted) accept();
  });
}

/**
 * Smooth weighted round robin: what waits gains its weight; whoever has most is served and pays for
 * all. Takes the offer out of its lane; null if nothing waits.
 */
function choose(lanes: readonly LaneState[]): Offer | null {
  let best: LaneState | null = null;
  let sum = 0;
  for (const lane of lanes) {
    if (lane.offer === null) continue;
    lane.credit += lane.lane.weight;
    sum += lane.lane.weight;
    if (best === null || lane.credit > best.credit) best = lane;
  }
  if (best === null) return null;
  best.credit -= sum;
  const chosen = best.offer;
  best.offer = null;
  return chosen;
}
