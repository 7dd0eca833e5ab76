/** What ends by itself: signals with a longer one, waiting with a time. Neither leaves anything behind. */
import type { Clock } from './world.ts';

/** `signal` aborts when `end` is called, or before that when the signal it was made from does. */
export type Ending = { readonly signal: AbortSignal; readonly end: () => void };

/**
 * A signal that aborts with `longer`, for something shorter. `AbortSignal.any` would be kept for as long as the longer one lives and
 * somebody listens; of this nothing is left once `end` was called, which therefore must be.
 */
export function endWith(longer: AbortSignal): Ending {
  const own = new AbortController();
  const end = (): void => {
    longer.removeEventListener('abort', end);
    own.abort();
  };
  if (longer.aborted) own.abort();
  else longer.addEventListener('abort', end, { once: true });
  return { signal: own.signal, end };
}

/** Waits for `work`, but not longer than `ms`; which of the two it was is the caller's to see. Rejects if `work` does in time. */
export async function within(
  clock: Pick<Clock, 'sleep'>,
  ms: number,
  work: Promise<unknown>,
): Promise<void> {
  const over = new AbortController();
  try {
    await Promise.race([work, clock.sleep(ms, over.signal)]);
  } finally {
    over.abort('over'); // Without a reason it would make an error, with its stack.
  }
}
