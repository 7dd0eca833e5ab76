/** Which keys can sign, what is said of those that cannot, and what DNS must have of them. */
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { expect, test } from 'vitest';
import { readDkimKey, recordNameOf, recordOf, signatureOf } from '../../src/mail/dkim-keys.ts';
import { newKey, newPem } from '../support/dkim.ts';

const NAME = { domain: 'lists.example.org', selector: 's2026' };

function problemOf(pem: string): string | null {
  const key = readDkimKey(pem, NAME);
  return 'problem' in key ? key.problem : null;
}

/** RFC 8463, appendix A.2: the example's key. */
const EXAMPLE_SEED = 'nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=';
const EXAMPLE_PUBLIC = '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=';

test('the key of RFC 8463 has the record that stands there', () => {
  const der = Buffer.concat([
    Buffer.from('302e020100300506032b657004220420', 'hex'),
    Buffer.from(EXAMPLE_SEED, 'base64'),
  ]);
  const pem = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`;
  const key = readDkimKey(pem, { domain: 'football.example.com', selector: 'brisbane' });
  if ('problem' in key) throw new Error(key.problem);
  expect(recordNameOf(key)).toBe('brisbane._domainkey.football.example.com');
  expect(recordOf(key)).toBe(`"v=DKIM1; k=ed25519; p=${EXAMPLE_PUBLIC}"`);
});

test('an RSA key of more than 2048 bits has longer signatures', () => {
  const key = readDkimKey(newPem('rsa', 2560), NAME);
  if ('problem' in key) throw new Error(key.problem);
  const signature = Buffer.from(signatureOf(key.key, 'text'), 'base64');
  expect(key.signatureBytes).toBe(320);
  expect(signature).toHaveLength(320);
  expect(verify('sha256', Buffer.from('text'), createPublicKey(key.key), signature)).toBe(true);
});

test('a record longer than a string of DNS comes in several', () => {
  const record = recordOf(newKey('rsa', 'lists.example.org'));
  const strings = record.slice(1, -1).split('" "');
  expect(strings).toHaveLength(2);
  for (const one of strings) expect(one.length).toBeLessThanOrEqual(255);
  expect(strings.join('')).toMatch(/^v=DKIM1; k=rsa; p=[A-Za-z0-9+/]+=*$/);
});

test('PKCS#1 is read as well', () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  expect(problemOf(privateKey.export({ type: 'pkcs1', format: 'pem' }).toString())).toBeNull();
});

test('what cannot sign is told apart', () => {
  expect(problemOf('')).toBe('is no private key in PEM form');
  expect(problemOf('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n')).toBe(
    'is no private key in PEM form',
  );
  expect(problemOf(newPem('rsa', 1024))).toBe('has 1024 bits: it must have 2048 to 4096');
  const { privateKey: curve, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  expect(problemOf(curve.export({ type: 'pkcs8', format: 'pem' }).toString())).toBe(
    'is of the type ec: it must be rsa or ed25519',
  );
  expect(problemOf(publicKey.export({ type: 'spki', format: 'pem' }).toString())).toBe(
    'is no private key in PEM form',
  );
  const locked = { cipher: 'aes-256-cbc', passphrase: 'secret' };
  const encrypted = curve.export({ type: 'pkcs8', format: 'pem', ...locked }).toString();
  expect(problemOf(encrypted)).toBe('is encrypted: it must be without a password');
});
