/**
 * A nats-server that met a full disk: says so, and restarts ours once there is room. Part of the wiring (`main.ts`).
 *
 * It is safe: whatever it acknowledged is on the disk, and clients come back as after any restart. It is done only where its own log
 * says that the disk was full: one that is merely slow would be made slower.
 */
import { textOf } from './errors.ts';
import type { Log } from './log.ts';
import type { Child } from './nats/child.ts';
import { DISK_FREE_BYTES_MIN } from './store/open.ts';
import type { Clock, Disk } from './world.ts';

const LOOK_MS = 5_000;
/** Between two restarts, or two lines in the log. */
const AGAIN_MS = 60_000;

/** Looks until the signal aborts. `child` is null where the servers are not ours to restart. */
export async function watchFullDisk(
  needs: {
    readonly silent: () => readonly string[];
    readonly child: Pick<Child, 'hasMetFullDisk' | 'restart'> | null;
    readonly disk: Disk;
    readonly clock: Clock;
    readonly log: Log;
  },
  signal: AbortSignal,
): Promise<void> {
  const { silent, child, disk, clock, log } = needs;
  for (let pause = LOOK_MS; ; ) {
    await clock.sleep(pause, signal);
    if (signal.aborted) return;
    pause = LOOK_MS;
    const kinds = silent();
    if (kinds.length === 0) continue;
    pause = AGAIN_MS;
    try {
      if (child !== null && (await child.hasMetFullDisk())) {
        const hasRoom = (await disk.freeBytes()) > DISK_FREE_BYTES_MIN;
        if (hasRoom) {
          log.warn(
            { kinds },
            'nats-server met a full disk, and there is room again: restarting it',
          );
          await child.restart();
        } else {
          pause = LOOK_MS;
          log.error({ kinds }, 'the disk of nats-server is full: make room; it is restarted then');
        }
        continue;
      }
    } catch (error) {
      log.warn({ error: textOf(error) }, 'nats-server could not be restarted');
    }
    log.error(
      { kinds },
      'nats-server is there but stores nothing: see its log; if its disk was full, make room and restart it',
    );
  }
}
