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

export function createHand(max: number, clock: Clock): Hand {
  const waiters: Waiter[] = [];
  let held = 0;
  let movedAt = clock.monotonic();
  let busyMs = 0;
  let busySince = 0;
  let watching: AbortController | null = null;

  function hold(): void {
    if (held === 0) {
      busySince = clock.monotonic();
      movedAt = busySince;
    }
    held += 1;
  }

  /** While somebody waits beyond the overflow; one loop, however many do. */
  async function watch(signal: AbortSignal): Promise<void> {
    for (;;) {
      const leftMs = movedAt + STILL_MS_MAX - clock.monotonic();
      if (leftMs <= 0) {
        const beyond = waiters.slice(OVERFLOW_MAX).filter(({ isPatient }) => !isPatient);
        for (const one of beyond) leave(one, 'still');
      }
      if (signal.aborted || !waiters.slice(OVERFLOW_MAX).some(({ isPatient }) => !isPatient)) break;
      await clock.sleep(leftMs <= 0 ? STILL_MS_MAX : leftMs, signal);
      if (signal.aborted) return;
    }
    watching = null;
  }

  function leave(waiter: Waiter, place: Place): void {
    waiters.splice(waiters.indexOf(waiter), 1);
    waiter.resolve(place);
  }

  return {
    async take(isPatient) {
      if (held < max) {
        hold();
        return 'taken';
      }
      const place = new Promise<Place>((resolve) => waiters.push({ isPatient, resolve }));
      if (waiters.length > OVERFLOW_MAX && watching === null) {
        watching = new AbortController();
        void watch(watching.signal);
      }
      return place;
    },
    giveBack() {
      held -= 1;
      if (held === 0) busyMs += clock.monotonic() - busySince;
      const next = waiters.shift();
      if (next === undefined) return;
      hold();
      next.resolve('taken');
    },
    moved() {
      movedAt = clock.monotonic();
    },
    turnAway() {
      watching?.abort();
      watching = null;
      for (const waiter of waiters.splice(0)) waiter.resolve('closed');
    },
    carrying: () => held,
    waiting: () => waiters.length,
    busyMs: () => busyMs + (held > 0 ? clock.monotonic() - busySince : 0),
  };
}
