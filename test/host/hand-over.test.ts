/** What a hand-over waits for, and what it does not. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { SETTLED_MS } from '../../src/host/owner.ts';
import { rank } from '../../src/host/placement.ts';
import { listKeyOf, SLOTS, slotOf } from '../../src/mail/list-key.ts';
import { slotRowOf, writtenRow } from '../../src/nats/node-rows.ts';
import { openDraft } from '../../src/store/list-rows.ts';
import type { Ledger } from '../../src/world.ts';
import { type FakeHostWorld, fakeHostWorld } from '../support/fake/host-world.ts';
import { create, start as startAlone } from '../support/host-story.ts';
import { KEY } from '../support/list-story.ts';
import { ownersOf, pass, type RunningNode, running, start, tick } from '../support/nodes-story.ts';

const SLOT = slotOf(KEY);
const NAMES = ['a', 'b', 'c'];
const never = (): Promise<never> => new Promise(() => {});

const named = (name: string | undefined): RunningNode => {
  const node = running.get(name ?? '');
  if (node === undefined) throw new Error(`no node ${name}`);
  return node;
};

/** Three nodes that share all slots and follow each other's; a list, its owner, and who is next. */
async function threeNodes(ledger: Partial<Ledger> = {}) {
  const base = fakeHostWorld();
  await Promise.all(NAMES.map((name) => start(name, base)));
  for (const { world } of running.values()) {
    Object.assign(world, { ledger: { ...world.ledger, ...ledger } });
  }
  await pass(base, 40_000);
  const [owner, heir] = rank(SLOT, NAMES).map(named);
  if (owner === undefined || heir === undefined) throw new Error('a node is missing');
  await owner.host.command(KEY, { id: KEY, command: create });
  await pass(base, 3_000);
  return { base, owner, heir };
}

/** The slots that this node reads from the ledger from now on. */
function scansOf({ ledger }: FakeHostWorld): Set<number> {
  const { scan } = ledger;
  const scanned = new Set<number>();
  Object.assign(ledger, {
    scan: (...asked: Parameters<Ledger['scan']>) => {
      for (const slot of asked[0]) scanned.add(slot);
      return scan(...asked);
    },
  });
  return scanned;
}

const isListAt = ({ host }: RunningNode): void =>
  expect(host.question(KEY, { ask: 'list' })).toMatchObject({ address: create.address });

test('a slot that was followed is taken over without its history being read: the record that acquires it comes last', async () => {
  const { base, owner, heir } = await threeNodes();
  const scanned = scansOf(heir.world);
  const drained = owner.host.drain();
  while (ownersOf(SLOT)[0] !== heir.world.node) await tick(base, 10);
  isListAt(heir);
  expect([...scanned]).toEqual([]);
  await Promise.all([drained, pass(base, 2_000)]);
});

test('who hands a slot over names its heir in the bucket: the heir has only the ledger left to tell', async () => {
  const { base, owner, heir } = await threeNodes();
  const { update } = base.slots;
  let told = 0;
  Object.assign(base.slots, {
    update: (...row: Parameters<typeof update>) => {
      if (row[0] === String(SLOT)) told += 1;
      return update(...row);
    },
  });
  const drained = owner.host.drain();
  await pass(base, 5_000);
  await drained;
  expect(ownersOf(SLOT)).toEqual([heir.world.node]);
  expect(told).toBe(1);
});

test('a slot that was handed to us, and is another living node’s by now, is not taken from it', async () => {
  const { base, owner, heir } = await threeNodes();
  const { get } = base.slots;
  const third = [...running.values()].find((node) => node !== owner && node !== heir);
  const { node, lease } = third?.membership ?? owner.membership;
  const { incarnation } = lease;
  Object.assign(base.slots, {
    get: async (key: string) => {
      const row = await get(key);
      const value = writtenRow({ node, incarnation, at: base.clock.now() });
      if (key !== String(SLOT) || row === null) return row;
      return { ...row, value, revision: row.revision + 1 };
    },
  });
  const drained = owner.host.drain();
  await pass(base, 5_000);
  await drained;
  expect(ownersOf(SLOT)).toEqual([]);
});

test('a slot that came is not passed on before it has been here for a while', async () => {
  const { base, owner, heir } = await threeNodes();
  const drained = owner.host.drain();
  await pass(base, 3_000);
  await drained;
  await owner.host.undrain();
  await pass(base, SETTLED_MS - 5_000);
  expect(ownersOf(SLOT)).toEqual([heir.world.node]);
  await pass(base, 30_000);
  expect(ownersOf(SLOT)).toEqual([owner.world.node]);
});

test('a slot whose follower hears nothing is taken over from its history', async () => {
  const follow: Ledger['follow'] = async function* (_slots, _after, signal) {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  };
  const { base, owner, heir } = await threeNodes({ follow });
  const scanned = scansOf(heir.world);
  const drained = owner.host.drain();
  await pass(base, 5_000);
  await drained;
  expect(ownersOf(SLOT)).toEqual([heir.world.node]);
  isListAt(heir);
  expect([...scanned]).toContain(SLOT);
});

