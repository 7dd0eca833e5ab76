import { expect, test, vi } from 'vitest';
import type { Command } from '../../actors/protocol.ts';
import { MailError } from '../../src/errors.ts';
import { DRAIN_MS_MAX } from '../../src/host/host.ts';
import { hashOf } from '../../src/host/record.ts';
import { TURN_BYTES_MAX } from '../../src/host/turn.ts';
import { MESSAGE_BYTES_MAX } from '../../src/nats/streams.ts';
import { fakeHostWorld } from '../support/fake/host-world.ts';
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
import { ANNE, address, BART, KEY, OPERATOR, post } from '../support/list-story.ts';

test('a list whose outbox is full takes no turns and says so; it goes on by itself', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.outgoingError = new MailError(451, '4.3.0', 'away');
  const mail = await mailOf(world, 'hello');
  for (let i = 0; i < 600; i++)
    if (mail.command.type === 'post')
      world.send(KEY, {
        id: `p${i}`,
        command: { ...mail.command, post: post({ id: `p${i}`, mail: mail.command.post.mail }) },
      });
  for (let i = 0; i < 30; i++) await tick(world, 100);
  expect(host.status().blocked).toEqual([KEY]);
  const refused = await host.command(KEY, { id: 'q', command: { type: 'retire', by: OPERATOR } });
  expect(refused).toMatchObject({ kind: 'failed', error: { status: '4.3.2' } });
  expect(host.question(KEY, { ask: 'inspect' })).toMatchObject({ blocked: true });
  world.outgoingError = null;
  for (let i = 0; i < 40; i++) await tick(world, 5_000);
  expect(host.status().blocked).toEqual([]);
  expect(new Set(world.put.map(({ post }) => post)).size).toBe(600);
});

test('a rival with a later epoch makes this owner let its slot go without a word', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const { slot, seq, n } = {
    slot: Number(records(world) && world.ledger.records.find(({ whose }) => whose === KEY)?.slot),
    ...host.position(KEY),
  };
  const last = records(world).at(-1);
  const rival = {
    n: n + 1,
    epoch: 9_999,
    prev: hashOf(last?.bytes ?? new Uint8Array()),
    at: 1e13,
    entries: [],
  };
  await world.ledger.append(slot, KEY, Buffer.from(JSON.stringify(rival)), seq);
  const reply = await host.command(KEY, { id: 'late', command: { type: 'retire', by: OPERATOR } });
  expect(reply).toMatchObject({ kind: 'failed', error: { status: '4.3.0' } });
  expect(host.status().slots).toHaveLength(63);
  expect(
    records(world)
      .flatMap(({ record }) => record.entries)
      .some(({ commandId }) => commandId === 'late'),
  ).toBe(false);
});

test('rows that do not fit a whole ledger are folded anew when the list wakes', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const before = dump(world.rows);
  for (let i = 0; i < 10; i++) await tick(world, 15_000); // It sleeps.
  const head = world.rows.get([KEY, 'head']);
  world.rows.commit([
    [[KEY, 'head'], { ...(head as object), hash: 'a bit flipped' }],
    [[KEY, 'member', 1], undefined],
  ]);
  const reply = await host.command(KEY, {
    id: 'x',
    command: { type: 'approve', hold: 9, by: OPERATOR },
  });
  expect(reply).toMatchObject({ kind: 'refusal' });
  expect(dump(world.rows)).toEqual(before);
  expect(host.status().quarantined).toEqual([]);
});

test('a command that is no command is parked whole and the next one runs', async () => {
  const world = fakeHostWorld();
  await withList(world);
  world.send(KEY, { id: 'bad', command: { type: 'nonsense' } as unknown as Command });
  world.send(KEY, await mailOf(world, 'after'));
  await tick(world, 2_000);
  expect(world.parkedWhy).toHaveLength(1);
  expect(world.put).toHaveLength(1);
});

