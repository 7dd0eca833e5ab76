/**
 * Commits drafts, one transaction a tick for all lists whose appends came back in it: a transaction costs 20–340 µs
 * however little is in it, so many small ones would be what the host spends its time on.
 */
import type { RowKey, Rows } from '../world.ts';

type Writes = readonly (readonly [RowKey, unknown])[];

export type Committer = {
  /**
   * Resolves when the rows can be read; rejects, and stores none of them, when the store fails. Writes whose signal has aborted by
   * then are left out: their slot is lost, and who has it now may have folded further.
   */
  commit(writes: Writes, signal: AbortSignal): Promise<void>;
};

/** `extra` gives rows that go with every transaction: how far each slot is folded. */
export function createCommitter(
  rows: Rows,
  nextTick: (run: () => void) => void,
  extra: () => Writes,
): Committer {
  let waiting: {
    writes: Writes;
    signal: AbortSignal;
    resolve: () => void;
    reject: (error: unknown) => void;
  }[] = [];

  function flush(): void {
    const batch = waiting;
    waiting = [];
    try {
      const ours = batch.filter(({ signal }) => !signal.aborted);
      rows.commit([...ours.flatMap(({ writes }) => writes), ...extra()]);
      for (const { resolve } of batch) resolve();
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  return {
    commit: (writes, signal) =>
      new Promise((resolve, reject) => {
        if (waiting.length === 0) nextTick(flush);
        waiting.push({ writes, signal, resolve, reject });
      }),
  };
}
