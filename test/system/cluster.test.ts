/** Three nats-servers and three nodes on this machine: who owns what, handing over, and what goes on when one is killed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LocalNode, openLocalNode } from '../../src/cli/cluster-nodes.ts';
import { LEASE_OVER_MS } from '../../src/host/lease.ts';
import { silentLog } from '../../src/log.ts';
import { type ListKey, SLOTS, slotOf } from '../../src/mail/list-key.ts';
import { createAsker } from '../../src/nats/ask.ts';
import { connect } from '../../src/nats/connect.ts';
import { type LocalCluster, startLocalCluster } from '../../src/nats/local-cluster.ts';
import { findNatsServer } from '../support/nats.ts';
import { commandsOf } from '../support/readme.ts';
import { sendOnce } from '../support/send-mail.ts';
import { isRunning, runTroupe } from '../support/site.ts';
import { until } from '../support/until.ts';

const LIST = 'dev@lists.localhost';
const SHARED_MS_MAX = 180_000;
/** A lease of 15 s, and what a loaded machine adds. */
const TAKE_OVER_MS_MAX = 120_000;
const SLOW_MS = 600_000;

type Slots = { slots: { slot: number; owner: string | null; shouldOwn: string; epoch: number }[] };
type Nodes = { nodes: { node: string; slots: number; isDraining: boolean }[] };
type Diagnosis = { checks: { what: string; level: string; text: string }[] };
type Inspection = { node: string; n: number; seq: number; lag: number | null; level: string };

let directory = '';
let cluster: LocalCluster;
const nodes: LocalNode[] = [];

const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('TROUPE_'));
const env = { ...(Object.fromEntries(inherited) as Record<string, string>), NO_COLOR: '1' };

