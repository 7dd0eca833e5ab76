/** A bucket in memory, held to the contract of the real one. */
import type { Kv } from '../../../src/world.ts';

type Row = { readonly value: Uint8Array | null; readonly revision: number };
type Change = {
  readonly key: string;
  readonly value: Uint8Array | null;
  readonly revision: number;
};

/**
 * A key-value bucket; `expire` is what the server's TTL does: the row is gone and nobody is told.
 */
export function createFakeKv(): Kv & { expire(key: string): void } {
  const rows = new Map<string, Row>();
  const watchers = new Set<(change: Change) => void>();
  let revisions = 0;

  function put(key: string, value: Uint8Array | null): number {
    revisions += 1;
    rows.delete(key); // To its new place: rows are told in the order of their revisions.
    rows.set(key, { value: value?.slice() ?? null, revision: revisions });
    for (const tell of watchers) tell({ key, value: value?.slice() ?? null, revision: revisions });
    return revisions;
  }

  return {
    async get(key) {
      const row = rows.get(key);
      if (row === undefined || row.value === null) return null;
      return { key, value: row.value.slice(), revision: row.revision };
    },
    async create(key, value) {
      return (rows.get(key)?.value ?? null) === null ? put(key, value) : null;
    },
    async update(key, value, revision) {
      return (rows.get(key)?.revision ?? 0) === revision ? put(key, value) : null;
    },
    async delete(key) {
      put(key, null);
    },
    async *watch(signal) {
      const waiting: (Change | 'ready')[] = [];
      let wake = (): void => {};
      const tell = (change: Change): void => {
        waiting.push(change);
        wake();
      };
      const ended = (): void => wake();
      for (const [key, row] of rows) waiting.push({ key, ...row });
      waiting.push('ready');
      watchers.add(tell);
      signal.addEventListener('abort', ended);
      try {
        while (!signal.aborted) {
          const next = waiting.shift();
          if (next !== undefined) yield next;
          else {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        }
      } finally {
        watchers.delete(tell);
        signal.removeEventListener('abort', ended);
      }
    },
    expire: (key) => rows.delete(key),
  };
}
