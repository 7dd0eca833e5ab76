/**
 * What one route has in hand: a bounded number of chunks, and a small overflow that waits for a place, in the order of the
 * classes. The large classes leave a reserve of the places alone.
 *
 * Who finds both full waits as well, so a slow route keeps its share and its pace is the pace of all. But not behind one that
 * stands still: without a word from its MTA for STILL_MS_MAX they are told to go elsewhere, if there is an elsewhere.
 *
 * Mail that a rule binds has no share to keep, and must not hold up what the rule says nothing of: of it a few more wait than the
 * overflow has room for, which counts for nobody, and all others are sent away at once.
 */
import type { Class } from '../mail/chunk.ts';
import { type ClassOrder, isLarge, largeMax } from '../mail/class-order.ts';
import type { Clock } from '../world.ts';
import { createLine, type Line } from './line.ts';

/** Chunks that wait for a place in a route's hand, so that the runner can go on pulling for the others. */
export const OVERFLOW_MAX = 4;
/** Chunks bound by a rule that wait beyond the overflow. */
export const BOUND_MAX = 16;
/** A route that answered nothing for so long, with its hand full, stands still. */
export const STILL_MS_MAX = 10_000;

/** `closed`: it gives no places any more. `still`: it stands still. `full`: enough mail that a rule binds waits. */
export type Place = 'taken' | 'closed' | 'still' | 'full';

/** Who asks. `isPatient`: there is nowhere else to go. `isBound`: a rule says that it goes here. */
export type Asking = { readonly isPatient: boolean; readonly isBound: boolean };

export type Hand = {
  /** Resolves with `taken` when a place is the caller's; each is given back once. */
  take(cls: Class, asking: Asking): Promise<Place>;
  giveBack(cls: Class): void;
  /**
   * How many more of this class it takes now, those who will wait included; less than 0 where more wait already, bound by no
   * rule. What waits of the large classes takes no room from the others.
   */
  room(cls: Class): number;
  /** Its MTA answered something. */
  moved(): void;
  /** Tells all who wait that it is closed; places may be taken again right after. */
  turnAway(): void;
  /** Those in hand that one of this class shares the connections with, itself included: not the large ones if it is none. */
  sharing(cls: Class): number;
  /** Those in hand, and those who wait. */
  carrying(): number;
  waiting(): number;
  /** Ms in which something was in hand, so far. */
  busyMs(): number;
};

type Waiter = Asking & {
  readonly isLarge: boolean;
  readonly resolve: (place: Place) => void;
};

type State = {
  readonly clock: Clock;
  readonly line: Line<Waiter>;
  held: number;
  /** Of those, how many are of a large class. */
  large: number;
  /** Monotonic ms. */
  movedAt: number;
  busySince: number;
  busyMs: number;
  /** Runs while somebody waits beyond the overflow who could go elsewhere. */
  watching: AbortController | null;
};

export function createHand(max: number, order: ClassOrder, clock: Clock): Hand {
  const state: State = {
    ...{ clock, line: createLine(order), held: 0, large: 0, movedAt: clock.monotonic() },
    ...{ busySince: 0, busyMs: 0, watching: null },
  };
  const { line } = state;
  const places = (ofLarge: boolean): number => {
    const free = max - state.held;
    return ofLarge ? Math.min(free, largeMax(max, order) - state.large) : free;
  };
  return {
    async take(cls, asking) {
      const ofLarge = isLarge(cls);
      if (places(ofLarge) > 0) {
        hold(state, ofLarge);
        return 'taken';
      }
      if (asking.isBound && line.all().length >= OVERFLOW_MAX + BOUND_MAX) return 'full';
      const place = new Promise<Place>((resolve) => {
        line.join(cls, { ...asking, isLarge: ofLarge, resolve });
      });
      if (state.watching === null && beyond(state).length > 0) void watch(state);
      return place;
    },
    giveBack(cls) {
      state.held -= 1;
      if (isLarge(cls)) state.large -= 1;
      if (state.held === 0) state.busyMs += clock.monotonic() - state.busySince;
      while (places(false) > 0) {
        const next = line.next(places(true) > 0);
        if (next === null) return;
        hold(state, next.isLarge);
        next.who.resolve('taken');
      }
    },
    room(cls) {
      const ofLarge = isLarge(cls);
      const waiting = line.all().filter((waiter) => waiter.isLarge === ofLarge);
      const bound = waiting.filter(({ isBound }) => isBound).length;
      const left = places(ofLarge) + OVERFLOW_MAX - (waiting.length - bound);
      return Math.max(Math.min(left, 0), left - bound);
    },
    moved() {
      state.movedAt = clock.monotonic();
    },
    turnAway() {
      state.watching?.abort();
      state.watching = null;
      for (const waiter of line.clear()) waiter.resolve('closed');
    },
    sharing: (cls) => (isLarge(cls) ? state.held : state.held - state.large),
    carrying: () => state.held,
    waiting: () => line.all().length,
    busyMs: () => state.busyMs + (state.held > 0 ? clock.monotonic() - state.busySince : 0),
  };
}

function hold(state: State, ofLarge: boolean): void {
  if (state.held === 0) {
    state.busySince = state.clock.monotonic();
    state.movedAt = state.busySince;
  }
  state.held += 1;
  if (ofLarge) state.large += 1;
}

/** Those whom neither hand nor overflow has room for, and who would go elsewhere. */
function beyond({ line }: State): readonly Waiter[] {
  const all = line.all();
  return all.slice(OVERFLOW_MAX).filter(({ isPatient }) => !isPatient);
}

/** Sends them elsewhere whenever nothing moved for too long; one loop, however many there are. */
async function watch(state: State): Promise<void> {
  const { clock, line } = state;
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
      line.leave(one);
      one.resolve('still');
    }
  }
  state.watching = null;
}
