/**
 * Whether this process has more to do than it can, by the share of time that its event loop is not idle; and whether the machine
 * could do more.
 */
import { type CpuInfo, cpus } from 'node:os';
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

/** So much of a core's time is a core: the rest is the system's own. */
const CORE_FROM = 0.9;

/**
 * Says whether the cores of this machine together had the time of a whole one left since it was asked last. The load average would
 * say it a minute too late.
 */
export function createSpareCore(
  read: () => readonly Pick<CpuInfo, 'times'>[] = cpus,
): () => boolean {
  let before = timesOf(read());
  return () => {
    const now = timesOf(read());
    const [idle, all] = [now.idle - before.idle, now.all - before.all];
    before = now;
    return all > 0 && (idle / all) * now.cores >= CORE_FROM;
  };
}

/** Of all cores together, ms since the machine was started. */
function timesOf(all: readonly Pick<CpuInfo, 'times'>[]) {
  const sum = { idle: 0, all: 0, cores: all.length };
  for (const { times } of all) {
    sum.idle += times.idle;
    sum.all += times.user + times.nice + times.sys + times.irq + times.idle;
  }
  return sum;
}
