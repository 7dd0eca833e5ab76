/** Suspicion: what one list finds dead, the others of the site ask about: once, and no more than ask. */
import { expect, test } from 'vitest';
import type { BounceHistory, BounceReport } from '../../actors/bounces/report.ts';
import type { Settings } from '../../actors/protocol.ts';
import { MailError } from '../../src/errors.ts';
import type { Host } from '../../src/host/host.ts';
import { SUSPECTS_MAX } from '../../src/host/suspicion.ts';
import { PROBES_FROM } from '../../src/mail/bounce-event.ts';
import { type ListKey, slotOf } from '../../src/mail/list-key.ts';
import { SUSPECT_DAYS } from '../../src/nats/streams.ts';
import { bounce, hint } from '../support/bounce-story.ts';
import { type FakeHostWorld, fakeHostWorld } from '../support/fake/host-world.ts';
import { fakeRows } from '../support/fake/rows.ts';
import { create, finish, join, killed, start, tick, withList } from '../support/host-story.ts';
import { ANNE, address, BART, KEY, LIST, OPERATOR } from '../support/list-story.ts';

const DAY_MS = 86_400_000;
/** A checkpoint, what it asks, the turn, and the list's word that comes back. */
const ROUND_MS = 5_000;
/** Lists in other slots than `KEY`. */
const NEWS = 'n'.repeat(26) as ListKey;
const TEAM = 't'.repeat(26) as ListKey;

async function rounds(world: FakeHostWorld, many = 3): Promise<void> {
  for (let i = 0; i < many; i++) await tick(world, ROUND_MS);
}

async function more(
  host: Host,
  key: ListKey,
  settings: Partial<Settings> = {},
  members = join,
): Promise<void> {
  const at = address(`${key.slice(0, 4)}@lists.example`);
  await host.command(key, { id: key, command: { ...create, address: at, settings } });
  await host.command(key, { id: `join ${key}`, command: members });
}

/** Two lists with the same members, where one bounce is enough for a probe. */
async function twoLists(world: FakeHostWorld, ofNews: Partial<Settings> = {}): Promise<Host> {
  const host = await withList(world);
  await more(host, NEWS, ofNews);
  const settings = { bounceThreshold: 1 };
  await host.command(KEY, { id: 'threshold', command: { type: 'set', settings, by: OPERATOR } });
  await tick(world);
  return host;
}

/** Bart's mail on the list `KEY` comes back, and then its probe. */
async function dies(world: FakeHostWorld, reason = 'user-unknown'): Promise<void> {
  await world.bounces.put(KEY, bounce(2, 1, { at: world.clock.now(), reason: 'user-unknown' }));
  await rounds(world);
  await world.bounces.put(KEY, bounce(2, PROBES_FROM + 1, { at: world.clock.now(), reason }));
  await rounds(world);
}

const probesOf = (world: FakeHostWorld, key: ListKey): unknown[] =>
  world.put
    .filter((chunk) => chunk.recipe.kind === 'probe' && chunk.key === key)
    .map(({ to }) => to);
const mailOf = (host: Host, key: ListKey, who = BART): BounceHistory =>
  host.question(key, { ask: 'bounces-of', who: { address: who } }) as BounceHistory;
const countOf = (host: Host): number =>
  (host.question(NEWS, { ask: 'bounce-report' }) as BounceReport).suspects;

test('a member whom one list finds dead gets one probe from each other list, and nothing else', async () => {
  expect(new Set([KEY, NEWS, TEAM].map(slotOf)).size).toBe(3);
  const world = fakeHostWorld();
  const host = await twoLists(world);
  await more(host, TEAM, {}, { ...join, members: [{ address: ANNE, name: '' }] } as typeof join);
  await dies(world);
  expect(mailOf(host, KEY)).toMatchObject({ mail: 'disabled', suspect: null });
  expect(probesOf(world, NEWS)).toEqual([[[2, BART]]]);
  expect(probesOf(world, TEAM)).toEqual([]);
  expect(mailOf(host, NEWS)).toMatchObject({
    ...{ mail: 'probing', score: 0, bounces: 0 },
    suspect: { list: LIST, reason: 'user-unknown', since: expect.any(Number) },
  });
  expect(mailOf(host, NEWS, ANNE)).toMatchObject({ mail: 'delivering', suspect: null });
  expect(countOf(host)).toBe(1);

  world.clock.jump(20 * DAY_MS);
  await rounds(world);
  expect(mailOf(host, NEWS)).toMatchObject({ mail: 'delivering' }); // It did not come back.
  expect(probesOf(world, NEWS)).toHaveLength(1);
});

