/** What a list costs a node while nothing happens to it: made like any other, left to pass out of memory, then weighed. */
import { randomBytes } from 'node:crypto';
import { listKeyOf } from '../../src/mail/list-key.ts';
import type { Nats } from '../../src/nats/connect.ts';
import { createDirectory } from '../../src/nats/directory.ts';
import { openKv } from '../../src/nats/kv.ts';
import { inspectNode } from '../../src/nats/subjects.ts';
import { DOMAIN } from '../support/site.ts';
import { until } from '../support/until.ts';
import { HEAP_OPTIONS, openHeap } from './heap.ts';
import type { Scene } from './scene.ts';
import { addressOf, type BenchSite, BY, LIST_BYTES_MAX, openSite, tell } from './site.ts';

const IN_FLIGHT = 64;
const TOLD_EVERY = 20_000;
/** A list passes out of memory after 60 s, and is looked at every 15 (host/awake.ts). */
const PASSIVE_MS_MAX = 180_000;
const ASK_MS_MAX = 5_000;

/** Makes so many lists on a site of their own; bytes of heap for each, its place in the directory included. */
export async function weighLists(lists: number, scene: Scene): Promise<number> {
  const bench = await openSite(scene, null, { NODE_OPTIONS: HEAP_OPTIONS });
  const { site, nats } = bench;
  const heap = await openHeap(site.ports().pid, site.log);
  scene.closing(heap.close);
  const before = await heap.usedBytes();
  await makeLists(bench, lists, scene);
  scene.say('waiting until no list is awake');
  await until(
    'no list is awake, and the directory has all',
    async () => {
      const now = await standing(nats());
      if (now.awake === 0 && now.lists === lists) return true;
      throw new Error(`${now.awake} are awake, ${now.lists} are known`);
    },
    PASSIVE_MS_MAX,
  );
  const after = await heap.usedBytes();
  await site.close();
  return (after - before) / lists;
}

async function standing({ nc }: Nats): Promise<{ awake: number; lists: number }> {
  const reply = await nc.request(inspectNode(null), '', { timeout: ASK_MS_MAX });
  return reply.json();
}

async function makeLists(site: BenchSite, count: number, scene: Scene): Promise<void> {
  const directory = createDirectory(await openKv(site.nats(), 'troupe_directory'));
  const asker = site.asker();
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      const address = addressOf(`list-${i}@${DOMAIN}`);
      const key = listKeyOf(randomBytes(26));
      await directory.reserve(address, key, LIST_BYTES_MAX);
      await tell(asker, key, key, { type: 'create', address, settings: {}, owners: [], by: BY });
      if ((i + 1) % TOLD_EVERY === 0) scene.say(`${i + 1} lists are made`);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
}
