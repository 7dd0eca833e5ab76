import { expect, test } from 'vitest';
import { OperatorError } from '../../src/errors.ts';
import { openSecrets } from '../../src/nats/secrets.ts';
import type { Kv } from '../../src/world.ts';
import { createFakeKv } from '../support/fake/kv.ts';
import { createFakeRandom } from '../support/fake/random.ts';

const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const base64 = (secret: Uint8Array): string => Buffer.from(secret).toString('base64');

/** A bucket in which nobody's reads see what others wrote until all have looked once. */
function raced(kv: Kv, racers: number): Kv {
  let looked = 0;
  let allLooked = (): void => {};
  const everybody = new Promise<void>((resolve) => {
    allLooked = resolve;
  });
  return {
    ...kv,
    async get(key) {
      const found = await kv.get(key);
      looked += 1;
      if (looked === racers) allLooked();
      await everybody;
      return found;
    },
  };
}

test('nodes that start at once agree on one secret', async () => {
  const kv = raced(createFakeKv(), 5);
  const all = await Promise.all(
    [1, 2, 3, 4, 5].map((seed) => openSecrets(kv, createFakeRandom(seed))),
  );
  expect(new Set(all.map((secrets) => base64(secrets.newest()))).size).toBe(1);
  expect(all[0]?.newest()).toHaveLength(32);
});

test('a node that starts later finds the same secret', async () => {
  const kv = createFakeKv();
  const first = await openSecrets(kv, createFakeRandom(1));
  const second = await openSecrets(kv, createFakeRandom(2));
  expect(base64(second.newest())).toBe(base64(first.newest()));
});

test('the newest secret signs, all verify', async () => {
  const kv = createFakeKv();
  const [newer, older] = [new Uint8Array(32).fill(2), new Uint8Array(32).fill(1)];
  await kv.create('secrets', bytes({ secrets: [base64(newer), base64(older)] }));
  const secrets = await openSecrets(kv, createFakeRandom(1));
  expect(base64(secrets.newest())).toBe(base64(newer));
  expect(secrets.all().map(base64)).toEqual([newer, older].map(base64));
});

test('a secret added on another node verifies here at once', async () => {
  const kv = createFakeKv();
  const ending = new AbortController();
  const secrets = await openSecrets(kv, createFakeRandom(1), ending.signal);
  const older = secrets.newest();
  const newer = new Uint8Array(32).fill(9);
  const { revision } = (await kv.get('secrets')) ?? { revision: 0 };
  await kv.update('secrets', bytes({ secrets: [base64(newer), base64(older)] }), revision);
  while (secrets.all().length < 2) await new Promise((resolve) => setImmediate(resolve));
  expect([base64(secrets.newest()), secrets.all().map(base64)]).toEqual([
    base64(newer),
    [newer, older].map(base64),
  ]);
  await kv.update('secrets', bytes('damaged'), revision + 1);
  await new Promise((resolve) => setImmediate(resolve));
  expect(base64(secrets.newest())).toBe(base64(newer));
  ending.abort();
});

test.each([{}, { secrets: [] }, { secrets: ['c2hvcnQ='] }, { secrets: [7] }, 'x'])(
  'secrets that cannot be read stop the node: %j',
  async (row) => {
    const kv = createFakeKv();
    await kv.create('secrets', bytes(row));
    await expect(openSecrets(kv, createFakeRandom(1))).rejects.toBeInstanceOf(OperatorError);
  },
);
