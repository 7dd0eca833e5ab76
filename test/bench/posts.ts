/**
 * A burst of posts to many small lists, end to end: from the first connection until the last copy is at `smtp-sink`. The
 * limits are `smtp-source` sending as many copies to the same sink, and nats-server storing what is stored of so many posts.
 */
import { aside, type Bench, CPU_COLUMNS, figure, none } from './bench.ts';
import { lostOf, placeNow, untilHandedOn } from './books.ts';
import { storeRate } from './limits.ts';
import { sendPosts } from './load.ts';
import { cpuOfEach, makeList, memberOf, openSite } from './site.ts';
import { SMTP_TOOLS, sourceRate, startSink } from './tools.ts';

const BYTES = 4_096;
const CONNECTIONS = 20;
const ROUTE_CONNECTIONS = 5;
const WARM_UP_POSTS = 1_000;
const QUIET_MS = 30_000;
/** Bytes of what is stored of a post: the mail, the turn, the copy for the archive, the chunk and its result. */
const STORED = [4_500, 1_000, 4_500, 1_500, 500].map((bytes) => Buffer.alloc(bytes, 'x'));
const STORED_AT_ONCE = 64;

export const posts: Bench = {
  name: 'posts',
  what: 'a burst of posts to small lists, through smtp-sink',
  peer: 'Mailman 3: 9.9 posts/s to 100 members each',
  flags: {
    lists: { what: 'lists', default: 100 },
    members: { what: 'members of each', default: 10 },
    posts: { what: 'posts of one run', default: 1_000 },
  },
  says: [],
  columns: [
    figure('perSecond', 0, { atLeast: 300 }),
    none('lost'),
    aside('acceptedPerSecond'),
    aside('limitPerSecond'),
    aside('storedPerSecond'),
    ...CPU_COLUMNS,
  ],
  tools: SMTP_TOOLS,
  async open(flags, scene) {
    const members = flags.number('members');
    const count = flags.number('posts');
    const sink = await startSink(scene);
    const bench = await openSite(scene, { sink, connections: ROUTE_CONNECTIONS });
    const lists: string[] = [];
    for (let i = 0; i < flags.number('lists'); i++) {
      lists.push((await makeList(bench, `list-${i}`, {}, members)).address);
    }
    const burst = async (posts: number) => {
      const since = await placeNow(bench.nats());
      const watched = sink.watch();
      const load = { connections: CONNECTIONS, posts, bytes: BYTES, lists, sender: memberOf(1) };
      const loaded = await sendPosts({ ...load, port: bench.site.ports().smtpPort });
      await watched.until(posts * members, QUIET_MS);
      await untilHandedOn(bench.nats(), since, posts, QUIET_MS);
      watched.stop();
      return { ...loaded, ...watched.now(), since };
    };
    await burst(WARM_UP_POSTS);
    return async () => {
      const load = { connections: ROUTE_CONNECTIONS, messages: count * members, recipients: 1 };
      const limit = await sourceRate(sink, { ...load, bytes: BYTES }, scene);
      const storedPerSecond = await storeRate(bench, new Array(count).fill(STORED), STORED_AT_ONCE);
      const before = bench.cpuMs();
      const { messageIds, startedAt, endedAt, lastAt, taken, since } = await burst(count);
      const after = bench.cpuMs();
      if (taken !== count * members) throw new Error(`the sink took ${taken} copies`);
      return {
        perSecond: (count * 1_000) / (lastAt - startedAt),
        lost: await lostOf(bench.nats(), since, messageIds, members),
        acceptedPerSecond: (count * 1_000) / (endedAt - startedAt),
        limitPerSecond: limit / members,
        storedPerSecond,
        ...cpuOfEach(before, after, count),
      };
    };
  },
};
