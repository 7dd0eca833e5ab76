/**
 * Looking again: a leader that was elected a moment ago may lag behind what the one before had acknowledged. What it says is
 * not there is looked for several times before it is believed.
 */
import type { Clock } from '../world.ts';

/** Five seconds in all: more than a new leader needs to fold its log. */
const LOOKS_MAX = 20;
const LOOK_EVERY_MS = 250;

/** What `look` found: the first that `isThere` takes, or the last. Throws what `look` throws. */
export async function lookAgain<T>(
  clock: Pick<Clock, 'sleep'>,
  look: () => Promise<T>,
  isThere: (found: T) => boolean,
  signal?: AbortSignal,
): Promise<T> {
  for (let looks = 1; ; looks++) {
    const found = await look();
    if (isThere(found) || looks === LOOKS_MAX || signal?.aborted === true) return found;
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
}
