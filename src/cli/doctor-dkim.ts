/** What `troupe doctor` says of the keys that sign: whether each can be used, and what DNS must say. Nothing is looked up. */
import type { Config } from '../config.ts';
import { lookAtDkimKeys } from '../config-dkim.ts';
import { recordNameOf, recordOf } from '../mail/dkim-keys.ts';
import { type Check, fail, ok, warn } from './checks.ts';

/** One line a key. */
export function dkimChecks({ dkim, domains }: Pick<Config, 'dkim' | 'domains'>): readonly Check[] {
  return lookAtDkimKeys(dkim).map(({ from, key }) => {
    const what = `dkim ${from.domain}`;
    if ('problem' in key) return fail(what, key.problem);
    if (!domains.includes(from.domain)) {
      return warn(what, `${from.selector} signs nothing: \`domains\` does not name ${from.domain}`);
    }
    return ok(what, `DNS must have: ${recordNameOf(key)} TXT ${recordOf(key)}`);
  });
}
