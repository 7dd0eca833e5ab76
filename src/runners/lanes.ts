/**
 * Several queues as one, in weighted order: while all have work, each is served in proportion to
 * its weight, and none ever starves; those that are large together have a bounded number of hands.
 * Of each queue at most one delivery waits here.
 */
import { endWith } from '../ending.ts';
import { textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { chosenByWeight } from '../mail/class-order.ts';
import type { Clock, Delivery, Queue } from '../world.ts';

/** A queue that fails is taken from again after this. */
const FAILED_MS = 1_000;

export type Lane = {
  readonly queue: Queue;
  readonly weight: number;
  /** It leaves the reserve of hands alone (`largeMax`). */
  readonly isLarge?: boolean;
  /** Awaited before each pull from it; resolves at the latest when the signal aborts. */
  readonly whenRoom?: (signal: AbortSignal) => Promise<void>;
};

/** A delivery in hand, and the queue it came from. */
export type Taken = {
  readonly delivery: Delivery;
  readonly from: string;
  readonly isLarge: boolean;
};

export type LanesOptions = {
  readonly lanes: readonly Lane[];
  /** Deliveries of large lanes that are disposed of at once. */
  readonly largeMax: number;
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
  /** What `next` gave is out of hand; to be called before `next` is asked again. */
  ended(taken: Taken): void;
  /**
   * Resolves when no queue is taken from any more. After the abort, `waiting` is what nobody took.
   */
  readonly closed: Promise<void>;
  waiting(): readonly Taken[];
};

type Offer = { readonly taken: Taken; readonly accept: () => void };
type LaneState = {
  readonly lane: Lane;
  readonly weight: number;
  offer: Offer | null;
  credit: number;
};
type State = {
  readonly options: LanesOptions;
  readonly signal: AbortSignal;
  readonly lanes: readonly LaneState[];
  /** Those who asked for the next while there was none. */
  readonly idle: ((taken: Taken | null) => void)[];
  /** Deliveries of large lanes in hand. */
  large: number;
};

/** Takes from all queues until the signal aborts. */
export function openLanes(options: LanesOptions, signal: AbortSignal): Lanes {
  const lanes: readonly LaneState[] = options.lanes.map((lane) => ({
    ...{ lane, weight: lane.weight, offer: null, credit: 0 },
  }));
  const state: State = { options, signal, lanes, idle: [], large: 0 };
  signal.addEventListener('abort', () => {
    for (const resolve of state.idle.splice(0)) resolve(null);
    for (const { offer } of lanes) offer?.accept();
  });
  return {
    async next() {
      if (signal.aborted) return null;
      const chosen = choose(state);
      if (chosen === null) return new Promise((resolve) => state.idle.push(resolve));
      if (chosen.taken.isLarge) state.large += 1;
      chosen.accept();
      return chosen.taken;
    },
    ended({ isLarge }) {
      if (isLarge) state.large -= 1;
    },
    closed: Promise.all(lanes.map((lane) => feed(state, lane))).then(() => undefined),
    waiting: () => lanes.flatMap(({ offer }) => (offer === null ? [] : [offer.taken])),
  };
}

/** Takes from one queue, one delivery after another, each when the one before has been accepted. */
async function feed(state: State, here: LaneState): Promise<void> {
  const { options, signal } = state;
  const { clock, canPull, staleMs, log } = options;
  const { queue, whenRoom } = here.lane;
  const mayPull = async (): Promise<void> => {
    await whenRoom?.(signal);
    await canPull(signal);
  };
  await mayPull();
  while (!signal.aborted) {
    const session = endWith(signal);
    try {
      const take = queue.take(options.ahead, session.signal);
      for await (const delivery of take) {
        const taken = { delivery, from: queue.name, isLarge: here.lane.isLarge === true };
        options.onTaken(taken);
        const since = clock.monotonic();
        await offer(state, here, taken);
        await mayPull();
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
  if (!state.signal.aborted && mayTake(state, here.lane)) {
    const resolve = state.idle.shift();
    if (resolve !== undefined) {
      if (taken.isLarge) state.large += 1;
      return resolve(taken);
    }
  }
  await new Promise<void>((accept) => {
    here.offer = { taken, accept };
    if (state.signal.aborted) accept();
  });
}

const mayTake = ({ large, options }: State, lane: Lane): boolean =>
  lane.isLarge !== true || large < options.largeMax;

/** Takes the next offer out of its lane; null if none waits that may be taken. */
function choose(state: State): Offer | null {
  const ready = state.lanes.filter(({ lane, offer }) => offer !== null && mayTake(state, lane));
  const best = chosenByWeight(ready);
  if (best === null) return null;
  const chosen = best.offer;
  best.offer = null;
  return chosen;
}
