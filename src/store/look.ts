/** A look at a stopped node's folded rows, changing nothing: for `troupe doctor` where no site answers. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { open } from 'lmdb';
import type { ListRow } from '../../actors/list/state.ts';
import { ASIDE_ROWS } from './aside.ts';
import { damageOf, type EnvKey } from './open.ts';

export type Look =
  /** There is no store yet. */
  | { readonly kind: 'none' }
  | { readonly kind: 'damaged'; readonly damage: string }
  /** Lists that have rows, the highest sequence of the ledger that is folded, and the lists that are set aside, by address. */
  | {
      readonly kind: 'whole';
      readonly lists: number;
      readonly reached: number;
      readonly aside: readonly { readonly list: string; readonly why: string }[];
    };

const ASIDE_RANGE = { start: [...ASIDE_ROWS[0]], end: [...ASIDE_ROWS[1]] };

/** Looks at the environment in the directory `path`; no process may have it open for writing. */
export async function lookAtRows(path: string): Promise<Look> {
  const file = join(path, 'data.mdb');
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size === 0) return { kind: 'none' };
  const damage = await damageOf(file);
  if (damage !== null) return { kind: 'damaged', damage };
  const env = open<unknown, EnvKey>({
    path,
    readOnly: true,
    noSubdir: false,
    encoder: { useRecords: false },
  });
  try {
    let reached = 0;
    for (const { value } of env.getRange({ start: ['#slot'], end: ['#slou'] })) {
      reached = Math.max(reached, Number(value));
    }
    const aside = [...env.getRange(ASIDE_RANGE)].map(({ key, value }) => {
      const name = String(Array.isArray(key) ? key[1] : key);
      const row = env.get([name, 'list']) as Partial<ListRow> | undefined;
      return { list: row?.context?.address || name, why: String(value) };
    });
    let lists = 0;
    for (let from: EnvKey = ['$']; ; lists++) {
      const keys: EnvKey[] = [...env.getKeys({ start: from, end: ['{'], limit: 1 })];
      const [first] = keys;
      if (!Array.isArray(first)) return { kind: 'whole', lists, reached, aside };
      from = [String(first[0]), '\uffff'];
    }
  } finally {
    await env.close();
  }
}
