/**
 * Folded rows in LMDB: the real `Rows` of `src/world.ts`. One environment, one writer, one database.
 *
 * A commit outlives the process, not the machine: what a power cut takes is folded again from the ledger, so no turn waits for
 * this disk (decision 0005).
 */
import { basename } from 'node:path';
import { crashPoint } from '../failpoint.ts';
import type { RowKey, Rows } from '../world.ts';
import { closeEnv, type Env, type EnvKey, type EnvOptions, openEnv, syncEnv } from './open.ts';

/** Opens the rows in the directory `path`; throws as {@link openEnv} does. */
export async function openRows(path: string, options: Omit<EnvOptions, 'outlives'>): Promise<Rows> {
  return rowsOver(await openEnv(path, { ...options, outlives: 'process' }), basename(path));
}

const keyOf = (key: RowKey): EnvKey => key as (string | number)[];

/** `name` tells its commits apart at failpoints. */
function rowsOver(env: Env, name: string): Rows {
  return {
    get: (key) => env.get(keyOf(key)),
    *range(from, to, limit) {
      const span = {
        start: keyOf(from),
        end: keyOf(to),
        ...(limit === undefined ? {} : { limit }),
      };
      // All that is ever put has a key of several parts.
      for (const { key, value } of env.getRange(span)) yield [key as RowKey, value];
    },
    commit: (writes) => {
      crashPoint('commit', name);
      env.transactionSync(() => {
        for (const [key, value] of writes) {
          if (value === undefined) env.removeSync(keyOf(key));
          else env.putSync(keyOf(key), value);
        }
      });
      crashPoint('committed', name);
    },
    flushed: () => syncEnv(env),
    clear: () => env.clearSync(),
    close: () => closeEnv(env),
  };
}
