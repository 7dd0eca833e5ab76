/** Reads the keys that `dkim` names from their files, and says what is wrong with each. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import type { DkimConfig } from './config.ts';
import { OperatorError, textOf } from './errors.ts';
import { type DkimKey, readDkimKey } from './mail/dkim-keys.ts';

/** A PEM file of an RSA key of 4,096 bits has 3.2 KiB. */
const FILE_BYTES_MAX = 16 * 1024;
/** Write by the group, anything by others: who can read the key can sign as the domain. */
const OPEN_BITS = 0o027;

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
  let fd: number | null = null;
  try {
    fd = openSync(file, 'r');
    const { mode, size } = fstatSync(fd);
    const bits = mode & 0o777;
    if ((bits & OPEN_BITS) !== 0) {
      const octal = bits.toString(8).padStart(4, '0');
      return { problem: `the key ${file} is open to others (mode ${octal}): chmod 0600 ${file}` };
    }
    if (size > FILE_BYTES_MAX) return { problem: `the key ${file} is larger than 16 KiB` };
    const key = readDkimKey(readFileSync(fd, 'utf8'), { domain, selector });
    return 'problem' in key ? { problem: `the key ${file} ${key.problem}` } : key;
  } catch (error) {
    return { problem: `the key ${file} cannot be read: ${textOf(error)}` };
  } finally {
    if (fd !== null) closeSync(fd);
  }
}
