/** A list whose ledger does not hold together is set aside: it, and nothing else. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import type { Host } from '../../src/host/host.ts';
import { hashOf } from '../../src/host/record.ts';
import type { ListKey } from '../../src/mail/list-key.ts';
import type { Ledger } from '../../src/world.ts';
import { type FakeHostWorld, fakeHostWorld } from '../support/fake/host-world.ts';
import {
  answered,
  create,
  join,
  killed,
  mailOf,
  records,
  start,
  tick,
  withList,
} from '../support/host-story.ts';
import { address, KEY, OPERATOR } from '../support/list-story.ts';
import * as nodes from '../support/nodes-story.ts';

type BytesAfter = (n: number, prev: string) => string;

/** Appends behind the list's back. */
async function slip(world: FakeHostWorld, bytesAfter: BytesAfter): Promise<void> {
  const last = world.ledger.records.findLast(({ whose }) => whose === KEY);
  if (last === undefined) throw new Error('the list has no record');
  const n = records(world).at(-1)?.record.n ?? 0;
  const bytes = Buffer.from(bytesAfter(n + 1, hashOf(last.bytes)));
  await world.ledger.append(last.slot, KEY, bytes, last.seq);
}

const recordWith =
  (facts: readonly unknown[]): BytesAfter =>
  (n, prev) =>
    JSON.stringify({
      ...{ n, epoch: 1, prev, at: 1e13 },
      entries: [{ commandId: `slipped-${n}`, facts }],
    });
const broken: [string, BytesAfter][] = [
  ['does not follow', (n) => JSON.stringify({ n, epoch: 1, prev: 'no hash', at: 1, entries: [] })],
  ['is no JSON', () => 'half a rec'],
  ['is no record', () => 'null'],
  ['has what the chart does not take', recordWith([{ type: 'list-created' }])],
  ['has a fact of another shape', recordWith([{ type: 'members-added', first: 3 }])],
  ['has a fact of no known type', recordWith([{ type: 'nonsense' }])],
];
const retire = { id: 'x', command: { type: 'retire', by: OPERATOR } } as const;
const other = 'b'.repeat(26) as ListKey;
const createOther = {
  id: other,
  command: { ...create, address: address('other@lists.example') },
};

test.each(broken)('a record that %s sets its list aside, and no other', async (_, bytesAfter) => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await slip(world, bytesAfter);
  expect(await host.command(KEY, retire)).toMatchObject({ kind: 'failed' });
  expect(host.status().quarantined).toMatchObject([
    { key: KEY, why: expect.stringMatching(/record .*at \d+/) },
  ]);
  expect(host.question(KEY, { ask: 'inspect' })).toMatchObject({
    quarantined: expect.stringMatching(/record/),
  });
  expect(answered(await host.command(other, createOther))).toEqual({ type: 'created' });
});

test.each(broken)(
  'a record that %s sets its list aside in recovery: its slot is served, its outbox rests',
  async (_, bytesAfter) => {
    const before = fakeHostWorld();
    await withList(before);
    before.outgoingError = new MailError(451, '4.3.0', 'away');
    before.send(KEY, await mailOf(before, 'hello'));
    await tick(before, 2_000);
    await slip(before, bytesAfter);
    const world = killed(before);
    const host = await start(world);
    await tick(world, 5_000);
    expect(host.status().quarantined).toMatchObject([{ key: KEY }]);
    expect(host.status().slots).toHaveLength(64);
    expect(world.put).toEqual([]);
    expect(host.question(KEY, { ask: 'inspect' })).toMatchObject({ outbox: { waiting: 2 } });
  },
);

test('rows that do not fit are folded anew when the ledger is ahead of them too', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await slip(world, recordWith([]));
  const head = world.rows.get([KEY, 'head']);
  world.rows.commit([[[KEY, 'head'], { ...(head as object), hash: 'a bit flipped' }]]);
  expect(await host.command(KEY, retire)).toMatchObject({ kind: 'answer' });
  expect(host.status().quarantined).toEqual([]);
});

