/** The private keys that DKIM signs with (RFC 6376 §3.3, RFC 8463), and the DNS records that belong to them. */
import { createPrivateKey, createPublicKey, hash, type KeyObject, sign } from 'node:crypto';

/** Who signs, and by which name in DNS the key is found. */
export type DkimName = {
  /** Of the lists whose mail is signed; lower case. */
  readonly domain: string;
  readonly selector: string;
};

export type DkimKey = DkimName & {
  readonly algorithm: 'rsa-sha256' | 'ed25519-sha256';
  /** Parsed once: that costs more than a signature. */
  readonly key: KeyObject;
  /** Length of a signature. */
  readonly signatureBytes: number;
};

/** RFC 8301 §3.2: shorter ones prove nothing; longer ones are not checked by everybody. */
const RSA_BITS_MIN = 2_048;
const RSA_BITS_MAX = 4_096;
const ED25519_BYTES = 64;
/** RFC 1035 §3.3: a string of a TXT record. */
const TXT_CHARACTERS_MAX = 255;

/** Reads a PEM file's text; or says what is wrong with it, as the end of "the key …". */
export function readDkimKey(pem: string, name: DkimName): DkimKey | { readonly problem: string } {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    if (pem.includes('ENCRYPTED'))
      return { problem: 'is encrypted: it must be without a password' };
    return { problem: 'is no private key in PEM form' };
  }
  if (key.asymmetricKeyType === 'ed25519') {
    return { ...name, algorithm: 'ed25519-sha256', key, signatureBytes: ED25519_BYTES };
  }
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType !== 'rsa') {
    return { problem: `is of the type ${key.asymmetricKeyType}: it must be rsa or ed25519` };
  }
  if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) {
    return { problem: `has ${bits} bits: it must have ${RSA_BITS_MIN} to ${RSA_BITS_MAX}` };
  }
  return { ...name, algorithm: 'rsa-sha256', key, signatureBytes: Math.ceil(bits / 8) };
}

/** Where the public key is looked for (RFC 6376 §3.6.2.1). */
export function recordNameOf({ domain, selector }: DkimName): string {
  return `${selector}._domainkey.${domain}`;
}

/** The strings of the TXT record to publish, in quotes, as a zone file has them. */
export function recordOf({ key, algorithm }: DkimKey): string {
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  // RFC 8463 §4: the 32 bytes alone, which are the last of the structure.
  const isRsa = algorithm === 'rsa-sha256';
  const value = (isRsa ? spki : spki.subarray(-32)).toString('base64');
  const text = `v=DKIM1; k=${isRsa ? 'rsa' : 'ed25519'}; p=${value}`;
  const strings = text.match(new RegExp(`.{1,${TXT_CHARACTERS_MAX}}`, 'g')) ?? [];
  return strings.map((one) => `"${one}"`).join(' ');
}

/** The signature in base64; `input` has one character a byte. */
export function signatureOf(key: KeyObject, input: string): string {
  const bytes = Buffer.from(input, 'latin1');
  // RFC 8463 §3: Ed25519 signs the hash.
  const signature =
    key.asymmetricKeyType === 'ed25519'
      ? sign(null, hash('sha256', bytes, 'buffer'), key)
      : sign('sha256', bytes, key);
  return signature.toString('base64');
}
