/**
 * "Why did she not get it?": one recipient of one post looked up among many posts to a large list, by a NATS request as the command
 * line makes it. The posts are real ones of the list; what became of their copies is told by the bench, as outgoing tells it.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { type Accepted, acceptedIn, type By, type Result } from '../../src/mail/chunk.ts';
import { listKeyOf } from '../../src/mail/list-key.ts';
import { resultsOf } from '../../src/nats/outlets.ts';
import { createPublisher } from '../../src/nats/publisher.ts';
import { inspectDelivery } from '../../src/nats/subjects.ts';
import { aside, type Bench, figure } from './bench.ts';
import { median, percentile } from './figures.ts';
import { sendPosts } from './load.ts';
import { rssMbOf } from './processes.ts';
import { type BenchList, type BenchSite, makeList, memberOf, openSite } from './site.ts';

const BYTES = 4_096;
const BY = { kind: 'operator', name: 'bench' } as const;
const LOOKUPS = 500;
const AT_ONCE = 64;
const REQUEST_MS_MAX = 60_000;
const REST_MS = 3_000;
/** Results of one recipient each, stored to see what one costs the server in memory: their bytes are few. */
const SHORT_RESULTS = 60_000;
/** Before them, so that the server has what it has at work. */
const WARM_UP_RESULTS = 20_000;
const BYTES_A_MB = 1_024 * 1_024;

export const delivery: Bench = {
  name: 'delivery',
  what: 'one recipient of one post looked up in the delivery record',
  peer: 'Mailman 3 keeps no record',
  flags: {
    members: { what: 'members of the list', default: 150_000 },
    posts: { what: 'posts to it', default: 30 },
  },
  says: ['members', 'posts'],
  columns: [
    figure('lookupP50Ms', 1),
    figure('lookupP99Ms', 1, { atMost: 50 }),
    figure('reportMs', 0),
    figure('bytesPerRecipient', 1),
    figure('serverBytesPerChunk', 0),
    aside('results'),
  ],
  tools: [],
  async open(flags, scene) {
    const members = flags.number('members');
    const posts = flags.number('posts');
    // Nobody sends: each chunk stays where it is.
    const roles = { TROUPE_ROLES: 'edge,incoming,host,web' };
    scene.say(`${SHORT_RESULTS} results of one recipient`);
    // On a server of its own: what it holds for other work would hide what these cost.
    const serverBytesPerChunk = await costOfShort(await openSite(scene, null, roles));
    const bench = await openSite(scene, null, roles);
    scene.say(`a list of ${members} members, and ${posts} posts to it`);
    const list = await makeList(bench, 'large', { posting: 'anyone' }, members);
    const load = { connections: 4, posts, bytes: BYTES, lists: [list.address] };
    await sendPosts({ ...load, sender: memberOf(1), port: bench.site.ports().smtpPort });
    await untilAccepted(bench, list, posts);
    scene.say('what became of them');
    const stored = await tellAll(bench, list, members, posts);
    return async () => {
      const ms: number[] = [];
      for (let i = 0; i < LOOKUPS; i += 1) {
        const number = 1 + Math.floor(Math.random() * members);
        const post = 1 + Math.floor(Math.random() * posts);
        const startedAt = performance.now();
        const body = { post, recipient: memberOf(number) };
        const { state, story } = await ask<{ state: string; story: unknown[] }>(bench, list, body);
        ms.push(performance.now() - startedAt);
        if (state === 'queued' || state === null || story.length === 0) {
          throw new Error(`member ${number} of post ${post} is ${state}`);
        }
      }
      const startedAt = performance.now();
      const { counts } = await ask<{ counts: { queued: number } }>(bench, list, { post: posts });
      const reportMs = performance.now() - startedAt;
      if (counts.queued !== 0) throw new Error(`the report lacks ${counts.queued}`);
      return {
        lookupP50Ms: median(ms),
        lookupP99Ms: percentile(ms, 99),
        reportMs,
        ...stored,
        serverBytesPerChunk,
      };
    };
  },
};

async function ask<T>({ nats }: BenchSite, list: BenchList, body: unknown): Promise<T> {
  const subject = inspectDelivery(list.address);
  const timeout = REQUEST_MS_MAX;
  return (await nats().nc.request(subject, JSON.stringify(body), { timeout })).json<T>();
}

