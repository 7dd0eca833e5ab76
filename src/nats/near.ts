/**
 * Raw mail that passed through this process a moment ago: its archive copy and its cooking come soon after it was taken from
 * MAIL, and need not fetch it again. A message of a stream never changes, so what is here is never stale.
 */

/** All that is kept: for most posts, until their archive copy and their last chunk are made. */
const NEAR_BYTES_MAX = 16 * 1024 * 1024;
/** A larger message is fetched again: few of them would push out many. */
const NEAR_PIECE_BYTES_MAX = 64 * 1024;

/** Messages of MAIL by sequence; the oldest go first. */
export type Near = {
  /** Keeps a copy, if it is small: what is handed in may be part of a larger buffer. */
  put(seq: number, bytes: Uint8Array): void;
  /** The bytes, which nobody may change. */
  get(seq: number): Uint8Array | undefined;
};

export function createNear(bytesMax = NEAR_BYTES_MAX): Near {
  const pieces = new Map<number, Uint8Array>();
  let total = 0;
  return {
    put(seq, bytes) {
      if (pieces.has(seq) || bytes.byteLength > NEAR_PIECE_BYTES_MAX) return;
      pieces.set(seq, Uint8Array.from(bytes));
      total += bytes.byteLength;
      for (const [oldest, { byteLength }] of pieces) {
        if (total <= bytesMax) return;
        pieces.delete(oldest);
        total -= byteLength;
      }
    },
    get: (seq) => pieces.get(seq),
  };
}