test('a node that comes back follows the slots that are about to be handed over to it', async () => {
  const base = fakeHostWorld();
  await start('a', base);
  await pass(base, 1_000);
  const { host } = await start('b', base);
  await pass(base, 3_000);
  const its = Array.from({ length: SLOTS }, (_, slot) => slot).filter(
    (slot) => rank(slot, ['a', 'b'])[0] === 'b',
  );
  expect(ownersOf(its[0] ?? 0)).toEqual(['a']);
  expect(host.status().standby).toEqual(expect.arrayContaining(its));
});

test('slots are handed over while it is still being said that the node drains', async () => {
  const { base, owner, heir } = await threeNodes();
  const { update } = base.nodes;
  Object.assign(base.nodes, {
    update: (key: string, ...row: [Uint8Array, number]) =>
      key === owner.world.node ? never() : update(key, ...row),
  });
  void owner.host.drain();
  await pass(base, 1_000);
  Object.assign(base.nodes, { update });
  expect(owner.host.status().slots).toEqual([]);
  const row = await base.slots.get(String(SLOT));
  expect(slotRowOf(row?.value ?? new Uint8Array())).toMatchObject({ node: heir.world.node });
  expect(ownersOf(SLOT)).toEqual([heir.world.node]); // Though it does not know yet why.
  running.delete(owner.world.node); // It waits for ever.
});

test('a request that is never answered holds up the hand-over of its slot no longer than a second', async () => {
  const base = fakeHostWorld();
  const a = await start('a', base);
  Object.assign(a.world, { serveAsks: () => ({ close: never }) });
  await pass(base, 1_000);
  const drained = a.host.drain();
  await pass(base, 2_000);
  await drained;
  expect(a.host.status().slots).toEqual([]);
});

test('the ledger is told whose a slot is only when the bucket has said so: no epoch is older than one of another who had it since', async () => {
  const base = fakeHostWorld();
  const held = Promise.withResolvers<void>();
  const { create: put } = base.slots;
  Object.assign(base.slots, {
    create: async (...row: Parameters<typeof put>) => {
      await held.promise;
      return await put(...row);
    },
  });
  const { host } = await start('a', base);
  await pass(base, 1_000);
  expect(base.ledger.records).toEqual([]);
  held.resolve();
  await pass(base, 1_000);
  expect(host.status().slots).toHaveLength(SLOTS);
  expect(base.ledger.records).toHaveLength(SLOTS);
});

test('a slot that was asked for in doubt is not taken from a living node that has it by now', async () => {
  const base = fakeHostWorld();
  const { create: put } = base.slots;
  const named = { node: 'x', incarnation: 'x' };
  const lives = { version: '0', pid: 1, startedAt: 0, isDraining: false, beat: 1 };
  Object.assign(base.slots, {
    create: async (...[key, ours]: Parameters<typeof put>) => {
      if (key !== String(SLOT)) return await put(key, ours);
      await base.nodes.create('x', writtenRow({ ...named, roles: ['host'], ...lives }));
      await put(key, writtenRow({ ...named, at: base.clock.now() }));
      throw new MailError(451, '4.3.0', 'no answer');
    },
  });
  const { host } = await start('a', base);
  await pass(base, 2_000);
  expect(host.status().slots.map(({ slot }) => slot)).not.toContain(SLOT);
});

test('who did not get a slot, and hears that it is free before that, takes it', async () => {
  const base = fakeHostWorld();
  const held = Promise.withResolvers<void>();
  const { create: put, get } = base.slots;
  const row = (node: string | null) =>
    writtenRow({ node, incarnation: node ?? '', at: base.clock.now() });
  Object.assign(base.slots, {
    create: async (...[key, ours]: Parameters<typeof put>) => {
      if (key !== String(SLOT)) return await put(key, ours);
      const revision = (await put(key, row('x'))) ?? 0;
      await base.slots.update(key, row(null), revision);
      return null;
    },
    get: async (key: string) => {
      if (key === String(SLOT)) await held.promise;
      return await get(key);
    },
  });
  const { host } = await start('a', base);
  await pass(base, 2_000);
  held.resolve();
  await pass(base, 2_000);
  expect(host.status().slots).toHaveLength(SLOTS);
});

test('what was left undone is looked for in slices, between which everything else has its turn', async () => {
  const world = fakeHostWorld();
  const random = (i: number) => Buffer.from(String(i).padStart(26, '0'));
  const keys = Array.from({ length: 1_000 }, (_, i) => listKeyOf(random(i)));
  const head = { ...openDraft(world.rows, KEY, 0).head(), waiting: 1 };
  world.rows.commit(keys.map((key) => [[key, 'head'], head]));
  const { nextTick } = world;
  const { range } = world.rows;
  let steps = 0;
  let most = 0;
  Object.assign(world, {
    nextTick: (run: () => void) =>
      nextTick(() => {
        steps = 0;
        run();
      }),
  });
  Object.assign(world.rows, {
    range: (...asked: Parameters<typeof range>) => {
      if (asked[1][0] === '{') steps += 1;
      most = Math.max(most, steps);
      return range(...asked);
    },
  });
  const host = await startAlone(world);
  for (let i = 0; i < 10; i++) await tick(world);
  expect(host.status().awake).toBe(new Set(keys).size);
  expect(most).toBeGreaterThan(1);
  expect(most).toBeLessThan(100);
});
