import { expect, test } from 'vitest';
import type { Command } from '../../actors/protocol.ts';
import { LEASE_FORGOTTEN_MS } from '../../src/host/lease.ts';
import { SETTLED_MS } from '../../src/host/owner.ts';
import { rank } from '../../src/host/placement.ts';
import { decodeRecord } from '../../src/host/record.ts';
import { slotOf } from '../../src/mail/list-key.ts';
import { fakeHostWorld } from '../support/fake/host-world.ts';
import { ANNE, KEY, LIST, OPERATOR } from '../support/list-story.ts';
import { ownersOf, pass, running, start, tick } from '../support/nodes-story.ts';

const SLOT = slotOf(KEY);

const everySlotHasOneOwner = (): void => {
  for (let slot = 0; slot < 64; slot++)
    expect([slot, ownersOf(slot)]).toEqual([slot, [expect.any(String)]]);
};

const create: Command = {
  type: 'create',
  address: LIST,
  settings: {},
  owners: [ANNE],
  by: OPERATOR,
};

test('the placement moves only what a node gains or leaves', () => {
  const slots = Array.from({ length: 64 }, (_, slot) => slot);
  const before = slots.map((slot) => rank(slot, ['a', 'b', 'c'])[0]);
  const after = slots.map((slot) => rank(slot, ['b', 'a'])[0]);
  for (const slot of slots) if (before[slot] !== 'c') expect(after[slot]).toBe(before[slot]);
  for (const name of ['a', 'b', 'c']) {
    const share = before.filter((one) => one === name).length;
    expect(share).toBeGreaterThan(8);
  }
});

test('three nodes that start together share all slots, each with one owner', async () => {
  const base = fakeHostWorld();
  await Promise.all(['a', 'b', 'c'].map((name) => start(name, base)));
  await pass(base, 30_000);
  everySlotHasOneOwner();
  expect([...running.values()].every(({ host }) => host.status().slots.length > 8)).toBe(true);
});

test('a node that comes is given its slots one at a time, once it has lived for a while', async () => {
  const base = fakeHostWorld();
  const a = await start('a', base);
  await pass(base, 1_000);
  expect(a.host.status().slots).toHaveLength(64);
  await start('b', base);
  await pass(base, SETTLED_MS - 1_000);
  expect(a.host.status().slots).toHaveLength(64);
  await pass(base, 60_000);
  everySlotHasOneOwner();
  expect(ownersOf(SLOT)).toEqual([rank(SLOT, ['a', 'b'])[0]]);
});

test('a node that is told to stop hands everything over within two seconds', async () => {
  const base = fakeHostWorld();
  const nodes = await Promise.all(['a', 'b'].map((name) => start(name, base)));
  await pass(base, 30_000);
  const before = base.clock.monotonic();
  const stopped = nodes[0]?.host.stop();
  running.delete('a');
  while (running.get('b')?.host.status().slots.length !== 64) await tick(base, 50);
  expect(base.clock.monotonic() - before).toBeLessThan(2_000);
  await Promise.all([stopped, pass(base, 2_000)]);
});

/** Stops a node's world: its clock goes on for others, but nothing it does reaches anybody. */
function kill(name: string): void {
  const node = running.get(name);
  if (node === undefined) throw new Error(`no node ${name}`);
  running.delete(name);
  const never = () => new Promise<never>(() => {});
  Object.assign(node.world.nodes, {});
  Object.assign(node.world, { ledger: { ...node.world.ledger, append: never } });
  void node.membership.stop();
}

test('a node that was drained owns its slots again when it is undrained, without a restart', async () => {
  const base = fakeHostWorld();
  await Promise.all(['a', 'b'].map((name) => start(name, base)));
  await pass(base, 30_000);
  const [a, b] = [...running.values()];
  const before = Array.from({ length: 64 }, (_, slot) => ownersOf(slot));
  const drained = a?.host.drain();
  await pass(base, 5_000);
  await drained;
  expect(a?.host.status().slots).toEqual([]);
  expect(b?.host.status().slots).toHaveLength(64);
  await a?.host.undrain();
  await pass(base, 60_000);
  expect(Array.from({ length: 64 }, (_, slot) => ownersOf(slot))).toEqual(before);
});

test('a node alone takes all slots back when it is undrained', async () => {
  const base = fakeHostWorld();
  const { host } = await start('a', base);
  await pass(base, 1_000);
  const drained = host.drain();
  await pass(base, 5_000);
  await drained;
  expect(host.status().slots).toEqual([]);
  await host.undrain();
  await pass(base, 1_000);
  expect(host.status().slots).toHaveLength(64);
});

test('when a node gives up its lease, the others have its lists with all their history', async () => {
  const base = fakeHostWorld();
  const first = await start('a', base);
  await pass(base, 1_000);
  await first.host.command(KEY, { id: KEY, command: create });
  await start('b', base);
  await pass(base, 60_000);
  const [owner] = ownersOf(SLOT);
  kill(owner ?? '');
  await pass(base, LEASE_FORGOTTEN_MS + 2_000);
  const [heir] = running.values();
  expect(heir?.host.question(KEY, { ask: 'list' })).toMatchObject({ address: LIST });
  expect(heir?.host.status().slots).toHaveLength(64);
});

test('the next node in order follows the ledger and has the rows before it owns the slot', async () => {
  const base = fakeHostWorld();
  await Promise.all(['a', 'b', 'c'].map((name) => start(name, base)));
  await pass(base, 40_000);
  const [first, second] = rank(SLOT, ['a', 'b', 'c']);
  await running.get(first ?? '')?.host.command(KEY, { id: KEY, command: create });
  await pass(base, 3_000);
  const next = running.get(second ?? '');
  expect(next?.host.status().standby).toContain(SLOT);
  expect(next?.host.position(KEY).n).toBeGreaterThan(0);
});

test('an owner that slept through its lease is refused by the ledger, and says nothing', async () => {
  const base = fakeHostWorld();
  const a = await start('a', base);
  await pass(base, 1_000);
  await a.host.command(KEY, { id: KEY, command: create });
  // `a` is held between its append and the answer while another owner with a later epoch writes.
  const { append } = a.world.ledger;
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  Object.assign(a.world.ledger, {
    append: async (...args: Parameters<typeof append>) => {
      if (args[1] === KEY) await held;
      return append(...args);
    },
  });
  const late = a.host.command(KEY, { id: 'late', command: { type: 'retire', by: OPERATOR } });
  await tick(base);
  const records = a.world.ledger.records.filter(({ whose }) => whose === KEY);
  const last = records.at(-1);
  const { n } = decodeRecord(last?.bytes ?? new Uint8Array());
  const rival = { n: n + 1, epoch: 1e6, prev: 'x', at: 1, entries: [] };
  await append(SLOT, KEY, Buffer.from(JSON.stringify(rival)), last?.seq ?? 0);
  release();
  await tick(base, 100);
  expect(await late).toMatchObject({ kind: 'failed' });
  expect(a.world.ledger.records.filter(({ whose }) => whose === KEY)).toHaveLength(
    records.length + 1,
  );
});