test('a turn takes as many commands as their facts fit one record, and the rest the next', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const name = 'x'.repeat(60);
  for (let i = 0; i < 99; i++) {
    const owner = address(`${name}${i}@${name}.${name}.example`);
    const grant = { type: 'grant', role: 'owner', address: owner, by: OPERATOR } as const;
    await host.command(KEY, { id: `g${i}`, command: grant });
  }
  const ids = Array.from({ length: 256 }, (_, i) => `o${i}`);
  for (const id of ids)
    world.send(KEY, { id, command: { type: 'owner-mail', mail: post({ id }) } });
  for (let i = 0; i < 40; i++) await tick(world, 1_000);
  const written = records(world);
  const forwarded = written.flatMap(({ record }) => record.entries.map((one) => one.commandId));
  expect(forwarded.filter((id) => ids.includes(id))).toEqual(ids);
  const largest = Math.max(...written.map(({ bytes }) => bytes.length));
  expect(largest).toBeGreaterThan(TURN_BYTES_MAX / 2);
  expect(largest).toBeLessThan(TURN_BYTES_MAX + 1_024);
  expect(world.parkedWhy).toEqual([]);
});

test('a command whose facts fit no record is parked and the next one runs', async () => {
  const world = fakeHostWorld();
  await withList(world);
  const mail = post({ id: 'large', subject: 'x'.repeat(MESSAGE_BYTES_MAX) });
  world.send(KEY, { id: 'large', command: { type: 'owner-mail', mail } });
  world.send(KEY, await mailOf(world, 'after'));
  await tick(world, 2_000);
  expect(world.parkedWhy).toMatchObject([expect.stringContaining('larger than a record')]);
  expect(world.put).toHaveLength(1);
});

test('with the disk nearly full commands are refused and what is held stays', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.disk.setFreeBytes(1_000);
  await tick(world, 6_000);
  const reply = await host.command(KEY, { id: 'x', command: { type: 'retire', by: OPERATOR } });
  expect(reply).toMatchObject({ kind: 'failed', error: { code: 452, status: '4.3.1' } });
});

test('a disk that cannot be asked counts as full until it can', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.disk.setFreeBytes(null);
  await tick(world, 6_000);
  const retire = { id: 'x', command: { type: 'retire', by: OPERATOR } } as const;
  expect(await host.command(KEY, retire)).toMatchObject({ kind: 'failed', error: { code: 452 } });
  world.disk.setFreeBytes(1024 ** 3);
  await tick(world, 6_000);
  expect(await host.command(KEY, retire)).toMatchObject({ kind: 'answer' });
});

test('a host whose slots nobody can be told of, as on a full disk, stops nonetheless', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const { update } = world.slots;
  const full = new MailError(451, '4.3.0', 'Mail system is not ready');
  Object.assign(world.slots, { update: () => Promise.reject(full) });
  const stop = vi.fn();
  void host.stop().then(stop);
  await tick(world, DRAIN_MS_MAX - 1);
  expect(stop).not.toHaveBeenCalled();
  await tick(world, 1);
  expect(stop).toHaveBeenCalledOnce();
  Object.assign(world.slots, { update });
  const again = await start(killed(world));
  expect(again.question(KEY, { ask: 'list' })).toMatchObject({ members: 2 });
});

test('an idle list leaves memory and wakes as it was', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  expect(host.status().awake).toBe(1);
  for (let i = 0; i < 10; i++) await tick(world, 15_000);
  expect(host.status().awake).toBe(0);
  expect(host.question(KEY, { ask: 'list' })).toMatchObject({ members: 2 });
  const reply = await host.command(KEY, {
    id: 'x',
    command: { type: 'remove-member', who: { address: BART }, by: OPERATOR },
  });
  expect(answered(reply)).toMatchObject({ type: 'member-removed', number: 2 });
});

test('a list that wakes as it was left is not compared with the ledger again', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const read = vi.spyOn(world.ledger, 'last');
  const wake = async (id: string): Promise<void> => {
    for (let i = 0; i < 10; i++) await tick(world, 15_000);
    expect(host.status().awake).toBe(0);
    const command = { type: 'remove-member', who: { address: BART }, by: OPERATOR } as const;
    await host.command(KEY, { id, command });
  };
  await wake('x');
  await wake('y');
  expect(read).not.toHaveBeenCalled();
});

