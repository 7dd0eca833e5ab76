/**
 * A list's key: 26 random base32 characters drawn when the list is created; it never changes and is
 * the only thing of a list that ever stands in a subject, a path or a row. A list lives in the slot
 * that its key hashes to.
 */
import { hash } from 'node:crypto';

export type ListKey = string & { readonly brand: 'ListKey' };

/** Shares of the hash space; fixed for the life of a site. */
export const SLOTS = 64;
/** Characters of a key that stand in machine addresses and in the directory's `p.<prefix>` entries. */
export const KEY_PREFIX_LENGTH = 8;
/** RFC 4648 base32, lower-case. */
export const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

const KEY = /^[a-z2-7]{26}$/;

/** Parses a key at the door; null if it is not one. */
export function parseListKey(text: string): ListKey | null {
  return KEY.test(text) ? (text as ListKey) : null;
}

/** A new key from at least 26 random bytes (5 bits of each are used). */
export function listKeyOf(random: Uint8Array): ListKey {
  let key = '';
  for (const byte of random.subarray(0, 26)) key += BASE32[byte & 31];
  return key as ListKey;
}

/** Each step of a mail asks for its list's slot, several times; past this many lists all are hashed anew. */
const KNOWN_MAX = 10_000;
const known = new Map<ListKey, number>();

/** The slot of a list, 0 to {@link SLOTS} − 1. */
export function slotOf(key: ListKey): number {
  const before = known.get(key);
  if (before !== undefined) return before;
  const slot = Number.parseInt(hash('sha256', key, 'hex').slice(0, 4), 16) % SLOTS;
  if (known.size >= KNOWN_MAX) known.clear();
  known.set(key, slot);
  return slot;
}

export function prefixOf(key: ListKey): string {
  return key.slice(0, KEY_PREFIX_LENGTH);
}
