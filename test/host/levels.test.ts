/** How sure an inspection is: from rows, compared with the ledger, or behind a record that only the owner can append. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { slotOf } from '../../src/mail/list-key.ts';
import { fakeHostWorld } from '../support/fake/host-world.ts';
import { tick, withList } from '../support/host-story.ts';
import { KEY, OPERATOR } from '../support/list-story.ts';

type Inspected = { readonly n: number; readonly seq: number; readonly lag: number };

test('fast tells the rows and asks nobody', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  Object.assign(world.ledger, { last: () => Promise.reject(new Error('asked')) });
  expect(await host.inspect(KEY, 'fast')).toMatchObject({ level: 'fast', lag: 0 });
});

test('a record on its way is what the owner itself knows to be behind', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.ledger.fault = (_, whose) => (whose === 'owner' ? null : 'doubt-lost');
  const asked = host.command(KEY, { id: 'z', command: { type: 'retire', by: OPERATOR } });
  await tick(world, 100);
  const lags = async () => [
    ((await host.inspect(KEY, 'fast')) as Inspected).lag,
    host.status().slots.find(({ slot }) => slot === slotOf(KEY))?.lag,
    host.status().slots.find(({ slot }) => slot !== slotOf(KEY))?.lag,
  ];
  expect(await lags()).toEqual([1, 1, 0]);
  world.ledger.fault = () => null;
  for (let i = 0; i < 10; i++) await tick(world, 500);
  await asked;
  expect(await lags()).toEqual([0, 0, 0]);
});

test('confirmed compares the rows with the last record, and appends nothing', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const many = world.ledger.records.length;
  const { seq } = host.position(KEY);
  expect(await host.inspect(KEY, 'confirmed')).toMatchObject({ level: 'confirmed', lag: 0, seq });
  expect(world.ledger.records).toHaveLength(many);
});

test('a barrier appends one record without entries, which is folded before the answer', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await tick(world, 5_000);
  const before = host.position(KEY);
  const asked = host.inspect(KEY, 'barrier');
  await tick(world, 100);
  const { n, seq, lag } = (await asked) as Inspected;
  expect({ n, lag }).toEqual({ n: before.n + 1, lag: 0 });
  expect(seq).toBe(world.ledger.records.at(-1)?.seq);
});

test('an owner that another has overtaken does not confirm', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const { n, seq } = host.position(KEY);
  const rival = { n: n + 1, epoch: 1e6, prev: 'x', at: 1, entries: [] };
  await world.ledger.append(slotOf(KEY), KEY, Buffer.from(JSON.stringify(rival)), seq);
  await expect(host.inspect(KEY, 'confirmed')).rejects.toThrow(MailError);
  const barrier = host.inspect(KEY, 'barrier').catch((error: unknown) => error);
  await tick(world, 100);
  expect(await barrier).toBeInstanceOf(MailError);
});