test('moderators hear of holds by a notice, and once more when ten minutes have gone', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await host.command(KEY, {
    id: 'closed',
    command: { type: 'set', settings: { posting: 'closed' }, by: OPERATOR },
  });
  world.send(KEY, await mailOf(world, 'one'));
  await tick(world, 2_000);
  world.send(KEY, await mailOf(world, 'two'));
  await tick(world, 2_000);
  expect(world.put).toMatchObject([{ class: 'notice', to: [[1, ANNE]] }]);
  const [due] = [...world.later.waiting.values()];
  expect(due?.due).toMatchObject({
    to: 'mailbox',
    asked: { command: { type: 'tell-moderators' } },
  });
  expect(await world.mail.find('held', KEY, 'h1')).not.toBeNull();
  await tick(world, (due?.at ?? 0) - world.clock.now() + 1);
  if (due?.due.to === 'mailbox') world.send(KEY, due.due.asked);
  await tick(world, 2_000);
  expect(world.put.map(({ class: cls }) => cls)).toEqual(['notice', 'notice']);
});

test('a full HELD stops no post: the held mail waits in MAIL, is copied when there is room, and can be approved', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const setPosting = (id: string, posting: 'closed' | 'anyone') =>
    host.command(KEY, { id, command: { type: 'set', settings: { posting }, by: OPERATOR } });
  world.mail.fillHeld(true);
  await setPosting('closed', 'closed');
  for (const text of ['one', 'two']) world.send(KEY, await mailOf(world, text));
  await tick(world, 2_000);
  await setPosting('open', 'anyone');
  world.send(KEY, await mailOf(world, 'free'));
  await tick(world, 2_000);
  const sent = () => world.put.filter(({ class: cls }) => cls === 'post').map(({ post }) => post);
  expect(sent()).toEqual(['1']);
  const fired = async (id: string): Promise<void> => {
    const timer = world.later.waiting.get(`${KEY}.keep.${id}`);
    await tick(world, (timer?.at ?? 0) - world.clock.now() + 1);
    if (timer?.due.to === 'mailbox') world.send(KEY, timer.due.asked);
    await tick(world, 2_000);
  };
  await fired('1');
  expect(await world.mail.find('held', KEY, 'h1')).toBeNull();
  world.mail.fillHeld(false);
  await fired('1');
  expect(await world.mail.find('held', KEY, 'h1')).not.toBeNull();
  await host.command(KEY, { id: 'yes', command: { type: 'approve', hold: 2, by: OPERATOR } });
  await tick(world, 2_000);
  expect(sent()).toEqual(['1', '2']);
  await fired('2');
  expect(await world.mail.find('held', KEY, 'h2')).toBeNull();
});

test('a notice is due in ten minutes, though the list’s time is ahead by a clock that was fast', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const head = world.rows.get([KEY, 'head']);
  const hourAhead = world.clock.now() + 3_600_000;
  world.rows.commit([[[KEY, 'head'], { ...(head as object), at: hourAhead }]]);
  const command = { type: 'set', settings: { posting: 'closed' }, by: OPERATOR } as const;
  await host.command(KEY, { id: 'closed', command });
  for (const text of ['one', 'two']) {
    world.send(KEY, await mailOf(world, text));
    await tick(world, 2_000);
  }
  const [due] = [...world.later.waiting.values()];
  expect((due?.at ?? 0) - world.clock.now()).toBeLessThanOrEqual(600_000);
  await tick(world, 600_000);
  if (due?.due.to === 'mailbox') world.send(KEY, due.due.asked);
  await tick(world, 2_000);
  expect(world.put.map(({ class: cls }) => cls)).toEqual(['notice', 'notice']);
});

test('a post to more members than the site calls many is bulk, as the list is when it is sent', async () => {
  const world = { ...fakeHostWorld(), bulkMembers: 2 };
  const host = await withList(world);
  world.send(KEY, await mailOf(world, 'to two'));
  await tick(world, 2_000);
  const members = [{ address: address('carl@x.example'), name: '' }];
  await host.command(KEY, { id: 'third', command: { type: 'add-members', members, by: OPERATOR } });
  world.send(KEY, await mailOf(world, 'to three'));
  await tick(world, 2_000);
  expect(world.put.map(({ class: cls, to }) => [cls, to.length])).toEqual([
    ['post', 2],
    ['bulk', 3],
  ]);
});
