/**
 * The rows of lists that are set aside: their history in the ledger does not hold together.
 *
 *   ['#aside', key]   why
 *
 * Written by every node that met it, the follower too: whoever owns the slot next has read past that record and would not meet it
 * again. A list that is folded anew loses it.
 */
import type { ListKey } from '../mail/list-key.ts';
import type { RowKey, Rows } from '../world.ts';

export const asideRow = (key: ListKey): RowKey => ['#aside', key];

/** Range of all of them, its end excluded. */
export const ASIDE_ROWS: readonly [RowKey, RowKey] = [['#aside'], ['#asidf']];

/** Every list that is set aside, and why. */
export const asideIn = (rows: Rows): readonly (readonly [ListKey, string])[] =>
  [...rows.range(...ASIDE_ROWS)].map(([row, why]) => [String(row[1]) as ListKey, String(why)]);
