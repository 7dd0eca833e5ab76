/** The bounce actors of a host: what they fold outlives them, and what they ask is done once. */
import { expect, test } from 'vitest';
import { PROBE_DAYS } from '../../actors/bounces/due.ts';
import type {
  BounceHistory,
  BounceQuestion,
  BounceReport,
  BouncesPage,
} from '../../actors/bounces/report.ts';
import type { RosterPage } from '../../actors/protocol.ts';
import type { Checkpoint } from '../../src/host/bounce-book.ts';
import type { Host } from '../../src/host/host.ts';
import type { Address } from '../../src/mail/address.ts';
import type { BounceEvent } from '../../src/mail/bounce-event.ts';
import { eventNumber, PROBES_FROM, placeOf } from '../../src/mail/bounce-event.ts';
import { slotOf } from '../../src/mail/list-key.ts';
import type { RowKey } from '../../src/world.ts';
import { bounce, hint } from '../support/bounce-story.ts';
import { type FakeHostWorld, fakeHostWorld } from '../support/fake/host-world.ts';
import { fakeRows } from '../support/fake/rows.ts';
import { dump, finish, killed, mailOf, start, tick, withList } from '../support/host-story.ts';
import { KEY, OPERATOR } from '../support/list-story.ts';

const DAY_MS = 86_400_000;
/** A checkpoint, what it asks, the turn, and the list's word that comes back. */
const ROUND_MS = 5_000;

const pageOf = (host: Host): BouncesPage['bouncing'] =>
  (host.question(KEY, { ask: 'bounces', after: 0, limit: 100 }) as BouncesPage).bouncing;
const foldOf = (host: Host): BounceReport['fold'] =>
  (host.question(KEY, { ask: 'bounce-report' }) as BounceReport).fold;

async function put(world: FakeHostWorld, ...events: readonly BounceEvent[]): Promise<void> {
  for (const event of events) await world.bounces.put(KEY, event);
  await tick(world);
}

/** A bounce of today, by the world's clock. */
const today = (world: FakeHostWorld, member: number, post: number): BounceEvent =>
  bounce(member, post, { at: world.clock.now() });

async function withThreshold(world: FakeHostWorld, bounceThreshold: number): Promise<Host> {
  const host = await withList(world);
  const command = { type: 'set', settings: { bounceThreshold }, by: OPERATOR } as const;
  await host.command(KEY, { id: 'threshold', command });
  return host;
}

/** What the list did about a member, and the event that caused it, as it is in BOUNCES. */
function doneTo(
  world: FakeHostWorld,
  host: Host,
  who: Extract<BounceQuestion, { ask: 'bounces-of' }>['who'],
): unknown[] {
  const { history } = host.question(KEY, { ask: 'bounces-of', who }) as BounceHistory;
  const idOf = (cause: number | null): string | undefined => {
    const { seq: of, index } = placeOf(cause ?? 0);
    return world.bounceLog.stored.find(({ seq }) => seq === of)?.events[index]?.id;
  };
  return history.flatMap(({ what, cause }) =>
    cause === undefined ? [] : [[what, cause === null ? null : idOf(cause)]],
  );
}

async function rounds(world: FakeHostWorld): Promise<void> {
  for (let i = 0; i < 3; i++) await tick(world, ROUND_MS);
}

/** The recipients of what was put for outgoing as probes. */
const probesOf = (world: FakeHostWorld): unknown[] =>
  world.put.filter(({ recipe }) => recipe.kind === 'probe').map(({ to, post }) => [post, ...to]);

test('what was folded and written is not folded again, what was not is, and all counts once', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await put(world, today(world, 1, 1), today(world, 2, 1));
  await tick(world, ROUND_MS);
  expect(foldOf(host)).toMatchObject({ folded: 2, written: 2, isCaughtUp: true });
  const written = dump(world.bounceFold.rows);
  await put(world, today(world, 1, 2));
  const crashed = killed(world);
  crashed.bounceFold.rows.commit(
    [...crashed.bounceFold.rows.range(['#'], ['{'])].map(([key]) => [key, undefined]),
  );
  crashed.bounceFold.rows.commit(written); // As the last checkpoint had it.
  const again = await start(crashed);
  await tick(crashed, ROUND_MS);
  expect(pageOf(again).map(({ number, bounces }) => [number, bounces])).toEqual([
    ...[
      [1, 2],
      [2, 1],
    ],
  ]);
});

