import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { rebuild } from '../../src/host/rebuild.ts';
import { hashOf } from '../../src/host/record.ts';
import { openDraft } from '../../src/store/list-rows.ts';
import { fakeHostWorld } from '../support/fake/host-world.ts';
import { fakeRows } from '../support/fake/rows.ts';
import {
  answered,
  dump,
  killed,
  mailOf,
  records,
  start,
  tick,
  withList,
} from '../support/host-story.ts';
import { ANNE, address, BART, KEY, LIST, OPERATOR } from '../support/list-story.ts';

test('a post to a list becomes one record, then a chunk with its members, then an archived copy', async () => {
  const world = fakeHostWorld();
  await withList(world);
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  expect(world.put).toMatchObject([
    {
      key: KEY,
      post: '1',
      chunk: '0',
      try: 0,
      class: 'post',
      to: [
        [1, ANNE],
        [2, BART],
      ],
    },
  ]);
  expect(await world.mail.find('archive', KEY, 'a1')).not.toBeNull();
  expect(world.directory.get(LIST)).toBe('active');
  expect(world.queues.flatMap((queue) => queue.stored())).toEqual([]);
});

test('records are contiguous and chained, and their time never goes back', async () => {
  const world = fakeHostWorld();
  await withList(world);
  world.clock.jump(-3_600_000);
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  const all = records(world);
  expect(all.length).toBeGreaterThan(3);
  let before = { n: 0, hash: '', at: 0 };
  for (const { bytes, record } of all) {
    expect(record).toMatchObject({ n: before.n + 1, prev: before.hash });
    expect(record.at).toBeGreaterThanOrEqual(before.at);
    before = { n: record.n, hash: hashOf(bytes), at: record.at };
  }
});

test('a command asked again is answered as it was, and happens once', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const eve = { address: address('eve@example.org'), name: '' };
  const asked = {
    id: 'x',
    command: { type: 'add-members', members: [eve], by: OPERATOR },
  } as const;
  const first = await host.command(KEY, asked);
  const again = await host.command(KEY, asked);
  expect(answered(first)).toEqual({ type: 'members-added', added: 1, already: 0, first: 3 });
  expect(answered(again)).toEqual(answered(first));
  const added = records(world)
    .flatMap(({ record }) => record.entries)
    .filter(({ commandId }) => commandId === 'x');
  expect(added).toHaveLength(1);
});

test('commands that wait together share one record, each with its own answer, refusals after the append', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const before = records(world).length;
  const replies = await Promise.all([
    host.command(KEY, {
      id: 'a',
      command: { type: 'set', settings: { displayName: 'A' }, by: OPERATOR },
    }),
    host.command(KEY, { id: 'b', command: { type: 'approve', hold: 9, by: OPERATOR } }),
    host.command(KEY, {
      id: 'c',
      command: { type: 'set', settings: { displayName: 'C' }, by: OPERATOR },
    }),
  ]);
  expect(replies.map(({ kind }) => kind)).toEqual(['answer', 'refusal', 'answer']);
  expect(records(world).length).toBeLessThanOrEqual(before + 2);
  expect(openDraft(world.rows, KEY, 0).state().settings.displayName).toBe('C');
});

test.each(['doubt-stored', 'doubt-late', 'doubt-lost', 'full'] as const)(
  'an append that ends in %s is sent again with the same bytes until the ledger answers',
  async (fault) => {
    const world = fakeHostWorld();
    const host = await withList(world);
    let faults = 3;
    world.ledger.fault = (_, whose) => (whose !== 'owner' && faults-- > 0 ? fault : null);
    const reply = host.command(KEY, { id: 'z', command: { type: 'retire', by: OPERATOR } });
    for (let i = 0; i < 20; i++) await tick(world, 500);
    expect(answered(await reply)).toEqual({ type: 'done' });
    const entries = records(world).flatMap(({ record }) => record.entries);
    expect(entries.filter(({ commandId }) => commandId === 'z')).toHaveLength(1);
    expect(world.directory.get(LIST)).toBe('retired');
  },
);

test('window 7: appended but not committed, the next host folds it and does its effects', async () => {
  const world = fakeHostWorld();
  await withList(world);
  const stale = fakeRows();
  stale.commit(dump(world.rows));
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 100);
  const next = killed(world, stale);
  next.put.length = 0;
  await start(next);
  await tick(next, 2_000);
  expect(next.put).toMatchObject([{ post: '1', chunk: '0' }]);
});

test('window 19: with every row lost the ledger gives the same rows, outbox and seen included', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.send(KEY, await mailOf(world, 'one'));
  await host.command(KEY, {
    id: 'closed',
    command: { type: 'set', settings: { posting: 'closed' }, by: OPERATOR },
  });
  world.send(KEY, await mailOf(world, 'two'));
  await tick(world, 3_000);
  await host.command(KEY, {
    id: 'bye',
    command: { type: 'remove-member', who: { address: BART }, by: OPERATOR },
  });
  world.outgoingError = new MailError(451, '4.3.0', 'away');
  await host.command(KEY, { id: 'yes', command: { type: 'approve', hold: 1, by: OPERATOR } });
  await tick(world, 10);
  const before = dump(world.rows);
  expect(before.some(([key]) => key[1] === 'outbox')).toBe(true);
  expect(before.some(([key]) => key[1] === 'seen')).toBe(true);
  const rows = fakeRows();
  const { ledger, clock, nextTick } = world;
  await rebuild({ rows, ledger, clock, nextTick }, () => {});
  expect(dump(rows)).toEqual(before);
  world.outgoingError = null;
  await tick(world, 70_000);
});

test('a fan-out that fails goes on where it was, with the same chunk ids', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  for (let i = 0; i < 6; i++) {
    const members = Array.from({ length: 1_000 }, (_, k) => ({
      address: address(`m${i * 1_000 + k}@example.org`),
      name: '',
    }));
    await host.command(KEY, {
      id: `bulk${i}`,
      command: { type: 'add-members', members, by: OPERATOR },
    });
  }
  let puts = 0;
  const put = world.outgoing.put.bind(world.outgoing);
  Object.assign(world.outgoing, {
    put: async (chunks: Parameters<typeof put>[0]) => {
      puts += 1;
      if (puts === 2) throw new MailError(451, '4.3.0', 'away');
      return put(chunks);
    },
  });
  world.send(KEY, await mailOf(world, 'to all'));
  for (let i = 0; i < 10; i++) await tick(world, 500);
  const numbers = world.put.flatMap(({ to }) => to.map(([number]) => number));
  expect(numbers).toHaveLength(6_002);
  expect(new Set(numbers).size).toBe(6_002);
  expect(world.put.map(({ chunk }) => chunk)).toEqual(
    Array.from({ length: 12 }, (_, i) => String(i)),
  );
});
