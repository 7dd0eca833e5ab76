/** Reads the keys that `dkim` names from their files, and says what is wrong with each. */
import type { DkimConfig } from './config.ts';
import { readSecret } from './config-secret.ts';
import { OperatorError } from './errors.ts';
import { type DkimKey, readDkimKey } from './mail/dkim-keys.ts';

/** A PEM file of an RSA key of 4,096 bits has 3.2 KiB. */
const FILE_KIB_MAX = 16;

/** A key, or what is wrong with it in a sentence that names its file. */
export type DkimKeyRead = {
  readonly from: DkimConfig;
  readonly key: DkimKey | { readonly problem: string };
};

/** Each key that is configured; never throws. Of a domain one RSA and one Ed25519 key can sign at a time. */
export function lookAtDkimKeys(configured: readonly DkimConfig[]): readonly DkimKeyRead[] {
  const taken = new Map<string, string>();
  return configured.map((from) => {
    const key = readFrom(from);
    if ('problem' in key) return { from, key };
    const place = `${key.domain} ${key.algorithm}`;
    const other = taken.get(place);
    taken.set(place, key.selector);
    if (other === undefined) return { from, key };
    const problem = `${from.domain}: ${other} and ${from.selector} are both keys for ${key.algorithm}; keep the one that is to sign`;
    return { from, key: { problem } };
  });
}

/** All keys. Throws OperatorError that names every mistake, and the next step. */
export function readDkimKeys(configured: readonly DkimConfig[]): readonly DkimKey[] {
  const keys: DkimKey[] = [];
  const mistakes: string[] = [];
  for (const { key } of lookAtDkimKeys(configured)) {
    if ('problem' in key) mistakes.push(key.problem);
    else keys.push(key);
  }
  if (mistakes.length === 0) return keys;
  throw new OperatorError(
    `the keys of \`dkim\` cannot be used:\n  ${mistakes.join('\n  ')}`,
    'Correct the files or the configuration and start again; `troupe doctor` says what each key needs.',
  );
}

function readFrom({ domain, selector, key: file }: DkimConfig): DkimKeyRead['key'] {
  const read = readSecret('key', file, FILE_KIB_MAX);
  if ('problem' in read) return read;
  const key = readDkimKey(read.text, { domain, selector });
  return 'problem' in key ? { problem: `the key ${file} ${key.problem}` } : key;
}
