/** The threads that sign: all are used, each answer goes to who asked, and an end of a thread is nobody's end. */
import { createPublicKey, hash, verify } from 'node:crypto';
import { afterEach, expect, test } from 'vitest';
import {
  createSigningPool,
  SIGNING_WAITING_MAX,
  type SigningPool,
} from '../../src/mail/dkim-pool.ts';
import { newKey } from '../support/dkim.ts';

const { key } = newKey('ed25519', 'example.org');
const { key: rsa } = newKey('rsa', 'example.org');
const publicKey = createPublicKey(key);
const isSignatureOf = (text: string, signature: string | undefined): boolean =>
  verify(null, hash('sha256', text, 'buffer'), publicKey, Buffer.from(signature ?? '', 'base64'));

let pool: SigningPool;
afterEach(() => pool.close());

test('each who asks gets its own signatures, however many ask at once', async () => {
  pool = createSigningPool([rsa, key], 2);
  const texts = Array.from({ length: 2 * SIGNING_WAITING_MAX + 7 }, (_, i) => `copy ${i}`);
  const signed = await Promise.all(texts.map((text) => pool.sign([{ key: 1, text }])));
  expect(signed.filter(([one], i) => !isSignatureOf(texts[i] ?? '', one))).toEqual([]);
});

test('the signatures of a copy come in the order of its keys', async () => {
  pool = createSigningPool([rsa, key], 1);
  const [first, second] = await pool.sign([
    { key: 1, text: 'a copy' },
    { key: 0, text: 'a copy' },
  ]);
  expect(isSignatureOf('a copy', first)).toBe(true);
  const signature = Buffer.from(second ?? '', 'base64');
  expect(verify('sha256', Buffer.from('a copy'), createPublicKey(rsa), signature)).toBe(true);
});

test('8-bit text is signed byte for byte', async () => {
  pool = createSigningPool([key], 1);
  const bytes = Buffer.from('Grüße', 'utf8');
  const [signature] = await pool.sign([{ key: 0, text: bytes.toString('latin1') }]);
  const digest = hash('sha256', bytes, 'buffer');
  expect(verify(null, digest, publicKey, Buffer.from(signature ?? '', 'base64'))).toBe(true);
});

test('what ends every thread is given up alone; those who asked with it are signed', async () => {
  pool = createSigningPool([key], 1);
  const before = pool.sign([{ key: 0, text: 'while this is signed, the others wait together' }]);
  const asked = [0, 0, 7, 0, 0].map((index, i) => pool.sign([{ key: index, text: `${i}` }]));
  const outcomes = await Promise.allSettled(asked);
  expect(outcomes.map(({ status }) => status === 'fulfilled')).toEqual([
    ...[true, true, false, true, true],
  ]);
  await expect(asked[2]).rejects.toThrow('a thread that signs ended');
  await before;
});

test('closing rejects what waits and what comes after', async () => {
  pool = createSigningPool([rsa], 1);
  const asked = Array.from({ length: 20 }, (_, i) => pool.sign([{ key: 0, text: `${i}` }]));
  const outcomes = Promise.allSettled(asked);
  await pool.close();
  expect((await outcomes).map(({ status }) => status)).toContain('rejected');
  await expect(pool.sign([{ key: 0, text: 'late' }])).rejects.toThrow('signing has stopped');
});
