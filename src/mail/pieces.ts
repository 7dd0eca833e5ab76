/**
 * What a cooked message is made of: fixed bytes, and slots that each copy fills in.
 *
 * A slot holds a token of our own, and all tokens of a kind have one length; so a copy is the same
 * bytes with a few overwritten, and its size is known before it is made.
 */

import { TOKEN_LENGTH } from './machine-address.ts';

/**
 * A token that differs from copy to copy. `one-click`: in the https address of List-Unsubscribe
 * (RFC 8058). `leave`: the local part of its mailto address. `page`: in the link of the footer.
 */
export type Slot = 'one-click' | 'leave' | 'page';

/** Characters of each token: of an address it is the whole local part, `u+` included. */
export const SLOT_WIDTH: Readonly<Record<Slot, number>> = {
  'one-click': TOKEN_LENGTH,
  leave: TOKEN_LENGTH + 2,
  page: TOKEN_LENGTH,
};

/** A string is written as UTF-8. */
export type Piece = string | Uint8Array | { readonly slot: Slot };

/** Where in the bytes a slot's token goes; as many bytes as {@link SLOT_WIDTH} says. */
export type Splice = { readonly at: number; readonly slot: Slot };

/** Joins pieces into one run of bytes; each slot is filled with dashes until it is rendered. */
export function assemble(pieces: readonly Piece[]): {
  readonly bytes: Uint8Array;
  readonly slots: readonly Splice[];
} {
  const runs: Uint8Array[] = [];
  const slots: Splice[] = [];
  let at = 0;
  for (const piece of pieces) {
    const run = bytesOf(piece);
    if (isSlot(piece)) slots.push({ at, slot: piece.slot });
    runs.push(run);
    at += run.length;
  }
  return { bytes: Buffer.concat(runs, at), slots };
}

/** True for a piece that differs from copy to copy. */
export function isSlot(piece: Piece): piece is { readonly slot: Slot } {
  return typeof piece === 'object' && 'slot' in piece;
}

/** A piece as it stands before it is rendered. */
export function bytesOf(piece: Piece): Uint8Array {
  if (typeof piece === 'string') return Buffer.from(piece, 'utf8');
  return isSlot(piece) ? Buffer.alloc(SLOT_WIDTH[piece.slot], '-') : piece;
}