test('a new owner without a checkpoint comes to the same rows', async () => {
  const world = fakeHostWorld();
  const host = await withThreshold(world, 2);
  for (let day = 0; day < 4; day++) {
    await put(world, today(world, 1, day + 1), today(world, 2, 2 * day + 1));
    world.clock.jump(DAY_MS);
    await tick(world, ROUND_MS);
  }
  await finish(host, world);
  const before = dump(world.bounceFold.rows).filter(([[kind]]) => kind !== '#slot');
  const elsewhere = fakeHostWorld(world);
  Object.assign(elsewhere.bounceFold, { rows: fakeRows() });
  const chunks = elsewhere.put.length;
  const other = await start(elsewhere);
  await tick(elsewhere, ROUND_MS);
  expect(foldOf(other)?.isCaughtUp).toBe(true);
  expect(dump(elsewhere.bounceFold.rows).filter(([[kind]]) => kind !== '#slot')).toEqual(before);
  expect(elsewhere.put.length).toBe(chunks); // Nothing that was asked before is asked again.
});

test('a verdict reaches the list once, is done, and its word comes back', async () => {
  const world = fakeHostWorld();
  const host = await withThreshold(world, 1);
  await put(world, today(world, 2, 1));
  await tick(world, ROUND_MS);
  await tick(world, ROUND_MS);
  expect(probesOf(world)).toEqual([['p2x1', [2, 'bart@example.net']]]);
  expect(pageOf(host)).toMatchObject([{ number: 2, mail: 'probing', score: 1 }]);
  await put(world, today(world, 2, PROBES_FROM + 1));
  await tick(world, ROUND_MS);
  await tick(world, ROUND_MS);
  expect(pageOf(host)).toMatchObject([{ number: 2, mail: 'disabled' }]);
  expect(foldOf(host)?.asking).toBe(0);
});

test('what was asked when the process died is asked again, and done once', async () => {
  const world = fakeHostWorld();
  await withThreshold(world, 1);
  let isAway = true;
  const { mailbox } = world.bounceFold;
  Object.assign(world.bounceFold, {
    mailbox: {
      put: async (...args: Parameters<typeof mailbox.put>) => {
        if (isAway) throw new Error('NATS is away');
        await mailbox.put(...args);
      },
    },
  });
  await put(world, today(world, 2, 1));
  await tick(world, ROUND_MS);
  expect(probesOf(world)).toEqual([]);
  isAway = false;
  const crashed = killed(world);
  const host = await start(crashed);
  await tick(crashed, ROUND_MS);
  await tick(crashed, ROUND_MS);
  expect(foldOf(host)?.asking).toBe(0);
  expect(probesOf(crashed)).toEqual([['p2x1', [2, 'bart@example.net']]]);
});

test('warnings and removal come in their time, though nothing more comes back', async () => {
  const world = fakeHostWorld();
  const host = await withThreshold(world, 1);
  await put(world, today(world, 2, 1));
  await rounds(world);
  await put(world, today(world, 2, PROBES_FROM + 1));
  await rounds(world);
  const warnings = () => world.put.filter(({ post }) => post.startsWith('w2x')).length;
  expect(warnings()).toBe(1);
  for (const expected of [2, 3]) {
    world.clock.jump(7 * DAY_MS);
    await rounds(world);
    expect(warnings()).toBe(expected);
  }
  world.clock.jump(7 * DAY_MS);
  await rounds(world);
  expect(host.question(KEY, { ask: 'roster', role: 'member', after: 0, limit: 9 })).toMatchObject({
    members: [{ number: 1 }],
  });
  // Who was removed has a history: each verdict is laid to the event that caused it.
  const address = 'bart@example.net' as Address;
  const of = host.question(KEY, { ask: 'bounces-of', who: { address } }) as BounceHistory;
  expect(of.mail).toBe('removed');
  const came = of.history.filter(({ cause }) => cause === undefined).map(({ what }) => what);
  expect(came).toEqual(['user-unknown 5.1.1', 'probe: user-unknown 5.1.1']);
  const probe = `d2x${PROBES_FROM + 1}`;
  expect(doneTo(world, host, { address })).toEqual([
    ['probed 1', 'd2x1'],
    ['disabled', probe],
    ['warned 2', probe],
    ['warned 3', probe],
    ['removed', probe],
  ]);
});

