/** An operator leaves out what of a list's ledger cannot be folded; the list goes on, and every fold of the ledger agrees. */
import { expect, test } from 'vitest';
import type { ChainView } from '../../actors/list/repairing.ts';
import type { Command } from '../../actors/protocol.ts';
import { MailError } from '../../src/errors.ts';
import { BrokenChainError, foldRecord } from '../../src/host/chain.ts';
import type { Host } from '../../src/host/host.ts';
import { rebuild } from '../../src/host/rebuild.ts';
import { hashOf } from '../../src/host/record.ts';
import type { Rows } from '../../src/world.ts';
import { type FakeHostWorld, fakeHostWorld } from '../support/fake/host-world.ts';
import { fakeRows } from '../support/fake/rows.ts';
import { dump, killed, mailOf, start, tick, withList } from '../support/host-story.ts';
import { ANNE, KEY, OPERATOR, post } from '../support/list-story.ts';

const add = (name: string): { id: string; command: Command } => ({
  id: name,
  command: {
    type: 'add-members',
    members: [{ address: `${name}@example.org` as typeof ANNE, name: '' }],
    by: OPERATOR,
  },
});

/** Appends behind the list's back, after what the ledger has of it. */
async function slip(
  world: FakeHostWorld,
  bytesAfter: (n: number, prev: string) => string,
): Promise<number> {
  const last = world.ledger.records.findLast(({ whose }) => whose === KEY);
  if (last === undefined) throw new Error('the list has no record');
  const n = world.ledger.records.filter(({ whose }) => whose === KEY).length;
  const bytes = Buffer.from(bytesAfter(n + 1, hashOf(last.bytes)));
  await world.ledger.append(last.slot, KEY, bytes, last.seq);
  return world.ledger.records.length;
}

const recordOf = (n: number, prev: string, facts: readonly unknown[]): string =>
  JSON.stringify({
    ...{ n, epoch: 1, prev, at: 1 },
    entries: [{ commandId: `slipped-${n}`, facts }],
  });
const accepted = (number: number) => ({
  ...{ type: 'post-accepted', number, post: post({ id: `p${number}` }) },
  ...{ counter: 3, width: 500, hold: null },
});

/** A list that was set aside for a record that is none, with one after it that nobody can fold either. */
async function setAside(world: FakeHostWorld): Promise<{ host: Host; from: number; to: number }> {
  const host = await withList(world);
  const from = await slip(world, () => 'half a rec');
  const to = await slip(world, (n, prev) =>
    recordOf(n, prev, [
      accepted(7),
      { type: 'post-held', hold: 4, post: post({}), reasons: [] },
      { type: 'members-added', first: 10, members: [{}, {}], already: 0, by: OPERATOR },
    ]),
  );
  expect(await host.command(KEY, add('x'))).toMatchObject({ kind: 'failed' });
  return { host, from, to };
}

const repair = (from: number, to: number, id = 'repair') => ({
  id,
  command: { type: 'repair', from, to, by: OPERATOR } as const,
});
const chain = async (host: Host): Promise<ChainView> => (await host.chain(KEY)) as ChainView;
/** The list's rows, and whether it is set aside; not how far each slot is read. */
const rowsOf = (rows: Rows) => dump(rows).filter(([[kind]]) => kind !== '#slot');

async function rebuilt(world: FakeHostWorld) {
  const rows = fakeRows();
  const { broken } = await rebuild({ ...world, rows }, () => undefined);
  return { rows: rowsOf(rows), broken };
}

test('what cannot be folded is told, with what is in it, and nothing is changed by looking', async () => {
  const world = fakeHostWorld();
  const { host, from, to } = await setAside(world);
  const before = dump(world.rows);
  const { length } = world.ledger.records;
  expect(await chain(host)).toEqual({
    broken: {
      ...{ why: expect.stringContaining(`the record at ${from} cannot be folded`), from, to },
      ...{ records: 2, unreadable: 1, mails: [1] },
      facts: { 'post-accepted': 1, 'post-held': 1, 'members-added': 1 },
    },
    repairs: [],
  });
  expect(dump(world.rows)).toEqual(before);
  expect(world.ledger.records).toHaveLength(length);
});