test('a list whose rows are folded anew past a later epoch is not this node\u2019s to turn', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await slip(world, (n, prev) => JSON.stringify({ n, epoch: 9_999, prev, at: 1e13, entries: [] }));
  const head = world.rows.get([KEY, 'head']);
  world.rows.commit([[[KEY, 'head'], { ...(head as object), hash: 'a bit flipped' }]]);
  const many = world.ledger.records.length;
  expect(await host.command(KEY, retire)).toMatchObject({ kind: 'failed' });
  expect(host.status().slots).toHaveLength(63);
  expect(world.ledger.records).toHaveLength(many);
});

test('the outbox of a list that is set aside while it is awake stops', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.outgoingError = new MailError(451, '4.3.0', 'away');
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  await slip(world, () => 'half a rec');
  await host.command(KEY, retire);
  world.outgoingError = null;
  for (let i = 0; i < 20; i++) await tick(world, 10_000);
  expect(world.put).toEqual([]);
});

test('what is for a list that is set aside waits in LATER at once', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await slip(world, () => 'half a rec');
  await host.command(KEY, retire);
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world);
  expect(world.queues.flatMap((queue) => queue.stored())).toEqual([]);
  expect([...world.later.waiting.values()]).toMatchObject([
    { due: { to: 'mailbox', key: KEY, asked: { id: 'hello' } } },
  ]);
});

test('a list is no longer called set aside where its slot is not', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await slip(world, () => 'half a rec');
  await host.command(KEY, retire);
  expect(host.status().quarantined).toHaveLength(1);
  const drained = host.drain();
  for (let i = 0; i < 50; i++) await tick(world, 100);
  await drained;
  expect(host.status().quarantined).toEqual([]);
});

test('a list that was set aside is known to be as soon as its slot is recovered, however far that was read', async () => {
  const before = fakeHostWorld();
  const host = await withList(before);
  await slip(before, () => 'half a rec');
  await host.command(KEY, retire);
  const slot = before.ledger.records.findLast(({ whose }) => whose === KEY)?.slot ?? 0;
  before.rows.commit([[['#slot', slot], before.ledger.records.length]]);
  const world = killed(before);
  const next = await start(world);
  expect(next.status().quarantined).toMatchObject([{ key: KEY, why: /record at/ }]);
});

/** Two nodes; the second comes when the list of the first has a history, and `ledger` is what both read from then on. */
async function secondComes(ledger: (base: FakeHostWorld) => Partial<Ledger>): Promise<Host> {
  const base = fakeHostWorld();
  const { host } = await nodes.start('a', base);
  await nodes.pass(base, 1_000);
  await host.command(KEY, { id: KEY, command: create });
  await host.command(KEY, { id: 'join', command: join });
  await nodes.pass(base, 1_000);
  Object.assign(base.ledger, ledger(base));
  await nodes.start('b', base);
  await nodes.pass(base, 3_000);
  return host;
}

const isFirst = ({ ledger }: FakeHostWorld, seq: number): boolean =>
  ledger.records.find(({ whose }) => whose === KEY)?.seq === seq;

test('a hole in the ledger of a list that is served is told to its owner by who follows it', async () => {
  const host = await secondComes((base) => ({
    async *read(slot, key) {
      for (const { whose, ...record } of base.ledger.records)
        if (record.slot === slot && whose === key && !isFirst(base, record.seq)) yield record;
    },
    async *scan(slots) {
      for (const { whose, ...record } of base.ledger.records)
        if (slots.includes(record.slot) && whose === KEY && !isFirst(base, record.seq))
          yield { ...record, key: KEY };
    },
  }));
  expect(host.status().quarantined).toMatchObject([{ key: KEY }]);
  expect(await host.command(KEY, retire)).toMatchObject({ kind: 'failed' });
});

test('a follower whose own rows do not fit does not set the list aside at its owner', async () => {
  const host = await secondComes((base) => ({
    async *scan(slots) {
      for (const { whose, ...record } of base.ledger.records)
        if (slots.includes(record.slot) && whose === KEY && !isFirst(base, record.seq))
          yield { ...record, key: KEY };
    },
  }));
  expect(host.status().quarantined).toEqual([]);
  expect(await host.command(KEY, retire)).toMatchObject({ kind: 'answer' });
});
