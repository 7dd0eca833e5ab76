/** Signals that end with another, without leaving anything behind on it. */

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
