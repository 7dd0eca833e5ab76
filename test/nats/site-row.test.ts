import { expect, test } from 'vitest';
import { openSite } from '../../src/nats/site-row.ts';
import { SCHEMA } from '../../src/nats/streams.ts';
import { createFakeKv } from '../support/fake/kv.ts';
import { createFakeRandom } from '../support/fake/random.ts';

const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

test('the site is made once, and found again', async () => {
  const kv = createFakeKv();
  const site = await openSite(kv, createFakeRandom(1));
  expect(site).toMatchObject({ slots: 64, schema: SCHEMA });
  expect(site.clusterId).toMatch(/^[0-9a-f]{16}$/);
  expect(await openSite(kv, createFakeRandom(2))).toEqual(site);
});

test.each([
  { clusterId: 'x', slots: 128, schema: 1 },
  { clusterId: 'x', slots: 64, schema: SCHEMA + 1 },
  { slots: 64, schema: 1 },
  {},
])('a site of another shape stops the node, with the next step: %j', async (row) => {
  const kv = createFakeKv();
  await kv.create('site', bytes(row));
  const opening = openSite(kv, createFakeRandom(1));
  await expect(opening).rejects.toMatchObject({
    name: 'OperatorError',
    nextStep: expect.stringContaining('version'),
  });
});