test('only the probe that comes back to the other list itself stops its mail', async () => {
  const world = fakeHostWorld();
  const host = await twoLists(world);
  await dies(world);
  expect(mailOf(host, NEWS)).toMatchObject({ mail: 'probing' });
  await world.bounces.put(NEWS, bounce(2, PROBES_FROM + 1, { at: world.clock.now() }));
  await rounds(world);
  expect(mailOf(host, NEWS)).toMatchObject({ mail: 'disabled' });
});

test.each(['policy', 'mailbox-full', 'host-unknown', 'spam'])(
  'an address that is refused for %s is suspect nowhere',
  async (reason) => {
    const world = fakeHostWorld();
    const host = await twoLists(world);
    const settings = { bounceScoring: 'mailman3' } as const; // There any reason may disable.
    await host.command(KEY, { id: 'm3', command: { type: 'set', settings, by: OPERATOR } });
    await dies(world, reason);
    expect(mailOf(host, KEY)).toMatchObject({ mail: 'disabled' });
    expect(countOf(host)).toBe(0);
    expect(probesOf(world, NEWS)).toEqual([]);
  },
);

test('DSNs that anyone can forge make nobody suspect', async () => {
  const world = fakeHostWorld();
  const host = await twoLists(world);
  for (let i = 0; i < 30; i++) {
    const at = world.clock.now();
    await world.bounces.put(KEY, hint(BART, { id: `h${i}`, at }));
    await world.bounces.put(KEY, hint(BART, { id: `c${i}`, at, kind: 'complaint' }));
    world.clock.jump(DAY_MS);
    await rounds(world, 1);
  }
  expect(probesOf(world, KEY).length).toBeGreaterThan(0);
  expect(countOf(host)).toBe(0);
  expect(probesOf(world, NEWS)).toEqual([]);
});

test.each([
  ['it asks about nobody', { bounceSuspects: false }],
  ['its bounces are off', { bounceScoring: 'off' }],
] as const)('a list is left alone where %s', async (_, settings) => {
  const world = fakeHostWorld();
  const host = await twoLists(world, settings);
  await dies(world);
  expect(countOf(host)).toBe(1);
  expect(probesOf(world, NEWS)).toEqual([]);
  expect(mailOf(host, NEWS)).toMatchObject({ mail: 'delivering' });
});

test('a list that asks about nobody does not tell of its own members either', async () => {
  const world = fakeHostWorld();
  const host = await twoLists(world);
  const settings = { bounceSuspects: false };
  await host.command(KEY, { id: 'off', command: { type: 'set', settings, by: OPERATOR } });
  await dies(world);
  expect(mailOf(host, KEY)).toMatchObject({ mail: 'disabled' });
  expect(countOf(host)).toBe(0);
});

test('who comes back on one list is suspect on none, and may die again', async () => {
  const world = fakeHostWorld();
  const host = await twoLists(world);
  await dies(world);
  const command = { type: 'set-delivery', who: { address: BART }, on: true, by: OPERATOR } as const;
  await host.command(KEY, { id: 'back', command });
  await rounds(world);
  expect(countOf(host)).toBe(0);
  expect(mailOf(host, NEWS)).toMatchObject({ suspect: null });
  world.clock.jump(20 * DAY_MS); // The first probe has passed.
  await rounds(world);
  await world.bounces.put(KEY, bounce(2, 2, { at: world.clock.now() }));
  await rounds(world);
  await world.bounces.put(KEY, bounce(2, PROBES_FROM + 2, { at: world.clock.now() }));
  await rounds(world);
  expect(probesOf(world, NEWS)).toHaveLength(2);
});

