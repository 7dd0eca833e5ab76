/**
 * How fast posts are taken: 4 KiB each, durable before their 250, over connections that are kept open; and how fast the
 * rest of the path catches up. The limit is nats-server alone, storing as many messages with as many on their way.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { createPublisher } from '../../src/nats/publisher.ts';
import { connectTo, startNats } from '../support/nats.ts';
import { aside, type Bench, CPU_COLUMNS, figure, none } from './bench.ts';
import { lostOf, placeNow, untilHandedOn } from './books.ts';
import { percentile } from './figures.ts';
import { sendPosts } from './load.ts';
import type { Scene } from './scene.ts';
import { cpuOfEach, makeList, memberOf, openSite } from './site.ts';
import { SMTP_TOOLS, startSink } from './tools.ts';

const ROUTE_CONNECTIONS = 5;
const WARM_UP_POSTS = 500;
const LIMIT_MS = 2_000;
const QUIET_MS = 30_000;

export const accept: Bench = {
  name: 'accept',
  what: 'posts taken over SMTP, durable before their 250, and the path behind them',
  peer: 'Mailman 3: LMTP takes 124 posts/s, not synced',
  flags: {
    posts: { what: 'posts of one run', default: 10_000 },
    connections: { what: 'kept-open SMTP connections', default: 20 },
    bytes: { what: 'bytes of a post', default: 4_096 },
    lists: { what: 'lists of one member that they go to', default: 10 },
  },
  says: [],
  columns: [
    figure('perSecond', 0, { atLeast: 1_000 }),
    figure('p50Ms', 1),
    figure('p99Ms', 1),
    figure('drainedPerSecond', 0),
    none('lost'),
    aside('limitPerSecond'),
    aside('behind'),
    ...CPU_COLUMNS,
  ],
  tools: SMTP_TOOLS,
  async open(flags, scene) {
    const connections = flags.number('connections');
    const sink = await startSink(scene);
    const bench = await openSite(scene, { sink, connections: ROUTE_CONNECTIONS });
    const lists = await Promise.all(
      Array.from({ length: flags.number('lists') }, (_, i) => makeList(bench, `list-${i}`, {}, 1)),
    );
    const send = (posts: number) =>
      sendPosts({
        port: bench.site.ports().smtpPort,
        connections,
        posts,
        bytes: flags.number('bytes'),
        lists: lists.map(({ address }) => address),
        sender: memberOf(1),
      });
    const warming = await placeNow(bench.nats());
    await send(WARM_UP_POSTS);
    await untilHandedOn(bench.nats(), warming, WARM_UP_POSTS, QUIET_MS);
    return async () => {
      const limitPerSecond = await natsRate(connections, flags.number('bytes'), scene);
      const posts = flags.number('posts');
      const since = await placeNow(bench.nats());
      const before = bench.cpuMs();
      const { ms, messageIds, startedAt, endedAt } = await send(posts);
      const taken = await placeNow(bench.nats());
      const behind = posts - (taken.TROUPE_RESULTS - since.TROUPE_RESULTS);
      scene.say(`${posts} posts taken, ${behind} of them still on their way`);
      await untilHandedOn(bench.nats(), since, posts, QUIET_MS);
      const drainedMs = performance.now() - startedAt;
      const after = bench.cpuMs();
      return {
        perSecond: (posts * 1_000) / (endedAt - startedAt),
        p50Ms: percentile(ms, 50),
        p99Ms: percentile(ms, 99),
        drainedPerSecond: (posts * 1_000) / drainedMs,
        lost: await lostOf(bench.nats(), since, messageIds, 1),
        limitPerSecond,
        behind,
        ...cpuOfEach(before, after, posts),
      };
    };
  },
};

/** Messages a second that a nats-server of its own makes durable. */
async function natsRate(inFlight: number, bytes: number, scene: Scene): Promise<number> {
  const server = await startNats();
  scene.closing(server.stop);
  const nats = await connectTo(server);
  const publisher = createPublisher(nats);
  await nats.jsm.streams.add({ name: 'LIMIT', subjects: ['limit'] });
  const data = Buffer.alloc(bytes, 'x');
  let stored = 0;
  let isOver = false;
  const work = async (): Promise<void> => {
    for (; !isOver; stored++) await publisher.publish('limit', data);
  };
  const startedAt = performance.now();
  const working = Promise.all(Array.from({ length: inFlight }, work));
  await pause(LIMIT_MS);
  isOver = true;
  await working;
  const rate = (stored * 1_000) / (performance.now() - startedAt);
  publisher.close();
  await nats.close();
  await server.stop();
  return rate;
}
