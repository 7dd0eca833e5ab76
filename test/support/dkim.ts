/** Keys of our own making, and an independent verifier (mailauth, strict) that finds them in a DNS of our own. */
import { generateKeyPairSync } from 'node:crypto';
import { dkimVerify } from 'mailauth';
import { type DkimKey, readDkimKey, recordNameOf, recordOf } from '../../src/mail/dkim-keys.ts';

/** The PEM text of a new key. */
export function newPem(type: 'rsa' | 'ed25519', modulusLength = 2048): string {
  const { privateKey } =
    type === 'rsa' ? generateKeyPairSync('rsa', { modulusLength }) : generateKeyPairSync('ed25519');
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** A new key of the domain, with `type` as its selector. */
export function newKey(type: 'rsa' | 'ed25519', domain: string): DkimKey {
  const key = readDkimKey(newPem(type), { domain, selector: type });
  if ('problem' in key) throw new Error(key.problem);
  return key;
}

export type Verified = {
  readonly domain: string;
  readonly selector: string;
  /** `pass`, `fail`, …; with a comment where it is no pass. */
  readonly result: string;
};

/** What the verifier says of each signature by the domain of one of the keys, from the first to the last. */
export async function verify(
  message: Uint8Array,
  keys: readonly DkimKey[],
): Promise<readonly Verified[]> {
  // As in a zone file: the strings of a record are joined.
  const zone = new Map(
    keys.map((key) => [recordNameOf(key), recordOf(key).slice(1, -1).split('" "')]),
  );
  const resolver = async (name: string): Promise<string[][]> => {
    const strings = zone.get(name);
    if (strings === undefined)
      throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
    return [strings];
  };
  const { results } = await dkimVerify(Buffer.from(message), { resolver, strict: true });
  return results
    .filter(({ signingDomain }) => keys.some(({ domain }) => domain === signingDomain))
    .map(({ signingDomain = '', selector = '', status }) => ({
      ...{ domain: signingDomain, selector },
      result: status.result === 'pass' ? 'pass' : `${status.result}: ${status.comment}`,
    }));
}
