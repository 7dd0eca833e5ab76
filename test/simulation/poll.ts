/** What comes from the bus in order and without end: read from where the reader is, again and again, whatever is lost between. */
import type { Life } from './life.ts';

/** How long the bus holds a question open while there is nothing new. */
export const HOLD_MS = 4_000;
const AGAIN_MS = 300;

/** `read` gives all there is after `known`; it runs on the bus. Ends when the signal aborts. */
export async function* poll<T>(
  life: Life,
  what: string,
  signal: AbortSignal,
  from: number,
  read: (known: number) => Promise<{ readonly items: readonly T[]; readonly known: number }>,
): AsyncGenerator<T, void, void> {
  let stop = (): void => undefined;
  signal.addEventListener('abort', () => stop(), { once: true });
  let known = from;
  while (!signal.aborted) {
    const asked = known;
    const called = life.call(what, () => read(asked)).catch(() => 'away' as const);
    // A race with a promise of the signal would be remembered by it for as long as it lives.
    const answer = await new Promise<Awaited<typeof called> | null>((resolve) => {
      stop = () => resolve(null);
      void called.then(resolve);
    });
    if (answer === null) return;
    if (answer === 'away') {
      await life.clock.sleep(AGAIN_MS, signal);
      continue;
    }
    known = answer.known;
    for (const item of answer.items) {
      if (signal.aborted) return;
      yield item;
    }
  }
}
