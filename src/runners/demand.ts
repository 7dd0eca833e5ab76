/**
 * How many senders there should be beside the outgoing runner: one more each time this process has had no time to spare and a
 * backlog for a while, none once the backlog has been gone for a while. A route that is slow or away is no reason: who waits for an
 * MTA has time to spare, and more senders would wait too.
 */

/** Chunks that wait for a runner: less is sent before another process could have started. */
export const BACKLOG_MIN = 32;
/** Looks in a row that call for one more. A process takes a second of one core to start: short bursts are better off without. */
export const BUSY_LOOKS = 5;
/** Looks in a row without a backlog after which they end. */
export const IDLE_LOOKS = 15;

export type Demand = {
  /** What one look found: whether this process has more to do than it can and another could help, and chunks that wait. */
  see(found: { readonly isBusy: boolean; readonly waiting: number }): void;
  wanted(): number;
};

/** `begin`: those that an earlier process left with chunks in hand, which they lay down best themselves. */
export function createDemand(most: number, begin: number): Demand {
  let wanted = Math.min(most, begin);
  let busy = 0;
  let idle = 0;
  return {
    see({ isBusy, waiting }) {
      busy = isBusy && waiting >= BACKLOG_MIN ? busy + 1 : 0;
      idle = waiting === 0 ? idle + 1 : 0;
      if (busy >= BUSY_LOOKS && wanted < most) {
        wanted += 1;
        busy = 0;
      }
      if (idle >= IDLE_LOOKS) wanted = 0;
    },
    wanted: () => wanted,
  };
}
