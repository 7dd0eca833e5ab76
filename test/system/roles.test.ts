/**
 * One machine, several processes: the roles split over five of them, each with a data directory of its own, over one NATS. One of
 * two senders is killed while it sends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NatsServer, startNats } from '../support/nats.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, NODE, newPlace, runTroupe } from '../support/site.ts';
import { until } from '../support/until.ts';

const CLI = resolve(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts');
const MEMBERS = 3_000;
/** Chunks of the one who dies come to the other after this. */
const ACK_WAIT_MS = 4_000;
const SENT_MS_MAX = 90_000;
const SLOW_MS = 180_000;

type Ports = { readonly pid: number; readonly smtpPort: number; readonly httpPort: number };
type Process = {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  ports(): Ports;
  kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
};

const directory = mkdtempSync(join(tmpdir(), 'troupe-roles-'));
const processes: Process[] = [];
let nats: NatsServer;
let sink: SinkProcess;

/** Starts a process with these roles; resolves when it is ready. */
async function start(
  name: string,
  roles: string,
  more: Readonly<Record<string, string>>,
): Promise<Process> {
  const place = newPlace();
  rmSync(place.directory, { recursive: true });
  const { TROUPE_NATS_SERVER: _, TROUPE_NATS_PORT: __, ...rest } = place.env;
  const data = join(directory, name);
  const env = {
    ...rest,
    TROUPE_DATA: data,
    TROUPE_NODE: name,
    TROUPE_ROLES: roles,
    TROUPE_NATS_URL: nats.url,
    TROUPE_OUTGOING_ACK_WAIT_MS: String(ACK_WAIT_MS),
    ...more,
  };
  const child: ChildProcess = spawn(NODE, [CLI, 'serve'], { env, stdio: 'ignore' });
  const ports = (): Ports => JSON.parse(readFileSync(join(data, 'site.json'), 'utf8')) as Ports;
  const one: Process = {
    name,
    env,
    ports,
    async kill(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill(signal);
      await gone;
    },
  };
  processes.push(one);
  await until(`${name} is ready`, () => (ports().pid === child.pid ? true : null), 60_000);
  return one;
}

let edge: Process;
let sender: Process;
let web: Process;

async function troupe<T>(...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await runTroupe(edge.env, ['--json', ...args]);
  if (code !== 0) throw new Error(`troupe ${args.join(' ')}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

async function post(list: string): Promise<number> {
  const from = 'ann@sink.example';
  const text = `From: ${from}\r\nTo: ${list}\r\nSubject: Hello\r\n\r\nIs this on?\r\n`;
  const mail = { sender: from, recipients: [list], message: Buffer.from(text) };
  return (await sendOnce(edge.ports().smtpPort, mail)).code;
}

async function newList(name: string, members: readonly string[]): Promise<string> {
  const list = `${name}@${DOMAIN}`;
  await troupe('list', 'create', list, '--posting', 'anyone');
  for (let from = 0; from < members.length; from += 1_000) {
    await troupe('member', 'add', list, ...members.slice(from, from + 1_000));
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
  const { nodes } = await troupe<{ nodes: { node: string; roles: string[]; slots: number }[] }>(
    'node',
    'ls',
  );
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
  expect(await post(list)).toBe(250);
  const [line] = await sink.waitFor(2);
  const url = /List-Unsubscribe:[^>]*>?,?\s*<(https:[^>]+)>/i.exec(line?.header ?? '')?.[1];
  const { pathname } = new URL(url ?? '');
  const answer = await fetch(`http://127.0.0.1:${web.ports().httpPort}${pathname}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: 'List-Unsubscribe=One-Click',
  });
  expect(answer.status).toBe(200);
  expect(await troupe<{ members: number }>('list', 'show', list)).toMatchObject({ members: 1 });
});

test(
  'a sender that is killed while it sends loses nothing: its chunks go on in the other',
  async () => {
    const members = Array.from({ length: MEMBERS }, (_, i) => `m${i}@sink.example`);
    const list = await newList('large', members);
    const before = sink.lines().length;
    expect(await post(list)).toBe(250);
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
