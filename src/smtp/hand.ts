/**
 * What one route has in hand: a bounded number of chunks, and a small overflow that waits for a place.
 *
 * Who finds both full waits as well, so a slow route keeps its share and its pace is the pace of all. But not behind one that
 * stands still: without a word from its MTA for STILL_MS_MAX they are told to go elsewhere, if there is an elsewhere.
 */
import type { Clock } from '../world.ts';

/** Chunks that wait for a place in a route's hand, so that the runner can go on pulling for the others. */
export const OVERFLOW_MAX = 4;
/** A route that answered nothing for so long, with its hand full, stands still. */
export const STILL_MS_MAX = 10_000;

/** `closed`: it gives no places any more. `still`: it stands still. */
export type Place = 'taken' | 'closed' | 'still';

export type Hand = {
  /** Resolves with `taken` when a place is the caller's; each is given back once. */
  take(isPatient: boolean): Promise<Place>;
  giveBack(): void;
  /** Its MTA answered something. */
  moved(): void;
  /** Tells all who wait that it is closed; places may be taken again right after. */
  turnAway(): void;
  /** Those in hand, and those who wait. */
  carrying(): number;
  waiting(): number;
  /** Ms in which something was in hand, so far. */
  busyMs(): number;
};

type Waiter = { readonly isPatient: boolean; readonly resolve: (place: Place) => void };

type State = {
  readonly clock: Clock;
  readonly waiters: Waiter[];
  held: number;
  /** Monotonic ms. */
  movedAt: number;
  busySince: number;
  busyMs: number;
  /** Runs while somebody waits beyond the overflow who could go elsewhere. */
  watching: AbortController | null;
};

export function createHand(max: number, clock: Clock): Hand {
  const state: State = {
    ...{ clock, waiters: [], held: 0, movedAt: clock.monotonic() },
    ...{ busySince: 0, busyMs: 0, watching: null },
  };
  const { waiters } = state;
  return {
    async take(isPatient) {
      if (state.held < max) {
        hold(state);
        return 'taken';
      }
      const place = new Promise<Place>((resolve) => waiters.push({ isPatient, resolve }));
      if (state.watching === null && beyond(state).length > 0) void watch(state);
      return place;
    },
    giveBack() {
      state.held -= 1;
      if (state.held === 0) state.busyMs += clock.monotonic() - state.busySince;
      const next = waiters.shift();
      if (next === undefined) return;
      hold(state);
      next.resolve('taken');
    },
    moved() {
      state.movedAt = clock.monotonic();
    },
    turnAway() {
      state.watching?.abort();
      state.watching = null;
      for (const waiter of waiters.splice(0)) waiter.resolve('closed');
    },
    carrying: () => state.held,
    waiting: () => waiters.length,
    busyMs: () => state.busyMs + (state.held > 0 ? clock.monotonic() - state.busySince : 0),
  };
}

function hold(state: State): void {
  if (state.held === 0) {
    state.busySince = state.clock.monotonic();
    state.movedAt = state.busySince;
  }
  state.held += 1;
}

/** Those whom neither hand nor overflow has room for, and who would go elsewhere. */
function beyond({ waiters }: State): readonly Waiter[] {
  return waiters.slice(OVERFLOW_MAX).filter(({ isPatient }) => !isPatient);
}

/** Sends them elsewhere whenever nothing moved for too long; one loop, however many there are. */
async function watch(state: State): Promise<void> {
  const { clock, waiters } = state;
  state.watching = new AbortController();
  const { signal } = state.watching;
  while (beyond(state).length > 0) {
    const leftMs = state.movedAt + STILL_MS_MAX - clock.monotonic();
    if (leftMs > 0) {
      await clock.sleep(leftMs, signal);
      if (signal.aborted) return;
      continue;
    }
    for (const one of beyond(state)) {
      waiters.splice(waiters.indexOf(one), 1);
      one.resolve('still');
    }
  }
  state.watching = null;
}
