/** A cluster to be struck: three nats-servers, three nodes of every role, a sink that keeps a log, and lists on all of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LocalNode, openLocalNode } from '../../src/cli/cluster-nodes.ts';
import { silentLog } from '../../src/log.ts';
import { slotOf } from '../../src/mail/list-key.ts';
import { createAsker } from '../../src/nats/ask.ts';
import { connect, type Nats } from '../../src/nats/connect.ts';
import { type LocalCluster, startLocalCluster } from '../../src/nats/local-cluster.ts';
import { INSPECT_SLOTS } from '../../src/nats/subjects.ts';
import { findNatsServer } from '../support/nats.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { until } from '../support/until.ts';
import type { Scene } from './scene.ts';
import { makeList } from './site.ts';

const NODES = ['n1', 'n2', 'n3'];
const DOMAINS = ['lists.example.org'];
const CONNECTIONS = 5;
const MEMBERS = 5;
const STORAGE_BYTES = 2 * 1024 ** 3;
/** A node lives 10 s before slots move to it, and they move one at a time. */
const SETTLED_MS_MAX = 180_000;
const ASK_MS_MAX = 2_000;

export type StruckList = { readonly address: string; readonly slot: number };

export type StruckCluster = {
  readonly directory: string;
  readonly servers: LocalCluster;
  readonly nodes: readonly LocalNode[];
  readonly sink: SinkProcess;
  readonly nats: Nats;
  readonly lists: readonly StruckList[];
  /** Resolves when every slot is where the placement wants it: slot → node. */
  settled(): Promise<ReadonlyMap<number, string>>;
};

/** Starts all of it; the scene closes it. */
export async function openCluster(scene: Scene, lists: number): Promise<StruckCluster> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-failover-'));
  scene.closing(() => {
    if (!process.env.TROUPE_TEST_KEEP) rmSync(directory, { recursive: true, force: true });
  });
  const sink = await startSinkProcess();
  scene.closing(sink.close);
  const binary = findNatsServer();
  const servers = await startLocalCluster({ directory, binary, storage: STORAGE_BYTES });
  scene.closing(servers.stop);
  const route = { name: 'sink', url: sink.url, connections: CONNECTIONS };
  const nodes = await Promise.all(
    NODES.map((name) => {
      const more = { domains: DOMAINS, routes: [route] };
      return openLocalNode(directory, name, servers, more);
    }),
  );
  scene.closing(() => Promise.all(nodes.map((node) => node.stop())));
  await Promise.all(nodes.map((node) => node.start()));
  const { url, user, password } = servers;
  const nats = await connect({ url, user, password, name: 'bench', log: silentLog });
  scene.closing(() => nats.close());
  const settled = () => untilSettled(nats);
  scene.say('three nodes run; slots move to where they belong');
  await settled();
  return {
    ...{ directory, servers, nodes, sink, nats, settled },
    lists: await makeLists(nats, lists),
  };
}

async function makeLists(nats: Nats, count: number): Promise<readonly StruckList[]> {
  const made: StruckList[] = [];
  const site = { nats: () => nats, asker: () => createAsker(nats) };
  for (let i = 0; i < count; i++) {
    const { address, key } = await makeList(site, `list-${i}`, {}, MEMBERS);
    made.push({ address, slot: slotOf(key) });
  }
  return made;
}

type Places = {
  readonly slots: readonly {
    readonly slot: number;
    readonly owner: string | null;
    readonly shouldOwn: string | null;
  }[];
};

async function untilSettled({ nc }: Nats): Promise<ReadonlyMap<number, string>> {
  const look = async (): Promise<ReadonlyMap<number, string>> => {
    const answer = await nc.request(INSPECT_SLOTS, '', { timeout: ASK_MS_MAX });
    const { slots } = answer.json<Places>();
    const owners = slots.map(({ slot, owner, shouldOwn }) => {
      if (owner !== null && owner === shouldOwn) return [slot, owner] as const;
      throw new Error(`slot ${slot} is with ${owner}, to be with ${shouldOwn}`);
    });
    const names = new Set(owners.map(([, owner]) => owner));
    if (names.size < NODES.length) throw new Error(`only ${[...names]} own slots`);
    return new Map(owners);
  };
  return await until('every slot is in its place', look, SETTLED_MS_MAX);
}
