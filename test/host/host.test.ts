import { afterEach, expect, test } from 'vitest';
import type { Command } from '../../actors/protocol.ts';
import { MailError } from '../../src/errors.ts';
import { type Host, startHost } from '../../src/host/host.ts';
import { rebuild } from '../../src/host/rebuild.ts';
import { decodeRecord, hashOf } from '../../src/host/record.ts';
import type { Reply } from '../../src/host/turn.ts';
import type { ListKey } from '../../src/mail/list-key.ts';
import { openDraft } from '../../src/store/list-rows.ts';
import type { Rows } from '../../src/world.ts';
import { type FakeHostWorld, fakeHostWorld, joinAs } from '../support/fake/host-world.ts';
import { fakeRows } from '../support/fake/rows.ts';
import { ANNE, address, BART, KEY, LIST, OPERATOR, post } from '../support/list-story.ts';

const running: { host: Host; world: FakeHostWorld }[] = [];
const failures: unknown[] = [];

afterEach(async () => {
  for (const { host, world } of running.splice(0)) await finish(host, world);
  expect(failures.splice(0)).toEqual([]);
});

async function start(world: FakeHostWorld): Promise<Host> {
  const host = await startHost(world, await joinAs(world), (error) => failures.push(error));
  await host.settled();
  running.push({ host, world });
  return host;
}

/** Stops a host while its clock goes on. */
async function finish(host: Host, world: FakeHostWorld): Promise<void> {
  let isOver = false;
  void host.stop().then(() => {
    isOver = true;
  });
  while (!isOver) await tick(world, 50);
}

/** Lets everything that is due happen. */
async function tick(world: FakeHostWorld, ms = 0): Promise<void> {
  await world.clock.advance(ms);
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** What a kill leaves: the host is never heard of again, only what was durable goes on. */
function killed(world: FakeHostWorld, rows?: Rows): FakeHostWorld {
  running.length = 0;
  return fakeHostWorld(world, rows);
}

const create: Command = {
  type: 'create',
  address: LIST,
  settings: { posting: 'anyone' },
  owners: [ANNE],
  by: OPERATOR,
};
const join: Command = {
  type: 'add-members',
  members: [ANNE, BART].map((one) => ({ address: one, name: '' })),
  by: OPERATOR,
};

async function withList(world: FakeHostWorld): Promise<Host> {
  const host = await start(world);
  await host.command(KEY, { id: KEY, command: create });
  await host.command(KEY, { id: 'join', command: join });
  await tick(world, 2_000);
  return host;
}

async function mailOf(
  world: FakeHostWorld,
  text: string,
  id = text,
): Promise<{ id: string; command: Command }> {
  const bytes = Buffer.from(`From: anne@example.org\r\n\r\n${text}\r\n`);
  await world.mail.accept(
    {
      size: bytes.length,
      pieces: async function* () {
        yield bytes;
      },
    },
    [
      {
        kind: 'post',
        envelope: {
          sender: ANNE,
          recipients: [LIST],
          smtputf8: false,
          eightBit: false,
          receivedAt: 0,
          peer: '',
          helo: '',
          trace: id,
        },
      },
    ],
  );
  const seq = world.mail.accepted().at(-1)?.seq ?? 0;
  return { id, command: { type: 'post', post: post({ id, mail: { in: 'mail', seq } }) } };
}

const records = (world: FakeHostWorld) =>
  world.ledger.records
    .filter(({ topic }) => topic !== 'owner')
    .map(({ bytes }) => ({ bytes, record: decodeRecord(bytes) }));

const dump = (rows: Rows) => [...rows.range(['#'], ['{'])];

const answered = (reply: Reply) => (reply.kind === 'answer' ? reply.answer : reply);

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

test.each(['doubt-stored', 'doubt-lost', 'full'] as const)(
  'an append that ends in %s is sent again with the same bytes until the ledger answers',
  async (fault) => {
    const world = fakeHostWorld();
    const host = await withList(world);
    let faults = 3;
    world.ledger.fault = (_, topic) => (topic !== 'owner' && faults-- > 0 ? fault : null);
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
  await rebuild({ rows, ledger: world.ledger }, () => {});
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
    slot: Number(records(world) && world.ledger.records.find(({ topic }) => topic === KEY)?.slot),
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

test('a history that does not fit sets that list aside and no other', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const { seq, n } = host.position(KEY);
  const slot = world.ledger.records.find(({ topic }) => topic === KEY)?.slot ?? 0;
  const alien = { n: n + 1, epoch: 1, prev: 'not the hash', at: 1, entries: [] };
  await world.ledger.append(slot, KEY, Buffer.from(JSON.stringify(alien)), seq);
  const reply = await host.command(KEY, { id: 'x', command: { type: 'retire', by: OPERATOR } });
  expect(reply).toMatchObject({ kind: 'failed' });
  expect(host.status().quarantined).toMatchObject([{ key: KEY }]);
  const other = 'b'.repeat(26) as ListKey;
  const made = await host.command(other, {
    id: other,
    command: { ...create, address: address('other@lists.example') },
  });
  expect(answered(made)).toEqual({ type: 'created' });
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

test('with the disk nearly full commands are refused and what is held stays', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.disk.setFreeBytes(1_000);
  await tick(world, 6_000);
  const reply = await host.command(KEY, { id: 'x', command: { type: 'retire', by: OPERATOR } });
  expect(reply).toMatchObject({ kind: 'failed', error: { code: 452, status: '4.3.1' } });
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
