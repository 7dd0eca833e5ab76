/**
 * Watches over an MTA that takes mail and says nothing. The answer to a final dot is waited for ten minutes, as it must be; but that
 * nobody was answered for much less is enough to know that the route is sick, and to give it nothing more.
 */
import type { Clock, Transaction } from '../world.ts';

/** A large message takes its time: so much of it a ms is slow, and not silent. */
const SLOW_BYTES_A_MS = 16;

export type Silence = {
  began(transaction: Transaction): void;
  ended(transaction: Transaction, isAnswered: boolean): void;
  /** True from `onSilent` until somebody is answered, or nothing is under way. */
  isSilent(): boolean;
};

/**
 * Calls `onSilent` when transactions were under way for `patienceMs` and not one was answered, and again each time that this is so
 * for as long. One loop, which runs while something is under way.
 */
export function watchSilence(needs: {
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>;
  readonly patienceMs: number;
  readonly signal: AbortSignal;
  onSilent(): void;
}): Silence {
  const { clock, patienceMs, signal, onSilent } = needs;
  const underWay = new Set<Transaction>();
  let since = 0;
  let isWatching = false;
  let isSilent = false;

  const patience = (): number => {
    let bytes = 0;
    for (const { message } of underWay) bytes = Math.max(bytes, message.byteLength);
    return patienceMs + bytes / SLOW_BYTES_A_MS;
  };
  async function watch(): Promise<void> {
    isWatching = true;
    while (underWay.size > 0 && !signal.aborted) {
      const leftMs = since + patience() - clock.monotonic();
      if (leftMs > 0) {
        await clock.sleep(leftMs, signal);
        continue;
      }
      since = clock.monotonic();
      isSilent = true;
      onSilent();
    }
    isWatching = false;
  }
  return {
    began(transaction) {
      if (underWay.size === 0) since = clock.monotonic();
      underWay.add(transaction);
      if (!isWatching) void watch();
    },
    ended(transaction, isAnswered) {
      underWay.delete(transaction);
      if (isAnswered) since = clock.monotonic();
      if (isAnswered || underWay.size === 0) isSilent = false;
    },
    isSilent: () => isSilent,
  };
}