test('who takes a slot over tells its lists what they were not told, and asks nobody twice', async () => {
  const world = fakeHostWorld();
  await twoLists(world);
  let isAway = true;
  const { mailbox } = world.bounceFold;
  const put: typeof mailbox.put = async (key, asked) => {
    if (isAway && key === NEWS) throw new MailError(451, '4.3.0', 'away');
    await mailbox.put(key, asked);
  };
  Object.assign(world.bounceFold, { mailbox: { put } });
  await dies(world);
  expect(probesOf(world, NEWS)).toEqual([]);
  isAway = false;

  const next = killed(world, fakeRows()); // A node that has no rows at all.
  Object.assign(next.bounceFold, { rows: fakeRows() });
  const host = await start(next);
  await rounds(next);
  expect(probesOf(next, NEWS)).toEqual([[[2, BART]]]);

  next.clock.jump(20 * DAY_MS);
  await rounds(next);
  expect(mailOf(host, NEWS)).toMatchObject({ mail: 'delivering' });
  await finish(host, next);
  const third = killed(next, fakeRows());
  Object.assign(third.bounceFold, { rows: fakeRows() });
  const again = await start(third);
  await rounds(third);
  expect(countOf(again)).toBe(1);
  expect(probesOf(third, NEWS)).toHaveLength(1);
});

test('what was told is not looked up again after a restart', async () => {
  const world = fakeHostWorld();
  const host = await twoLists(world);
  await dies(world);
  await finish(host, world);
  const next = killed(world);
  const asked: string[] = [];
  const { mailbox } = next.bounceFold;
  const put: typeof mailbox.put = async (key, one) => {
    asked.push(one.command.type);
    await mailbox.put(key, one);
  };
  Object.assign(next.bounceFold, { mailbox: { put } });
  await start(next);
  await rounds(next);
  expect(asked).toEqual([]);
});

test('who joins a list after the address was found dead is not asked by that', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const settings = { bounceThreshold: 1 };
  await host.command(KEY, { id: 'threshold', command: { type: 'set', settings, by: OPERATOR } });
  await dies(world);
  await more(host, NEWS);
  await finish(host, world);
  const next = killed(world);
  Object.assign(next.bounceFold, { rows: fakeRows() });
  await start(next);
  await rounds(next);
  expect(probesOf(next, NEWS)).toEqual([]);
});

test('suspicion ends with its age, though nobody is told so by the bucket', async () => {
  const world = fakeHostWorld();
  const host = await twoLists(world);
  await dies(world);
  expect(mailOf(host, NEWS).suspect).not.toBeNull();
  world.clock.jump((SUSPECT_DAYS + 1) * DAY_MS);
  await tick(world);
  expect(mailOf(host, NEWS).suspect).toBeNull();
});

/** Dead on the list `KEY`, all of them. */
async function manyDie(world: FakeHostWorld, many: number): Promise<void> {
  const cause = { seq: 1, reason: 'moved', status: null, code: null, diagnostic: '' };
  const about = { list: LIST, key: KEY, at: world.clock.now(), cause };
  for (let i = 0; i < many; i++)
    await world.suspects.add({ ...about, address: address(`m${i}@x.example`) });
}

test('a node remembers so many suspects, and forgets the oldest', async () => {
  const world = fakeHostWorld();
  await manyDie(world, 2);
  await manyDie(world, SUSPECTS_MAX + 1);
  const host = await twoLists(world);
  expect(countOf(host)).toBe(SUSPECTS_MAX);
  const members = ['m0@x.example', 'm1@x.example'].map((text) => ({
    ...{ address: address(text), name: '' },
  }));
  await host.command(NEWS, { id: 'two', command: { ...join, members } as typeof join });
  expect(mailOf(host, NEWS, address('m0@x.example')).suspect).toBeNull();
  expect(mailOf(host, NEWS, address('m1@x.example')).suspect).toMatchObject({ reason: 'moved' });
});

test('a long walk over rosters yields, and lets everything else have its turn', async () => {
  const before = fakeHostWorld();
  await finish(await twoLists(before), before);
  const many = 2_000;
  await manyDie(before, many);
  const world = killed(before);
  let slices = 0;
  const idle = async (): Promise<void> => {
    slices += 1;
  };
  Object.assign(world.bounceFold, { idle });
  const host = await start(world);
  await rounds(world, 4);
  expect(countOf(host)).toBe(many);
  // Two lists, each looked through for each of them, and at least once in 256 looks.
  expect(slices).toBeGreaterThanOrEqual((2 * many) / 256);
});
