/**
 * Groups small writes of one event-loop turn into one LMDB transaction: a transaction costs as much
 * as a hundred puts.
 */
import type { Env } from './open.ts';

export type Commits = {
  /**
   * Runs `write` in the next transaction; resolves when it would outlive the process, rejects if it
   * could not be written.
   */
  add(write: () => void): Promise<void>;
  /** Commits what waits, now. */
  now(): void;
};

/** One `Commits` an environment; `env` must not be closed before `now()` was called. */
export function createCommits(env: Env): Commits {
  let writes: (() => void)[] = [];
  let done: PromiseWithResolvers<void> = Promise.withResolvers();
  function now(): void {
    if (writes.length === 0) return;
    const [batch, waiting] = [writes, done];
    writes = [];
    done = Promise.withResolvers();
    try {
      env.transactionSync(() => {
        for (const write of batch) write();
      });
      waiting.resolve();
    } catch (error) {
      // Not every writer waits to hear of it; those who do are told.
      waiting.promise.catch(() => undefined);
      waiting.reject(error);
    }
  }
  return {
    add(write) {
      if (writes.length === 0) setImmediate(now);
      writes.push(write);
      return done.promise;
    },
    now,
  };
}