/** Runs a verb through the configuration of the first node that runs. */
async function troupe<T>(...args: readonly string[]): Promise<T> {
  const config = nodes.find((node) => node.pid() !== null)?.config ?? '';
  const { stdout, stderr } = await runTroupe(env, ['--config', config, '--json', ...args]);
  if (stdout === '') throw new Error(`troupe ${args.join(' ')}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

const free = async (): Promise<number> =>
  (await troupe<Slots>('slot', 'ls')).slots.filter(({ owner }) => owner === null).length;

const everySlotIsOwned = (ms: number): Promise<unknown> =>
  until('every slot has an owner', async () => ((await free()) === 0 ? true : null), ms);

function named(name: string): LocalNode {
  const node = nodes.find((one) => one.name === name);
  if (node === undefined) throw new Error(`no node ${name}`);
  return node;
}

function post(port: number): Promise<{ readonly code: number }> {
  const message = Buffer.from(
    `From: ann@example.org\r\nTo: ${LIST}\r\nSubject: Hello\r\n\r\nIs this on?\r\n`,
  );
  return sendOnce(port, { sender: 'ann@example.org', recipients: [LIST], message });
}

/** A key of each slot; that there are no such lists is an answer that only an owner gives. */
function keyOfEachSlot(): readonly ListKey[] {
  const keys = new Map<number, ListKey>();
  for (let i = 0; keys.size < SLOTS; i++) {
    const key = i.toString(2).replaceAll('0', 'a').replaceAll('1', 'b').padStart(26, 'a');
    keys.set(slotOf(key as ListKey), key as ListKey);
  }
  return [...keys.values()];
}

/** Asks a command of every slot, over and over, until `work` is done; what was answered, by kind. */
async function askThroughout(work: Promise<unknown>): Promise<ReadonlyMap<string, number>> {
  const { url, user, password } = cluster;
  const nats = await connect({ url, user, password, name: 'test', log: silentLog });
  const asker = createAsker(nats, { handoverMs: TAKE_OVER_MS_MAX });
  const told = new Map<string, number>();
  let isOver = false;
  void work.finally(() => {
    isOver = true;
  });
  const by = { kind: 'operator', name: 'test' } as const;
  const ask = async (key: ListKey): Promise<void> => {
    for (let i = 0; !isOver; i++) {
      const reply = await asker.command(key, { id: `${key}${i}`, command: { type: 'retire', by } });
      const kind = reply.ok ? 'ok' : 'refusal' in reply ? reply.refusal.code : reply.error.text;
      told.set(kind, (told.get(kind) ?? 0) + 1);
    }
  };
  await Promise.all(keyOfEachSlot().map(ask));
  await nats.close();
  return told;
}

/** Longer than the outbox rests. */
const RESTED_MS = 2_000;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-cluster-'));
  const storage = 1024 ** 3;
  cluster = await startLocalCluster({ directory, binary: findNatsServer(), storage });
  for (const name of ['n1', 'n2', 'n3']) nodes.push(await openLocalNode(directory, name, cluster));
  await Promise.all(nodes.map((node) => node.start()));
  await everySlotIsOwned(SHARED_MS_MAX);
  await troupe('list', 'create', LIST, '--posting', 'anyone');
}, SLOW_MS);

afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await cluster?.stop();
  if (!process.env.TROUPE_TEST_KEEP) rmSync(directory, { recursive: true, force: true });
}, SLOW_MS);

test('every stream and bucket has three replicas, and every node is seen', async () => {
  const { url, user, password } = cluster;
  const nats = await connect({ url, user, password, name: 'test', log: silentLog });
  const replicas: number[] = [];
  for await (const { config } of nats.jsm.streams.list()) replicas.push(config.num_replicas);
  await nats.close();
  expect(new Set(replicas)).toEqual(new Set([3]));
  // A lease that was late on a busy machine costs its node's slots for a while.
  await until(
    'three nodes own 64 slots',
    async () => {
      const { nodes: seen } = await troupe<Nodes>('node', 'ls');
      const names = seen.map(({ node }) => node).join(' ');
      const owned = seen.reduce((sum, { slots }) => sum + slots, 0);
      if (names === 'n1 n2 n3' && owned === SLOTS) return true;
      throw new Error(`${names} own ${owned}`);
    },
    SHARED_MS_MAX,
  );
});

test('the doctor sees of each nats-server that it syncs what it stores', async () => {
  const { checks } = await troupe<Diagnosis>('doctor');
  const synced = checks.filter(({ what, level }) => what === 'sync' && level === 'ok');
  const names = synced.map(({ text }) => text.split(' ')[0]).sort();
  expect(names).toEqual(['nats-1', 'nats-2', 'nats-3']);
});

test('a list is inspected at each level, and a barrier is the only one that appends', async () => {
  const ask = (level: string) => troupe<Inspection>('inspect', 'list', LIST, '--level', level);
  // Slots still move to whom they belong, and while one does nobody answers for its lists.
  const at = (level: string) =>
    until(`an owner answers at level ${level}`, () => ask(level), TAKE_OVER_MS_MAX);
  // The outbox says how far it is after a second of rest: that record must be in before.
  let rested = { n: -1, since: 0 };
  const fast = await until('the list rests', async () => {
    const now = await ask('fast');
    if (now.n !== rested.n) rested = { n: now.n, since: performance.now() };
    return performance.now() - rested.since > RESTED_MS ? now : null;
  });
  expect(fast).toMatchObject({ level: 'fast', lag: 0 });
  expect(await at('confirmed')).toMatchObject({ level: 'confirmed', lag: 0, n: fast.n });
  const after = await at('barrier');
  expect(after).toMatchObject({ level: 'barrier', lag: 0 });
  expect(after.n).toBeGreaterThan(fast.n); // By one, unless an answer was lost and it was asked again.
  expect(after.seq).toBeGreaterThan(fast.seq);
});

test(
  'a node that is drained hands over, long before its lease would end, and no command is refused meanwhile',
  async () => {
    const draining = troupe<{ tookMs: number }>('node', 'drain', 'n2');
    const told = await askThroughout(draining);
    expect([...told.keys()]).toEqual(['no-such-list']);
    expect((await draining).tookMs).toBeLessThan(LEASE_OVER_MS); // How fast, the bench measures.
    await until(
      'the others have all of it',
      async () => {
        const { nodes: seen } = await troupe<Nodes>('node', 'ls');
        const drained = seen.find(({ node }) => node === 'n2');
        const others = seen.reduce((sum, { node, slots }) => sum + (node === 'n2' ? 0 : slots), 0);
        return drained?.isDraining === true && drained.slots === 0 && others === 64 ? true : null;
      },
      TAKE_OVER_MS_MAX,
    );
  },
  SLOW_MS,
);

test(
  'with one nats-server killed, mail is taken and lists are changed',
  async () => {
    const [first] = cluster.servers;
    process.kill(first?.pid() ?? 0, 'SIGKILL');
    const port = (await named('n1').smtpPort()) ?? 0;
    await until(
      'a post is taken',
      async () => ((await post(port)).code === 250 ? true : null),
      TAKE_OVER_MS_MAX,
    );
    await until(
      'the post is decided',
      async () => ((await troupe<{ posts: number }>('list', 'show', LIST)).posts > 0 ? true : null),
      TAKE_OVER_MS_MAX,
    );
    await first?.start();
  },
  SLOW_MS,
);

test(
  'the slots of a node that was killed are said to have no owner, then others have them',
  async () => {
    const { slots } = await troupe<Slots>('slot', 'ls');
    const ofN3 = slots.filter(({ owner }) => owner === 'n3').map(({ slot }) => slot);
    expect(ofN3.length).toBeGreaterThan(0);
    const pid = named('n3').pid() ?? 0;
    process.kill(pid, 'SIGKILL');
    await until('it is gone', () => (isRunning(pid) ? null : true));
    const told = await troupe<{ problem: string }>('inspect', 'slot', String(ofN3[0]));
    expect(told.problem).toMatch(/^(node n3 has it and does not answer|nobody owns slot)/);
    const others = async (): Promise<true | null> => {
      const now = (await troupe<Slots>('slot', 'ls')).slots;
      return now.every(({ owner }) => owner === 'n1') ? true : null;
    };
    await until('n1 has all slots', others, TAKE_OVER_MS_MAX);
    const epochs = (await troupe<Slots>('slot', 'ls')).slots;
    for (const slot of ofN3) {
      expect(epochs[slot]?.epoch).toBeGreaterThan(slots[slot]?.epoch ?? 0);
    }
  },
  SLOW_MS,
);

test('the commands of the README about a cluster do what they say', {
  timeout: SLOW_MS,
}, async () => {
  const file = '.troupe/cluster/n1.yaml';
  const lines = commandsOf('console').filter((line) => line.includes(file));
  expect(lines.length).toBeGreaterThan(3);
  for (const line of lines) {
    const words = line.replace('npx troupe ', '').replace(file, named('n1').config).split(' ');
    const { code, stderr } = await runTroupe(env, words);
    expect(code, `${line}: ${stderr}`).toBe(0);
  }
});

test(
  '`troupe cluster up --once` shows who owns what and leaves nothing running',
  async () => {
    const own = mkdtempSync(join(tmpdir(), 'troupe-cluster-up-'));
    const given = { ...env, TROUPE_NATS_SERVER: findNatsServer() };
    const ran = await runTroupe(given, ['cluster', 'up', '--once', '--directory', own]);
    expect(ran.stderr).toContain('kill -9 PID');
    expect(ran).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Every slot has an owner'),
    });
    const rows = [...ran.stdout.matchAll(/^(?:nats-\d|n\d) +(\d+) /gm)];
    const pids = rows.map(([, pid]) => Number(pid));
    expect(pids).toHaveLength(6);
    expect(pids.filter(isRunning)).toEqual([]);
    rmSync(own, { recursive: true, force: true });
  },
  SLOW_MS,
);
