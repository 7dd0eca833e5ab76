/**
 * A node that starts before the servers have a leader, as after a power cut of all machines: it
 * waits, says so, takes no mail, and comes up by itself.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type LocalNode, openLocalNode } from '../../src/cli/cluster-nodes.ts';
import { type LocalCluster, startLocalCluster } from '../../src/nats/local-cluster.ts';
import { freePort } from '../../src/nats/server-process.ts';
import { findNatsServer } from '../support/nats.ts';
import { until } from '../support/until.ts';

const STORAGE = 2 * 1024 ** 3;
const WAIT_MS_MAX = 120_000;
const SLOW = { timeout: 3 * WAIT_MS_MAX };

let directory = '';
let httpPort = 0;
let cluster: LocalCluster;
let node: LocalNode;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-no-leader-'));
  cluster = await startLocalCluster({ directory, binary: findNatsServer(), storage: STORAGE });
  httpPort = (await freePort(0)) ?? 0;
  node = await openLocalNode(directory, 'n1', cluster, { http: { port: httpPort } });
  await node.start();
  await node.stop();
}, WAIT_MS_MAX);

afterAll(async () => {
  await node?.stop();
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
}, WAIT_MS_MAX);

afterEach(async () => {
  await node.stop();
  await electOne();
}, WAIT_MS_MAX);

const ready = async (): Promise<number> =>
  (await fetch(`http://127.0.0.1:${httpPort}/ready`)).status;
const health = async () => await (await fetch(`http://127.0.0.1:${httpPort}/health`)).json();
const logged = (text: string): number =>
  readFileSync(join(directory, 'n1.log'), 'utf8').split(text).length - 1;

/** One of three left: nobody can be elected. For some seconds it may still take itself for the leader. */
async function loseTheLeader(): Promise<void> {
  for (const server of cluster.servers.slice(1)) await server.stop();
  const [monitor] = cluster.monitor.split(',');
  await until(
    'the one that is left leads nothing',
    async () => {
      const { meta_cluster } = (await (await fetch(`${monitor}/jsz`)).json()) as {
        readonly meta_cluster: { readonly leader?: string };
      };
      return (meta_cluster.leader ?? '') === '' ? true : null;
    },
    WAIT_MS_MAX,
  );
}

const electOne = async (): Promise<void> => {
  await Promise.all(cluster.servers.map((server) => server.start()));
};

const WAITS = 'waiting for NATS: it has no leader yet';

/** Not ready is each node at first: only its log says what it waits for. */
async function startAndWait(): Promise<{ readonly starting: Promise<unknown> }> {
  const before = logged(WAITS);
  const starting = node.start().catch((error: Error) => error);
  await until('it says that it waits', () => (logged(WAITS) > before ? true : null), WAIT_MS_MAX);
  return { starting };
}

test(
  'a node that starts without a leader waits, is not ready, and comes up with it',
  SLOW,
  async () => {
    await loseTheLeader();
    const { starting } = await startAndWait();
    expect(await until('its page is there', ready, WAIT_MS_MAX)).toBe(503);
    expect(await health()).toMatchObject({ status: 'degraded', isReady: false });
    expect(await node.smtpPort()).toBeNull();
    await electOne();
    expect(await starting).not.toBeInstanceOf(Error);
    expect(await ready()).toBe(200);
    expect(await node.smtpPort()).toBeGreaterThan(0);
  },
);

test('one that is told to stop while it waits does so in order', SLOW, async () => {
  await loseTheLeader();
  const stops = logged('"stopped"');
  const { starting } = await startAndWait();
  await node.stop();
  expect(await starting).toBeInstanceOf(Error);
  expect(logged('"stopped"')).toBe(stops + 1);
  expect(existsSync(join(directory, 'n1', 'site.json'))).toBe(false);
});