test('a probe because of a plain DSN, and that it passed, are laid to that DSN', async () => {
  const world = fakeHostWorld();
  const host = await withThreshold(world, 5);
  await put(world, hint('bart@example.net', { at: world.clock.now() }));
  await rounds(world);
  world.clock.jump(PROBE_DAYS * DAY_MS);
  await rounds(world);
  expect(doneTo(world, host, { number: 2 })).toEqual([
    ['probed 1', 'hbart@example.net'],
    ['reset', 'hbart@example.net'],
  ]);
});

test('what a complaint led to is laid to it, and to nobody what a person did', async () => {
  const world = fakeHostWorld();
  const host = await withThreshold(world, 5);
  await put(world, bounce(2, 1, { kind: 'complaint', at: world.clock.now() }));
  await rounds(world);
  const on = { type: 'set-delivery', who: { number: 2 }, on: true, by: OPERATOR } as const;
  await host.command(KEY, { id: 'on', command: on });
  await rounds(world);
  expect(doneTo(world, host, { number: 2 })).toEqual([
    ['disabled', 'd2x1'],
    ['reset', null],
  ]);
});

test('a verdict has the words of the event that caused it, which the fold does not keep', async () => {
  const world = fakeHostWorld();
  const host = await withThreshold(world, 1);
  await put(world, today(world, 2, 1));
  await tick(world, ROUND_MS);
  await tick(world, ROUND_MS);
  const of = host.question(KEY, { ask: 'bounces-of', who: { number: 2 } }) as BounceHistory;
  const said = { seq: 1, status: '5.1.1', code: 550, diagnostic: '550 5.1.1 no such user' };
  expect(of.trouble.cause).toEqual({ ...said, reason: 'user-unknown' });
});

test('a shorter time between warnings is that of members who wait already', async () => {
  const world = fakeHostWorld();
  const host = await withThreshold(world, 1);
  await put(world, today(world, 2, 1));
  await rounds(world);
  await put(world, today(world, 2, PROBES_FROM + 1));
  await rounds(world);
  const command = { type: 'set', settings: { bounceWarningDays: 2 }, by: OPERATOR } as const;
  await host.command(KEY, { id: 'sooner', command });
  const warnings = () => world.put.filter(({ post }) => post.startsWith('w2x')).length;
  for (let day = 0; day < 2; day++) {
    expect(warnings()).toBe(1);
    world.clock.jump(DAY_MS);
    await rounds(world);
  }
  expect(warnings()).toBe(2);
});

test('whom a storm disabled before it was seen gets mail again', async () => {
  const world = fakeHostWorld();
  const host = await withThreshold(world, 1);
  const members = Array.from({ length: 30 }, (_, i) => ({
    address: `m${i}@example.org` as Address,
    name: '',
  }));
  await host.command(KEY, { id: 'many', command: { type: 'add-members', members, by: OPERATOR } });
  await host.command(KEY, await mailOf(world, 'hello'));
  const [first = 0] = (
    host.question(KEY, { ask: 'roster', role: 'member', after: 2, limit: 1 }) as RosterPage
  ).members.map(({ number }) => number);
  await put(world, today(world, first, 1));
  await rounds(world);
  await put(world, today(world, first, PROBES_FROM + 1));
  await rounds(world);
  expect(pageOf(host)).toMatchObject([{ number: first, mail: 'disabled' }]);
  for (let i = 1; i < 20; i++) await put(world, today(world, first + i, 1));
  await rounds(world);
  expect(pageOf(host)[0]).toMatchObject({ number: first, mail: 'delivering', score: 0 });
  expect(probesOf(world).length).toBe(1);
  const [copy, probe] = [`d${first}x1`, `d${first}x${PROBES_FROM + 1}`];
  expect(doneTo(world, host, { number: first })).toEqual([
    ['probed 1', copy],
    ['disabled', probe],
    ['reset', probe],
  ]);
});

