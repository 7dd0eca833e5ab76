/** Waiting for what another process does: asked again and again, for a bounded time. */
import { setTimeout as pause } from 'node:timers/promises';

const POLL_MS = 50;
/** A machine that is busy with other things as well needs many times what a quiet one does. */
const MS_MAX = 180_000;

/**
 * The first result of `ask` that is not null. Throws after `ms` with what it waited for, and with
 * what `ask` threw last, if it did.
 */
export async function until<T>(
  what: string,
  ask: () => Promise<T | null> | T | null,
  ms = MS_MAX,
): Promise<T> {
  const deadline = performance.now() + ms;
  let last: unknown = null;
  for (;;) {
    try {
      const found = await ask();
      if (found !== null) return found;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`${what}: not within ${ms} ms`, { cause: last });
    }
    await pause(POLL_MS);
  }
}
