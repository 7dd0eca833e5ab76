/**
 * Two nodes that send, over one nats-server, and an MTA that falls sick: the breaker that one of them opens is the other's too.
 * The MTA knows who asks it, since each node has a name of its own in EHLO.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RouteState } from '../../actors/route.ts';
import { requestFrom } from '../../src/nats/inspect.ts';
import { openKv } from '../../src/nats/kv.ts';
import { inspectRoutesAt } from '../../src/nats/subjects.ts';
import type { Kv } from '../../src/world.ts';
import { connectTo, type NatsServer, startNats } from '../support/nats.ts';
import { type RoleProcess, startRoles } from '../support/role-process.ts';
import { type Sink, startSink } from '../support/sink.ts';
import { DOMAIN } from '../support/site.ts';
import { until } from '../support/until.ts';

const LIST = `dev@${DOMAIN}`;
const SLOW_MS = 600_000;
const SLOW = { timeout: SLOW_MS };
const OPENINGS = 3;
/** Until both nodes have carried one: which of them pulls a chunk is for NATS to say. */
const POSTS_MAX = 200;

/** An MTA that keeps who greeted it, and what it said to that. */
type Mta = {
  readonly sink: Sink;
  readonly greeted: { readonly by: string; readonly isTaken: boolean }[];
  isSick: boolean;
  /** Who sent the mails that it took. */
  senders(): ReadonlySet<string>;
};

async function startMta(): Promise<Mta> {
  const names = new Map<number, string>();
  const mta: Mta = {
    greeted: [],
    isSick: false,
    senders: () => new Set(mta.sink.mails.map(({ connection }) => names.get(connection) ?? '')),
    sink: await startSink({
      rule({ command, argument, connection }) {
        if (command !== 'ehlo') return null;
        names.set(connection, argument);
        mta.greeted.push({ by: argument, isTaken: !mta.isSick });
        return mta.isSick ? '421 4.3.2 not now' : null;
      },
    }),
  };
  return mta;
}

const directory = mkdtempSync(join(tmpdir(), 'troupe-breaker-'));
const ending = new AbortController();
const nodes: RoleProcess[] = [];
let nats: NatsServer;
let connection: Awaited<ReturnType<typeof connectTo>>;
let kv: Kv;
let a: Mta;
let b: Mta;

beforeAll(async () => {
  nats = await startNats();
  a = await startMta();
  b = await startMta();
  const TROUPE_ROUTES = JSON.stringify([
    { name: 'a', url: a.sink.url, weight: 1_000, connections: 1 },
    { name: 'b', url: b.sink.url, weight: 1, connections: 1 },
  ]);
  const where = { directory, natsUrl: nats.url };
  for (const [name, roles] of [
    ['n1', 'edge,incoming,host,outgoing,web'],
    ['n2', 'outgoing'],
  ] as const) {
    const more = { TROUPE_ROUTES, TROUPE_HOSTNAME: `${name}.example` };
    nodes.push(await startRoles(name, roles, where, more));
  }
  connection = await connectTo(nats);
  kv = await openKv(connection, 'troupe_site');
  await first().troupe('list', 'create', LIST, '--posting', 'anyone');
  await first().troupe('member', 'add', LIST, 'ada@sink.example');
}, SLOW_MS);

afterAll(async () => {
  ending.abort();
  for (const node of nodes.reverse()) await node.kill('SIGTERM');
  await connection?.close();
  for (const mta of [a, b]) await mta?.sink.close();
  await nats?.stop();
  rmSync(directory, { recursive: true, force: true });
}, SLOW_MS);

function first(): RoleProcess {
  const [one] = nodes;
  if (one === undefined) throw new Error('no node runs');
  return one;
}

const stateIn = (value: Uint8Array): RouteState =>
  (JSON.parse(new TextDecoder().decode(value)) as { state: RouteState }).state;

/** Resolves when what is said of `a` in `troupe_site` is so; looks whenever something else is said there. */
async function untilSaid(is: (state: RouteState) => boolean | Promise<boolean>): Promise<void> {
  for await (const row of kv.watch(ending.signal)) {
    if (row === 'ready' || row.key !== 'health.a' || row.value === null) continue;
    if (await is(stateIn(row.value))) return;
  }
}

/** One post after another, until both nodes have brought one to this MTA. */
async function postUntilBothSendTo(mta: Mta): Promise<void> {
  for (let posts = 0; mta.senders().size < nodes.length; posts += 1) {
    expect(posts, 'one node alone carries everything').toBeLessThan(POSTS_MAX);
    const arrived = mta.sink.waitFor(mta.sink.mails.length + 1);
    expect(await first().post(LIST)).toBe(250);
    await arrived;
  }
}

/** How each node has `a`. */
async function modes(): Promise<readonly string[]> {
  type Answer = { readonly routes: readonly { readonly name: string; readonly mode: string }[] };
  return Promise.all(
    nodes.map(async ({ name }) => {
      const answer = (await requestFrom(connection, inspectRoutesAt(name), 10_000)) as Answer;
      return answer.routes.find((route) => route.name === 'a')?.mode ?? 'none';
    }),
  );
}

test(
  'what one node opens the other sends nothing to, and each probe is one node’s',
  SLOW,
  async () => {
    a.isSick = true;
    const arrived = b.sink.waitFor(1);
    expect(await first().post(LIST)).toBe(250);
    await arrived;
    await until('both nodes have it so', async () =>
      (await modes()).includes('closed') ? null : true,
    );
    await postUntilBothSendTo(b);
    await untilSaid(async ({ mode, openings }) => {
      if (mode !== 'open' || openings < OPENINGS) return false;
      const greeted = a.greeted.length;
      const row = await kv.get('health.a');
      const now = row === null ? null : stateIn(row.value);
      if (now?.mode !== 'open' || greeted !== a.greeted.length) return false; // Just now it is asked again.
      expect(greeted, 'the first mail, and one probe for each time that it was opened again').toBe(
        now.openings,
      );
      return true;
    });
  },
);

test('when it is well again one probe finds out, and both send over it', SLOW, async () => {
  a.isSick = false;
  await untilSaid(({ mode }) => mode === 'warming');
  expect(a.greeted.filter(({ isTaken }) => isTaken)).toHaveLength(1);
  // What it is given shows that it works: it has its whole share step by step.
  await until('it is closed', async () => {
    if ((await modes()).every((mode) => mode === 'closed')) return true;
    expect(await first().post(LIST)).toBe(250);
    return null;
  });
  await postUntilBothSendTo(a);
});
