import { afterEach, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import {
  type Disposal,
  type RunnerOptions,
  type Running,
  runRunner,
} from '../../src/runners/runner.ts';
import type { Delivery, Meter } from '../../src/world.ts';
import { createFakeClock, type FakeClock } from '../support/fake/clock.ts';
import { createFakeJournal } from '../support/fake/journal.ts';
import { createFakeQueue, type FakeQueue } from '../support/fake/queue.ts';

const DONE: Disposal = { kind: 'done' };
const meter: Meter = { count: () => undefined, observe: () => undefined };
const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

type Parking = { readonly where: string; readonly data: string; readonly why: string };
type It = {
  readonly queue: FakeQueue;
  readonly clock: FakeClock;
  readonly parked: Parking[];
  readonly running: Running;
};

const textOf = (delivery: Pick<Delivery, 'data'>): string => Buffer.from(delivery.data).toString();
const put = (queue: FakeQueue, ...texts: readonly string[]): void => {
  for (const text of texts) queue.put('troupe.test', Buffer.from(text));
};

function start(options: Partial<RunnerOptions> & Pick<RunnerOptions, 'dispose'>): It {
  const clock = createFakeClock();
  const queue = createFakeQueue({ name: 'one', clock, ackWaitMs: 120_000 });
  const parked: Parking[] = [];
  const running = runRunner({
    name: 'test',
    queues: [{ queue, weight: 1 }],
    concurrency: 2,
    ahead: 1,
    park: async (where, delivery, why) => void parked.push({ where, data: textOf(delivery), why }),
    renewMs: 30_000,
    lostMs: 100_000,
    stopMs: 10_000,
    log: silentLog,
    meter,
    clock,
    ...options,
  });
  stops.push(() => stopped(running, clock));
  return { queue, clock, parked, running };
}

async function stopped(running: Running, clock: FakeClock): Promise<void> {
  const stopping = running.stop();
  await clock.advance(60_000);
  await stopping;
}

test('R1: what is disposed of is acked, once', async () => {
  const seen: string[] = [];
  const { queue, clock, running } = start({
    dispose: async (delivery) => {
      seen.push(textOf(delivery));
      return DONE;
    },
  });
  put(queue, 'a', 'b', 'c');
  await clock.advance(1);
  expect(seen.sort()).toEqual(['a', 'b', 'c']);
  expect(queue.stored()).toEqual([]);
  expect(running.counts()).toEqual({ done: 3, parked: 0, left: 0, inHand: 0 });
});

test('what throws is parked whole, with the reason, and the next is taken', async () => {
  const { queue, clock, parked, running } = start({
    dispose: async (delivery) => {
      if (textOf(delivery) === 'poison') throw new TypeError('a bug');
      return DONE;
    },
  });
  put(queue, 'poison', 'fine');
  await clock.advance(1);
  expect(parked).toMatchObject([{ where: 'test', data: 'poison' }]);
  expect(parked[0]?.why).toContain('a bug');
  expect(queue.stored()).toEqual([]);
  expect(running.counts()).toMatchObject({ done: 1, parked: 1 });
});

test('a disposal to the park, and a MailError that is final, are parked', async () => {
  const { queue, clock, parked } = start({
    dispose: async (delivery) => {
      if (textOf(delivery) === 'final') throw new MailError(554, '5.6.0', 'no');
      return { kind: 'park', why: 'cannot be read' };
    },
  });
  put(queue, 'final', 'asked');
  await clock.advance(1);
  expect(parked.map(({ data }) => data).sort()).toEqual(['asked', 'final']);
});

test('what cannot be parked stays in its queue', async () => {
  const { queue, clock, running } = start({
    dispose: async () => ({ kind: 'park', why: 'x' }),
    park: () => Promise.reject(new MailError(451, '4.3.0', 'NATS is away')),
  });
  put(queue, 'a');
  await clock.advance(1);
  expect(queue.stored().length).toBe(1);
  expect(running.counts()).toMatchObject({ parked: 0, left: 1 });
});

test('a transient failure is tried again in hand', async () => {
  let tries = 0;
  const { queue, clock } = start({
    dispose: async () => {
      tries += 1;
      if (tries < 3) throw new MailError(451, '4.3.0', 'not now');
      return DONE;
    },
  });
  put(queue, 'a');
  await clock.advance(2_000);
  expect([tries, queue.stored().length]).toEqual([3, 0]);
});

test('a failure that stays transient is left to come again by age, never parked', async () => {
  let tries = 0;
  const { queue, clock, parked, running } = start({
    dispose: async () => {
      tries += 1;
      throw new MailError(451, '4.3.0', 'not now');
    },
  });
  put(queue, 'a');
  await clock.advance(20_000);
  expect([tries, running.counts().left, queue.stored().length]).toEqual([6, 1, 1]);
  await clock.advance(140_000);
  expect(tries).toBe(12);
  await clock.advance(10 * 140_000);
  expect([parked, queue.stored().length]).toEqual([[], 1]);
});

test('R2: no more is in hand than may be, and one that waits', async () => {
  let inHand = 0;
  let most = 0;
  const gate = Promise.withResolvers<void>();
  const { queue, clock, running } = start({
    dispose: async () => {
      inHand += 1;
      most = Math.max(most, inHand);
      await gate.promise;
      inHand -= 1;
      return DONE;
    },
  });
  put(queue, ...'abcdefgh');
  await clock.advance(1);
  expect([inHand, running.counts().inHand]).toEqual([2, 3]);
  gate.resolve();
  await clock.advance(1);
  expect([most, running.counts().done]).toEqual([2, 8]);
});

test('long work is renewed, and comes to nobody else', async () => {
  const gate = Promise.withResolvers<void>();
  const renewed: string[] = [];
  let taken = 0;
  const { queue, clock } = start({
    dispose: async () => {
      taken += 1;
      await gate.promise;
      return DONE;
    },
    onRenewed: (delivery) => void renewed.push(textOf(delivery)),
  });
  put(queue, 'long');
  await clock.advance(10 * 120_000);
  expect(taken).toBe(1);
  expect(renewed.length).toBeGreaterThanOrEqual(40);
  gate.resolve();
  await clock.advance(1);
  expect(queue.stored()).toEqual([]);
});

test('R3: what could not be renewed for long is lost, its hand says so, and it stays so', async () => {
  const states: string[] = [];
  let isConnected = true;
  const gate = Promise.withResolvers<void>();
  const { queue, clock } = start({
    canRenew: () => isConnected,
    dispose: async (delivery, hand) => {
      const before = hand.state();
      await gate.promise;
      states.push(`${delivery.deliveries}: ${before}, ${hand.state()}`);
      return { kind: 'leave', why: 'lost' };
    },
  });
  put(queue, 'a');
  await clock.advance(40_000);
  isConnected = false;
  await clock.advance(101_000);
  isConnected = true;
  await clock.advance(31_000);
  gate.resolve();
  await clock.advance(1);
  expect(states).toContain('1: ours, lost');
});

test('classes are served in proportion to their weights, and none starves', async () => {
  const clock = createFakeClock();
  const weights = { notice: 8, post: 4, bulk: 2, retry: 1 };
  const queues = Object.entries(weights).map(([name, weight]) => {
    const queue = createFakeQueue({ name, clock });
    put(queue, ...Array.from({ length: 100 }, () => name));
    return { queue, weight };
  });
  const seen: string[] = [];
  start({
    clock,
    queues,
    concurrency: 1,
    dispose: async (delivery) => {
      seen.push(textOf(delivery));
      // As long as everything has work waiting, the order is by weight alone.
      await clock.sleep(1);
      return DONE;
    },
  });
  await clock.advance(150);
  const counts = Object.fromEntries(
    Object.keys(weights).map((name) => [name, seen.slice(0, 150).filter((s) => s === name).length]),
  );
  expect(counts.notice).toBeGreaterThanOrEqual(78);
  expect(counts.post).toBeGreaterThanOrEqual(38);
  expect(counts.bulk).toBeGreaterThanOrEqual(18);
  expect(counts.retry).toBeGreaterThanOrEqual(9);
  await clock.advance(400);
  expect(seen.length).toBe(400);
});

test('nothing is pulled while it may not be', async () => {
  const gate = Promise.withResolvers<void>();
  const seen: string[] = [];
  const { queue, clock } = start({
    canPull: () => gate.promise,
    dispose: async (delivery) => {
      seen.push(textOf(delivery));
      return DONE;
    },
  });
  put(queue, 'a');
  await clock.advance(1_000);
  expect([seen, (await queue.depth()).inHand]).toEqual([[], 0]);
  gate.resolve();
  await clock.advance(1);
  expect(seen).toEqual(['a']);
});

test('a stop finishes what is in hand, gives back what waits, and takes no more', async () => {
  const gate = Promise.withResolvers<void>();
  const seen: string[] = [];
  const { queue, clock, running } = start({
    concurrency: 1,
    dispose: async (delivery) => {
      seen.push(textOf(delivery));
      await gate.promise;
      return DONE;
    },
  });
  put(queue, 'a', 'b', 'c');
  await clock.advance(1);
  const stopping = running.stop();
  await clock.advance(1_000);
  gate.resolve();
  await stopping;
  expect(seen).toEqual(['a']);
  expect(await queue.depth()).toEqual({ waiting: 2, inHand: 0 });
});

test('work that outlasts the deadline of a stop is told to end, and given back', async () => {
  const { queue, clock, running } = start({
    dispose: async (_, hand) => {
      while (hand.state() === 'ours') await clock.sleep(100);
      return { kind: 'leave', why: hand.state() };
    },
  });
  put(queue, 'a');
  await clock.advance(1);
  const stopping = running.stop();
  await clock.advance(9_000);
  expect(running.counts().inHand).toBe(1);
  await clock.advance(2_000);
  await stopping;
  expect(await queue.depth()).toEqual({ waiting: 1, inHand: 0 });
});

test('a stop does not wait for ever for work that hangs', async () => {
  const { queue, clock, running } = start({ dispose: () => new Promise(() => undefined) });
  put(queue, 'a');
  await clock.advance(1);
  const stopping = running.stop();
  await clock.advance(16_000);
  await stopping;
  expect(queue.stored().length).toBe(1);
});

test('what an earlier process left is disposed of before anything is taken', async () => {
  const seen: string[] = [];
  const acked: string[] = [];
  const first: Delivery = {
    ...{ subject: 'x', seq: 1, deliveries: 1, storedAt: 0, data: Buffer.from('left') },
    ...{ header: () => '', working: () => undefined, giveBack: () => undefined },
    ack: () => void acked.push('left'),
  };
  const { queue, clock } = start({
    first: [first],
    concurrency: 1,
    dispose: async (delivery) => {
      seen.push(textOf(delivery));
      return DONE;
    },
  });
  put(queue, 'new');
  await clock.advance(1);
  expect([seen, acked]).toEqual([['left', 'new'], ['left']]);
});

test('what was in hand five times when its process died is parked, not tried again', async () => {
  const clock = createFakeClock();
  const { suspects } = createFakeJournal(clock);
  for (let death = 0; death < 5; death += 1) suspects.begin('one:1');
  const seen: string[] = [];
  const queue = createFakeQueue({ name: 'one', clock, ackWaitMs: 1_000 });
  put(queue, 'killer');
  for await (const delivery of queue.take(1, new AbortController().signal)) {
    delivery.giveBack();
    break;
  }
  const { parked } = start({
    ...{ clock, suspects, queues: [{ queue, weight: 1 }] },
    dispose: async (delivery) => {
      seen.push(textOf(delivery));
      return DONE;
    },
  });
  await clock.advance(1);
  expect([seen, queue.stored().length]).toEqual([[], 0]);
  expect(parked).toMatchObject([{ data: 'killer', why: expect.stringContaining('5 times') }]);
});

test('a queue that fails is taken from again', async () => {
  const clock = createFakeClock();
  const queue = createFakeQueue({ name: 'one', clock });
  put(queue, 'a');
  let failures = 0;
  const flaky = {
    ...queue,
    take: (ahead: number, signal: AbortSignal) => {
      failures += 1;
      if (failures === 1) throw new Error('no stream');
      return queue.take(ahead, signal);
    },
  };
  start({ clock, queues: [{ queue: flaky, weight: 1 }], dispose: async () => DONE });
  await clock.advance(2_000);
  expect(queue.stored()).toEqual([]);
});