test('a repaired list goes on; the ledger gives the same rows by every way there is to fold it', async () => {
  const world = fakeHostWorld();
  const { host, from, to } = await setAside(world);
  world.send(KEY, await mailOf(world, 'kept'));
  await tick(world);
  expect(await host.command(KEY, repair(from, to))).toMatchObject({ kind: 'answer' });
  expect(host.status().quarantined).toEqual([]);
  expect(await host.command(KEY, add('y'))).toMatchObject({ kind: 'answer' });
  await tick(world, 2_000);
  const left = {
    from,
    to,
    records: 2,
    at: expect.any(Number),
    by: OPERATOR,
    n: expect.any(Number),
  };
  expect(await chain(host)).toEqual({ broken: null, repairs: [left] });
  expect(host.question(KEY, { ask: 'inspect' })).toMatchObject({ repairs: [left] });
  expect(await rebuilt(world)).toEqual({ rows: rowsOf(world.rows), broken: [] });
  // Who follows meets what is broken first, then what says that it is left out.
  const rows = fakeRows();
  for (const { whose, ...stored } of world.ledger.records) {
    if (whose !== KEY) continue;
    try {
      rows.commit(foldRecord({ rows }, KEY, stored)?.writes ?? []);
    } catch (error) {
      expect(error).toBeInstanceOf(BrokenChainError);
    }
  }
  expect(rowsOf(rows)).toEqual(rowsOf(world.rows));
});

test('a repaired list uses no number that what is left out may have used', async () => {
  const world = fakeHostWorld();
  const { host, from, to } = await setAside(world);
  await host.command(KEY, repair(from, to));
  const joined = await host.command(KEY, add('y'));
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  // Above 7 posts, 4 holds and 11 members by what is read, and by what the record that cannot be read may have had.
  expect(joined).toMatchObject({ answer: { first: 1_003 } });
  expect(world.put.map(({ post: name }) => Number(name))).toEqual([257]);
  expect(host.question(KEY, { ask: 'inspect' })).toMatchObject({ posts: 257, nextMember: 1_004 });
});

test('a list whose last record is the first that is left out knows its numbers too', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const at = await slip(world, (n, prev) => recordOf(n, prev, [accepted(7), { type: 'nonsense' }]));
  await host.command(KEY, add('x'));
  expect(await host.command(KEY, repair(at, at))).toMatchObject({ kind: 'answer' });
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  expect(world.put.map(({ post: name }) => Number(name))).toEqual([8]);
  expect(await rebuilt(world)).toEqual({ rows: rowsOf(world.rows), broken: [] });
});

test('a record that this version could fold stays left out where another could not', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const { n, seq } = host.position(KEY);
  const prev = (world.rows.get([KEY, 'head']) as { hash: string }).hash;
  const at = await slip(world, () =>
    recordOf(n + 1, prev, [{ type: 'list-retired', by: OPERATOR }]),
  );
  await slip(world, () =>
    recordOf(n + 1, prev, [
      {
        type: 'list-repaired',
        from: at,
        to: at,
        records: 1,
        posts: 9,
        nextMember: 9,
        holds: 9,
        by: OPERATOR,
      },
    ]),
  );
  expect(seq).toBeLessThan(at);
  expect(await host.command(KEY, add('y'))).toMatchObject({ kind: 'answer' });
  expect(host.question(KEY, { ask: 'list' })).toMatchObject({ state: 'open', members: 3 });
  await tick(world, 2_000);
  expect(await rebuilt(world)).toEqual({ rows: rowsOf(world.rows), broken: [] });
});

test('the same repair asked again is one', async () => {
  const world = fakeHostWorld();
  const { host, from, to } = await setAside(world);
  const replies = [host.command(KEY, repair(from, to)), host.command(KEY, repair(from, to))];
  expect(await Promise.all(replies)).toMatchObject([{ kind: 'answer' }, { kind: 'answer' }]);
  const { length } = world.ledger.records;
  expect(await host.command(KEY, repair(from, to))).toMatchObject({ kind: 'answer' });
  expect(world.ledger.records).toHaveLength(length);
});

