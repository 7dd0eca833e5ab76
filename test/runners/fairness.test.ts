/** A small post is not kept waiting by a large one: not for a hand of the runner, and not for a connection of the route. */
import { afterEach, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import type { Address } from '../../src/mail/address.ts';
import type { Chunk, Class } from '../../src/mail/chunk.ts';
import { CLASS_ORDER, isLarge, largeMax } from '../../src/mail/class-order.ts';
import { type Disposal, type Running, runRunner } from '../../src/runners/runner.ts';
import { createFakeClock, type FakeClock } from '../support/fake/clock.ts';
import { createFakeQueue } from '../support/fake/queue.ts';
import { chunkOf, outgoingStory } from '../support/outgoing-story.ts';
import { startOutgoing, stopPools } from '../support/outgoing-world.ts';

const HANDS = 8;
const DONE: Disposal = { kind: 'done' };
const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  stopPools();
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

/** Queues with many of each class; each takes a second. Tells the classes in hand, in the order in which they were taken. */
function serving(many: Readonly<Partial<Record<Class, number>>>) {
  const clock = createFakeClock();
  const queues = Object.fromEntries(
    (['notice', 'post', 'bulk', 'retry'] as const).map((cls) => {
      const queue = createFakeQueue({ name: cls, clock, ackWaitMs: 120_000 });
      for (let n = 0; n < (many[cls] ?? 0); n += 1) queue.put('troupe.test', Buffer.from(cls));
      return [cls, queue];
    }),
  );
  const taken: string[] = [];
  const running = runRunner({
    ...{ name: 'test', concurrency: HANDS, ahead: 1, largeMax: largeMax(HANDS, CLASS_ORDER) },
    queues: Object.entries(queues).map(([name, queue]) => ({
      ...{ queue, weight: CLASS_ORDER.weights[name as Class], isLarge: isLarge(name as Class) },
    })),
    dispose: async ({ data }) => {
      taken.push(Buffer.from(data).toString());
      await clock.sleep(1_000);
      return DONE;
    },
    ...{ renewMs: 30_000, lostMs: 100_000, stopMs: 10_000, clock, log: silentLog },
    ...{ park: async () => undefined, meter: { count: () => undefined, observe: () => undefined } },
  });
  stops.push(() => stopped(running, clock));
  return { clock, queues, taken, running };
}

async function stopped(running: Running, clock: FakeClock): Promise<void> {
  const stopping = running.stop();
  await clock.advance(60_000);
  await stopping;
}

test('R2: bulk and retries together never have all hands, and a post has one at once', async () => {
  const { clock, queues, taken, running } = serving({ bulk: 50, retry: 50 });
  await clock.advance(500);
  expect(taken.length).toBe(6);
  // One of each waits for a hand.
  expect(running.inHandOf('bulk') + running.inHandOf('retry')).toBe(8);
  queues.post?.put('troupe.test', Buffer.from('post'));
  await clock.advance(1);
  expect([taken.length, taken.at(-1)]).toEqual([7, 'post']);
  await clock.advance(60_000);
  expect(taken.length).toBe(101);
});

test('posts may have every hand, and bulk and retries still have their turns', async () => {
  const { clock, taken } = serving({ post: 100, bulk: 20, retry: 20 });
  await clock.advance(1);
  expect(taken.slice(0, HANDS).filter((cls) => cls === 'post').length).toBeGreaterThan(2);
  await clock.advance(9_999);
  expect(taken.filter((cls) => cls === 'bulk').length).toBeGreaterThanOrEqual(10);
  expect(taken.filter((cls) => cls === 'retry').length).toBeGreaterThanOrEqual(5);
});

const smallChunk = (): Chunk => chunkOf(1, { class: 'post', to: [[1, SMALL as Address]] });
const SMALL = 'small@x.example';
/** After so long a connection is given back. */
const RUN_MS = 101;

test('while an MTA does not answer what is bulk, a post goes out over the connections of the reserve', async () => {
  const it = startOutgoing({ connectionsMax: 5 });
  const answered = Promise.withResolvers<void>();
  const connect = it.smtp.connect;
  it.smtp.connect = async () => {
    const connection = await connect();
    const send: typeof connection.send = async (transaction, following) => {
      if (transaction.recipients[0] !== SMALL) await answered.promise;
      return connection.send(transaction, following);
    };
    return Object.create(connection, { send: { value: send } }) as typeof connection;
  };
  const bulk = it.dispose(chunkOf(20, { class: 'bulk', post: '8' }));
  expect(await it.dispose(smallChunk())).toEqual(DONE);
  expect(it.smtp.mails.map(({ recipients }) => recipients[0])).toEqual([SMALL]);
  answered.resolve();
  await bulk;
  expect(it.smtp.mails.length).toBe(21);
});

test('a post is sent between two transactions of a bulk chunk, over its only connection', async () => {
  const it = startOutgoing({ connectionsMax: 1 });
  const bulk = chunkOf(100, { class: 'bulk', post: '8' });
  const small = smallChunk();
  let posting: Promise<Disposal> | null = null;
  it.smtp.rule = () => {
    if (it.smtp.mails.length === 10) posting ??= it.dispose(small);
    return null;
  };
  await it.dispose(bulk);
  await posting;
  const at = it.smtp.mails.findIndex(({ recipients }) => recipients[0] === SMALL);
  expect(it.smtp.mails.length).toBe(101);
  // What is asked of the world before a chunk is sent takes a few turns of the loop.
  expect(at).toBeGreaterThan(10);
  expect(at).toBeLessThan(60);
});

test('a chunk uses its part of the connections, and more as the others are finished', async () => {
  const it = startOutgoing({ connectionsMax: 5 });
  let share = 2;
  const route = { ...it.pool, share: () => share };
  const { dispose } = outgoingStory({ route, journal: it.journal, clock: it.clock });
  const most: number[] = [];
  let atOnce = 0;
  it.smtp.pace = async () => {
    atOnce += 1;
    most[share] = Math.max(most[share] ?? 0, atOnce);
    if (it.smtp.mails.length === 20) share = 5;
    if (it.smtp.mails.length === 60) share = 1;
    await it.clock.advance(RUN_MS);
    atOnce -= 1;
  };
  expect(await dispose(chunkOf(80))).toEqual(DONE);
  expect(it.smtp.mails.length).toBe(80);
  expect([most[2], most[5]]).toEqual([2, 5]);
  expect(new Set(it.smtp.mails.flatMap(({ recipients }) => recipients)).size).toBe(80);
});