test('rows of another version of the fold are forgotten, and all is folded anew', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await put(world, today(world, 1, 1));
  await finish(host, world);
  const other = fakeHostWorld(world);
  const row: RowKey = ['#slot', slotOf(KEY)];
  const { v: _, ...old } = other.bounceFold.rows.get(row) as Checkpoint;
  other.bounceFold.rows.commit([
    [row, old],
    [[KEY, 'score', 1], { score: { entries: [] }, due: 0 }],
  ]);
  const again = await start(other);
  await tick(other, ROUND_MS);
  expect(pageOf(again)).toMatchObject([{ number: 1, bounces: 1 }]);
});

test('a checkpoint of a stream that is another now, or was cut, is forgotten', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await put(world, today(world, 1, 1), today(world, 2, 1));
  await finish(host, world);
  const other = fakeHostWorld(world);
  const slot = slotOf(KEY);
  other.bounceFold.rows.commit([[['#slot', slot], { seq: 99, at: other.clock.now() }]]);
  other.bounceLog.stored.splice(1);
  const again = await start(other);
  await tick(other, ROUND_MS);
  expect(pageOf(again).map(({ number }) => number)).toEqual([1]);
});

test('checkpoints come after so many events, and after so much time', async () => {
  const world = fakeHostWorld();
  Object.assign(world.bounceFold, { checkpointEvents: 10 });
  const counted: string[] = [];
  Object.assign(world.meter, { count: (name: string) => void counted.push(name) });
  await withList(world);
  for (let post = 1; post <= 25; post++) await put(world, today(world, 1, post));
  const many = () => counted.filter((name) => name === 'bounce_checkpoints').length;
  expect(many()).toBe(2);
  await tick(world, ROUND_MS);
  expect(many()).toBe(3);
});

test('events of one message have numbers of their own, and a checkpoint has all of them or none', async () => {
  const world = fakeHostWorld();
  Object.assign(world.bounceFold, { checkpointEvents: 3 });
  const host = await withThreshold(world, 1);
  await put(world, today(world, 1, 1));
  const at = today(world, 2, 2);
  await Promise.all([world.bounces.put(KEY, today(world, 1, 2)), world.bounces.put(KEY, at)]);
  await Promise.all([
    world.bounces.put(KEY, today(world, 1, 3)),
    world.bounces.put(KEY, today(world, 2, 3)),
  ]);
  await tick(world);
  const { seq } = world.bounceFold.rows.get(['#slot', slotOf(KEY)]) as Checkpoint;
  expect(world.bounceLog.stored.map(({ events }) => events.length)).toEqual([1, 2, 2]);
  expect(seq).toBe(2);
  await rounds(world);
  expect(pageOf(host).map(({ bounces }) => bounces)).toEqual([3, 2]);
  const { history } = host.question(KEY, {
    ask: 'bounces-of',
    who: { number: 2 },
  }) as BounceHistory;
  const numbers = [eventNumber(2, 1), eventNumber(3, 1)];
  expect(history.filter(({ cause }) => cause === undefined).map((line) => line.seq)).toEqual(
    numbers,
  );
  expect(doneTo(world, host, { number: 2 })).toEqual([['probed 1', at.id]]);
});

test('a flood of hints becomes one probe of each member at most', async () => {
  const world = fakeHostWorld();
  await withList(world);
  for (let i = 0; i < 40; i++)
    await put(world, hint('bart@example.net', { id: `h${i}`, at: world.clock.now() }));
  await rounds(world);
  expect(probesOf(world)).toEqual([['p2x1', [2, 'bart@example.net']]]);
});
