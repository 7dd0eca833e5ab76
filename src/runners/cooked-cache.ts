/**
 * Keeps what is costly to make and asked for by many: made once, shared while it is being made,
 * bounded by bytes.
 */

export type Cache<V> = {
  /**
   * What is kept under `name`, or what `make` gives; a failure is thrown to all who wait and not
   * kept.
   */
  get(name: string, make: () => Promise<V>): Promise<V>;
};

type Entry<V> = { readonly value: Promise<V>; bytes: number };

/** Least recently used goes first; what has no bytes is not kept. */
export function createCache<V>(bytesMax: number, bytesOf: (value: V) => number): Cache<V> {
  // A map keeps the order of insertion: the first was used longest ago.
  const entries = new Map<string, Entry<V>>();
  let bytes = 0;

  function drop(name: string, entry: Entry<V>): void {
    if (entries.get(name) !== entry) return;
    entries.delete(name);
    bytes -= entry.bytes;
  }

  async function make(name: string, entry: Entry<V>): Promise<void> {
    try {
      const size = bytesOf(await entry.value);
      if (entries.get(name) !== entry) return;
      if (size === 0) return drop(name, entry);
      entry.bytes = size;
      bytes += size;
      for (const [oldest, other] of entries) {
        if (bytes <= bytesMax) return;
        // One that is still being made counts nothing, and is waited for.
        if (other.bytes > 0) drop(oldest, other);
      }
    } catch {
      drop(name, entry);
    }
  }

  return {
    get(name, makeValue) {
      const found = entries.get(name);
      if (found !== undefined) {
        entries.delete(name);
        entries.set(name, found);
        return found.value;
      }
      const entry: Entry<V> = { value: makeValue(), bytes: 0 };
      entries.set(name, entry);
      void make(name, entry);
      return entry.value;
    },
  };
}
