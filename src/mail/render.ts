/**
 * Renders one copy of a cooked post: the same bytes, with this member's tokens in the slots.
 *
 * A copy is one allocation, one move and a token a slot; nothing is parsed or composed again.
 */
import { assert } from '../assert.ts';
import { domainOf } from './address.ts';
import type { Recipe } from './chunk.ts';
import type { Cooked } from './cook.ts';
import type { ReversePath } from './envelope.ts';
import { robotAddress } from './list-headers.ts';
import type { ListKey } from './list-key.ts';
import { makeMachineAddress, makeToken, type TokenKind } from './machine-address.ts';
import { SLOT_WIDTH, type Slot } from './pieces.ts';

/** Whose copy it is. `post` is the recipe's post number; `secret` the newest of the site's. */
export type CopyOf = {
  readonly key: ListKey;
  readonly member: number;
  readonly post: number;
  readonly secret: Uint8Array;
};

/** A footer is quoted and forwarded, so its token is another than the one that acts on a POST. */
const TOKEN_OF_SLOT: Readonly<Record<Slot, TokenKind>> = {
  'one-click': 'w',
  leave: 'u',
  page: 'f',
};

/**
 * The bytes to send. Where nothing differs from copy to copy they are the cooked bytes themselves,
 * which nobody may change. Throws a BugError if a number does not fit a token.
 */
export function render(cooked: Cooked, copy: CopyOf): Uint8Array {
  if (cooked.slots.length === 0) return cooked.bytes;
  const bytes = Buffer.allocUnsafe(cooked.size);
  bytes.set(cooked.bytes);
  for (const { at, slot } of cooked.slots) {
    const token = tokenOf(slot, copy);
    assert(token.length === SLOT_WIDTH[slot], `a token of ${slot} has ${token.length} characters`);
    bytes.write(token, at, 'latin1');
  }
  return bytes;
}

function tokenOf(slot: Slot, copy: CopyOf): string {
  const kind = TOKEN_OF_SLOT[slot];
  const token = makeToken(kind, copy, copy.secret);
  return slot === 'leave' ? `${kind}+${token}` : token;
}

/**
 * Where bounces of a copy go: to an address that names member and post (VERP) in mode
 * `individual` and for a probe, to the list's robot in `shared` and for what is forwarded to owners; nowhere for a
 * notice.
 */
export function returnPathOf(recipe: Recipe, copy: CopyOf): ReversePath {
  if (recipe.kind === 'notice') return '';
  if (recipe.kind === 'forward' || recipe.mode === 'shared')
    return robotAddress(recipe.list, 'bounces');
  return makeMachineAddress('b', copy, copy.secret, domainOf(recipe.list));
}
