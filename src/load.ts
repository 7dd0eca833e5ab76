/** Whether this process has more to do than it can, by the share of time that its event loop is not idle. */
import { performance } from 'node:perf_hooks';

/** Looked at over so long at least. */
const SPAN_MS = 50;
/** Above this share work waits for work. */
const BUSY_FROM = 0.9;

/** Made once; asking is cheap, and the answer is at most SPAN_MS old while somebody asks. */
export function createLoad(): { isBusy(): boolean } {
  let since = performance.eventLoopUtilization();
  let at = performance.now();
  let isBusy = false;
  return {
    isBusy() {
      const now = performance.now();
      if (now - at < SPAN_MS) return isBusy;
      const current = performance.eventLoopUtilization();
      isBusy = performance.eventLoopUtilization(current, since).utilization > BUSY_FROM;
      since = current;
      at = now;
      return isBusy;
    },
  };
}