async function untilAccepted(bench: BenchSite, { key }: BenchList, posts: number): Promise<void> {
  for (;;) {
    const reply = await bench.asker().question(key, { ask: 'list' });
    if (reply.ok && reply.answer.posts === posts) return;
    await pause(100);
  }
}

/** One in fifty is kept waiting once, one in a hundred is refused; each copy has an id in the MTA’s queue. */
async function tellAll(bench: BenchSite, { key }: BenchList, members: number, posts: number) {
  const nats = bench.nats();
  const publisher = createPublisher(nats);
  const results = resultsOf(nats, publisher);
  const facts = await bench.asker().question(key, { ask: 'post', post: 1, by: BY });
  if (!facts.ok) throw new Error(JSON.stringify(facts));
  const { width } = facts.answer;
  const chunks = Math.ceil(facts.answer.counter / width);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < posts * chunks; i = next++) {
      const chunk = i % chunks;
      const first = Math.max(1, chunk * width);
      const numbers = Array.from(
        { length: Math.min(members, chunk * width + width - 1) - first + 1 },
        (_, n) => first + n,
      );
      const id = { key, post: String(1 + Math.floor(i / chunks)), chunk: String(chunk) };
      await results.tell({ ...id, try: 0 }, firstTry(numbers));
      await results.tell({ ...id, try: 1 }, resultOf(numbers.filter((n) => n % 50 === 0)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  publisher.close();
  const { state } = await nats.jsm.streams.info('TROUPE_RESULTS');
  return {
    results: state.messages,
    bytesPerRecipient: state.bytes / (members * posts),
  };
}

/** Bytes of the server's memory by which each result makes it grow, as long as it is kept. */
async function costOfShort(bench: BenchSite): Promise<number> {
  const nats = bench.nats();
  const publisher = createPublisher(nats);
  const { tell } = resultsOf(nats, publisher);
  const key = listKeyOf(randomBytes(26));
  const { pid } = bench.site.nats();
  let post = 0;
  const store = (until: number): Promise<unknown> => {
    const work = async (): Promise<void> => {
      while (post < until) {
        post += 1;
        await tell({ key, post: String(post), chunk: '0', try: 0 }, resultOf([1]));
      }
    };
    return Promise.all(Array.from({ length: AT_ONCE }, work));
  };
  await store(WARM_UP_RESULTS);
  await pause(REST_MS);
  const before = rssMbOf(pid);
  await store(WARM_UP_RESULTS + SHORT_RESULTS);
  publisher.close();
  await pause(REST_MS);
  return ((rssMbOf(pid) - before) * BYTES_A_MB) / SHORT_RESULTS;
}

let queued = 0x4a5b6c7d;
const queuedAs = (): string => `2.0.0 Ok: queued as 4X${(queued++).toString(36).toUpperCase()}z1b`;

const copies = (numbers: readonly number[], by: By): readonly Accepted[] =>
  acceptedIn(new Map(numbers.map((number) => [number, { ...by, reply: queuedAs() }])));

const byNow = (): By => ({ route: 'postfix', at: Date.now() });

function resultOf(accepted: readonly number[], by = byNow()): Result {
  return { kind: 'done', at: by.at, accepted: copies(accepted, by), deferred: [], refused: [] };
}

function firstTry(numbers: readonly number[]): Result {
  const by = byNow();
  const busy = {
    ...by,
    code: 450,
    status: '4.2.0',
    reply: 'Recipient address rejected: Greylisted',
  };
  const gone = {
    ...by,
    code: 550,
    status: '5.1.1',
    reply: 'Recipient address rejected: User unknown',
  };
  const next = Date.now() + 360_000;
  const isGone = (n: number): boolean => n % 100 === 1;
  return {
    ...resultOf(
      numbers.filter((n) => n % 50 !== 0 && !isGone(n)),
      by,
    ),
    deferred: numbers.filter((n) => n % 50 === 0).map((number) => ({ number, ...busy, next })),
    refused: numbers.filter(isGone).map((number) => ({ number, ...gone })),
  };
}