test('only what was named is left out, and only where something is broken', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  expect(await host.command(KEY, repair(1, 2))).toMatchObject({
    refusal: { code: 'nothing-to-do' },
  });
  const { from, to } = { from: await slip(world, () => 'half a rec'), to: 0 };
  await host.command(KEY, add('x'));
  const { length } = world.ledger.records;
  expect(await host.command(KEY, repair(from, from + 1, 'a'))).toMatchObject({
    refusal: { code: 'not-allowed' },
  });
  expect(await host.command(KEY, repair(to, from, 'b'))).toMatchObject({
    refusal: { code: 'not-allowed' },
  });
  const person = { kind: 'person', address: ANNE } as const;
  const { id, command } = repair(from, from, 'c');
  expect(await host.command(KEY, { id, command: { ...command, by: person } })).toMatchObject({
    refusal: { code: 'not-allowed' },
  });
  expect(world.ledger.records).toHaveLength(length);
  expect(host.status().quarantined).toMatchObject([{ key: KEY }]);
});

test('rows that hold more than the ledger gives are kept until an operator names all that will be left out', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const from = await slip(world, (n, prev) => recordOf(n, prev, [{ type: 'nonsense' }]));
  const hash = hashOf(world.ledger.records.at(-1)?.bytes ?? new Uint8Array());
  const head = world.rows.get([KEY, 'head']) as { n: number };
  // As a node of another version would have them.
  world.rows.commit([[[KEY, 'head'], { ...head, n: head.n + 1, seq: from, hash }]]);
  const to = await slip(world, () => 'half a rec');
  await host.command(KEY, add('x'));
  expect((await chain(host)).broken).toMatchObject({ from: to, to });
  const refused = { refusal: { code: 'not-allowed' } };
  const rows = dump(world.rows);
  expect(await host.command(KEY, repair(to, to + 1, 'a'))).toMatchObject(refused);
  expect(dump(world.rows)).toEqual(rows);
  expect(await host.command(KEY, repair(to, to, 'b'))).toMatchObject(refused);
  expect((await chain(host)).broken).toMatchObject({ from, to });
  expect(await host.command(KEY, repair(from, to, 'c'))).toMatchObject({ kind: 'answer' });
});

test('a record that another appends meanwhile is not left out unseen', async () => {
  const world = fakeHostWorld();
  const { host, from, to } = await setAside(world);
  const { append } = world.ledger;
  world.ledger.append = async (slot, whose, bytes, expected) => {
    world.ledger.append = append;
    await slip(world, () => 'one more');
    return append(slot, whose, bytes, expected);
  };
  expect(await host.command(KEY, repair(from, to))).toMatchObject({ kind: 'failed' });
  expect(host.status().quarantined).toMatchObject([{ key: KEY }]);
  expect((await chain(host)).broken).toMatchObject({ from, to: to + 1, records: 3 });
});

test('appended but not committed, the next owner leaves out what the record names', async () => {
  const before = fakeHostWorld();
  const { host, from, to } = await setAside(before);
  before.ledger.fault = (_, whose) => (whose === KEY ? 'doubt-stored' : null);
  void host.command(KEY, repair(from, to));
  await tick(before);
  before.ledger.fault = () => null;
  const world = killed(before);
  const next = await start(world);
  expect(next.status().quarantined).toEqual([]);
  expect(await next.command(KEY, add('y'))).toMatchObject({ kind: 'answer' });
  await tick(world, 2_000);
  expect(await rebuilt(world)).toEqual({ rows: rowsOf(world.rows), broken: [] });
});

test('what a repaired list had still to do is done', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.outgoingError = new MailError(451, '4.3.0', 'away');
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  const at = await slip(world, () => 'half a rec');
  await host.command(KEY, add('x'));
  world.outgoingError = null;
  world.directory.clear();
  await host.command(KEY, repair(at, at));
  await tick(world, 2_000);
  expect(world.put).toMatchObject([{ post: '1' }]);
  expect([...world.directory.values()]).toEqual(['active']);
});
