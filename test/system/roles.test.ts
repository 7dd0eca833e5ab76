/**
 * One machine, several processes: the roles split over five of them, each with a data directory of its own, over one NATS. One of
 * two senders is killed while it sends.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NatsServer, startNats } from '../support/nats.ts';
import { type RoleProcess, startRoles } from '../support/role-process.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN } from '../support/site.ts';
import { until } from '../support/until.ts';

const MEMBERS = 3_000;
/** Chunks of the one who dies come to the other after this. */
const ACK_WAIT_MS = 4_000;
const SENT_MS_MAX = 180_000;
const SLOW_MS = 600_000;

const directory = mkdtempSync(join(tmpdir(), 'troupe-roles-'));
const processes: RoleProcess[] = [];
let nats: NatsServer;
let sink: SinkProcess;

/** Starts a process with these roles; resolves when it is ready. */
async function start(
  name: string,
  roles: string,
  more: Readonly<Record<string, string>>,
): Promise<RoleProcess> {
  const ackWait = { TROUPE_OUTGOING_ACK_WAIT_MS: String(ACK_WAIT_MS) };
  const where = { directory, natsUrl: nats.url };
  const one = await startRoles(name, roles, where, { ...ackWait, ...more });
  processes.push(one);
  return one;
}

let edge: RoleProcess;
let sender: RoleProcess;
let web: RoleProcess;

async function newList(name: string, members: readonly string[]): Promise<string> {
  const list = `${name}@${DOMAIN}`;
  await edge.troupe('list', 'create', list, '--posting', 'anyone');
  for (let from = 0; from < members.length; from += 1_000) {
    await edge.troupe('member', 'add', list, ...members.slice(from, from + 1_000));
  }
  return list;
}

beforeAll(async () => {
  nats = await startNats();
  sink = await startSinkProcess({ keepHeader: true });
  const route = { name: 'sink', url: sink.url, connections: 2 };
  const routes = { TROUPE_ROUTES: JSON.stringify([route]) };
  await start('host', 'host', {});
  edge = await start('edge', 'edge,incoming', {});
  sender = await start('out1', 'outgoing', routes);
  await start('out2', 'outgoing', routes);
  web = await start('web', 'web', { TROUPE_ROUTES: '[]' });
}, SLOW_MS);

afterAll(async () => {
  for (const one of processes.reverse()) await one.kill('SIGTERM');
  await sink?.close();
  await nats?.stop();
  rmSync(directory, { recursive: true, force: true });
}, SLOW_MS);

test('every process is seen with its roles, and the one with the role host has every slot', async () => {
  const { nodes } = await edge.troupe<{
    nodes: { node: string; roles: string[]; slots: number }[];
  }>('node', 'ls');
  const seen = nodes.map(({ node, roles, slots }) => [node, roles.join(','), slots]);
  expect(seen).toEqual([
    ['edge', 'edge,incoming', 0],
    ['host', 'host', 64],
    ['out1', 'outgoing', 0],
    ['out2', 'outgoing', 0],
    ['web', 'web', 0],
  ]);
});

test('a post goes through all of them, and who wants to leave does so at the one that has pages', async () => {
  const list = await newList('small', ['bob@sink.example', 'cyd@sink.example']);
  expect(await edge.post(list)).toBe(250);
  const [line] = await sink.waitFor(2);
  const url = /List-Unsubscribe:[^>]*>?,?\s*<(https:[^>]+)>/i.exec(line?.header ?? '')?.[1];
  const { pathname } = new URL(url ?? '');
  const answer = await fetch(`http://127.0.0.1:${web.ports().httpPort}${pathname}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: 'List-Unsubscribe=One-Click',
  });
  expect(answer.status).toBe(200);
  expect(await edge.troupe<{ members: number }>('list', 'show', list)).toMatchObject({
    members: 1,
  });
});

test(
  'a sender that is killed while it sends loses nothing: its chunks go on in the other',
  async () => {
    const members = Array.from({ length: MEMBERS }, (_, i) => `m${i}@sink.example`);
    const list = await newList('large', members);
    const before = sink.lines().length;
    expect(await edge.post(list)).toBe(250);
    await sink.waitFor(before + MEMBERS / 10, SENT_MS_MAX);
    await sender.kill('SIGKILL');
    const got = await until(
      'every member has it',
      () => {
        const sent = sink
          .lines()
          .slice(before)
          .flatMap(({ recipients }) => recipients);
        return new Set(sent).size === MEMBERS ? sent : null;
      },
      SENT_MS_MAX,
    );
    // Its open chunks are sent again by the other, who cannot read its journal: 8 in hand, 500 members each at most.
    expect(got.length).toBeLessThan(2 * MEMBERS);
  },
  SLOW_MS,
);

test(
  'the outbox is shown by a process that captures nothing itself',
  async () => {
    const captures = await start('capture', 'outgoing', { TROUPE_ROUTES: '[]' });
    const page = await fetch(`http://127.0.0.1:${web.ports().httpPort}/outbox`);
    expect(page.status).toBe(200);
    expect(await page.text()).toContain('Nothing was captured yet');
    await captures.kill('SIGTERM');
    const away = await fetch(`http://127.0.0.1:${web.ports().httpPort}/outbox`);
    expect(away.status).toBe(503);
  },
  SLOW_MS,
);
