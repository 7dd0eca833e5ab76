/**
 * At which record the lists that sleep were left, so that one which wakes while its slot is still ours need not be compared with
 * the ledger again: to read its last record nats-server loads a block of up to 8 MiB, which takes longer than all the rest.
 */
import type { ListKey } from '../mail/list-key.ts';

/** Lists remembered; past that who was left first is compared when it wakes. About 20 MB. */
const LISTS_MAX = 100_000;

type Left = { readonly epoch: number; readonly hash: string };

export type Asleep = {
  /** Its rows were compared with the ledger, and end at the record with this hash. */
  leave(key: ListKey, at: Left): void;
  /** True if it was left so under this epoch, and its rows say the same now; forgets it. */
  isAsLeft(key: ListKey, at: Left): boolean;
};

export function createAsleep(): Asleep {
  // A map keeps the order of insertion: the first was left first.
  const lists = new Map<ListKey, Left>();
  return {
    leave(key, at) {
      const [first] = lists.keys();
      if (lists.size >= LISTS_MAX && first !== undefined) lists.delete(first);
      lists.set(key, at);
    },
    isAsLeft(key, { epoch, hash }) {
      const left = lists.get(key);
      lists.delete(key);
      return left?.epoch === epoch && left.hash === hash;
    },
  };
}
