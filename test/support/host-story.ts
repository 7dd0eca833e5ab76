/** Stories of a host over a world in memory: start it, send it mail, kill it, look at what is left. */
import { afterEach, expect } from 'vitest';
import type { Command } from '../../actors/protocol.ts';
import { type Host, startHost } from '../../src/host/host.ts';
import { decodeRecord } from '../../src/host/record.ts';
import type { Reply } from '../../src/host/turn.ts';
import type { Rows } from '../../src/world.ts';
import { type FakeHostWorld, fakeHostWorld, joinAs } from '../support/fake/host-world.ts';
import { ANNE, BART, KEY, LIST, OPERATOR, post } from '../support/list-story.ts';

export const running: { host: Host; world: FakeHostWorld }[] = [];
export const failures: unknown[] = [];

afterEach(async () => {
  for (const { host, world } of running.splice(0)) await finish(host, world);
  expect(failures.splice(0)).toEqual([]);
});

export async function start(world: FakeHostWorld): Promise<Host> {
  const host = await startHost(world, await joinAs(world), (error) => failures.push(error));
  await host.settled();
  running.push({ host, world });
  return host;
}

/** Stops a host while its clock goes on. */
export async function finish(host: Host, world: FakeHostWorld): Promise<void> {
  let isOver = false;
  void host.stop().then(() => {
    isOver = true;
  });
  while (!isOver) await tick(world, 50);
}

/** Lets everything that is due happen. */
export async function tick(world: FakeHostWorld, ms = 0): Promise<void> {
  await world.clock.advance(ms);
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** What a kill leaves: the host is never heard of again, only what was durable goes on. */
export function killed(world: FakeHostWorld, rows?: Rows): FakeHostWorld {
  running.length = 0;
  return fakeHostWorld(world, rows);
}

export const create: Extract<Command, { type: 'create' }> = {
  type: 'create',
  address: LIST,
  settings: { posting: 'anyone' },
  owners: [ANNE],
  by: OPERATOR,
};
export const join: Command = {
  type: 'add-members',
  members: [ANNE, BART].map((one) => ({ address: one, name: '' })),
  by: OPERATOR,
};

export async function withList(world: FakeHostWorld): Promise<Host> {
  const host = await start(world);
  await host.command(KEY, { id: KEY, command: create });
  await host.command(KEY, { id: 'join', command: join });
  await tick(world, 2_000);
  return host;
}

export async function mailOf(
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

export const records = (world: FakeHostWorld) =>
  world.ledger.records
    .filter(({ whose }) => whose !== 'owner')
    .map(({ bytes }) => ({ bytes, record: decodeRecord(bytes) }));

export const dump = (rows: Rows) => [...rows.range(['#'], ['{'])];

export const answered = (reply: Reply) => (reply.kind === 'answer' ? reply.answer : reply);
