import { afterAll, beforeAll, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { KEPT_MAX, keepLast, keepStreams } from '../../src/nats/keep.ts';
import { outgoingQueues } from '../../src/nats/queue.ts';
import { KEEP, outgoing } from '../../src/nats/subjects.ts';
import { taker } from '../contract/queue.ts';
import { eventually } from '../support/eventually.ts';
import { type Site, startSite } from '../support/nats.ts';

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site.stop());

const stateOf = async (stream: string) => (await site.nats.jsm.streams.info(stream)).state;
const kept = (last: number | null): Promise<number> =>
  keepLast(site.nats, 'TROUPE_OUTGOING', 'troupe.outgoing.keep', last);

test('a queue that was emptied still holds its last messages, which no runner is given', async () => {
  const before = await kept(null);
  await site.publisher.publish(outgoing('post'), Buffer.from('a chunk'));
  const last = await kept(before);
  expect(last).toBe(before + 2);
  const queue = outgoingQueues(site.nats).post;
  const taken = taker(queue, 4);
  const delivery = await taken.next();
  expect(Buffer.from(delivery?.data ?? []).toString()).toBe('a chunk');
  delivery?.ack();
  await eventually(() => stateOf('TROUPE_OUTGOING')).toMatchObject({
    ...{ messages: 2, first_seq: before, last_seq: last },
  });
  expect(await queue.depth()).toEqual({ waiting: 0, inHand: 0 });
  await taken.stop();
});

test('where nothing came, nothing is written', async () => {
  const last = await kept(null);
  expect(await kept(last)).toBe(last);
  expect((await stateOf('TROUPE_OUTGOING')).last_seq).toBe(last);
});

test('so many stay, and no more', async () => {
  const many = Array.from({ length: KEPT_MAX }, () => ({
    ...{ subject: 'troupe.outgoing.keep', data: Buffer.from('{}') },
  }));
  await site.publisher.publishBatch(many);
  const last = await kept(null);
  expect(await stateOf('TROUPE_OUTGOING')).toMatchObject({
    ...{ messages: KEPT_MAX, first_seq: last - KEPT_MAX + 1, last_seq: last },
  });
});

test('the node whose part it is does so for every stream that is emptied, and no other node', async () => {
  const messages = () =>
    Promise.all([...KEEP.keys()].map(async (name) => (await stateOf(name)).messages));
  for (const name of KEEP.keys()) await site.nats.jsm.streams.purge(name);
  const ending = new AbortController();
  let isOurs = false;
  const told: number[][] = [];
  const clock = {
    async sleep() {
      told.push(await messages());
      if (isOurs) ending.abort();
      isOurs = true;
    },
  };
  await keepStreams(
    { nats: site.nats, clock, log: silentLog, isOurs: () => isOurs },
    ending.signal,
  );
  expect(told).toEqual([
    [0, 0, 0, 0],
    [1, 1, 1, 1],
  ]);
});

test('what cannot be done now is tried again next time', async () => {
  await site.nats.jsm.streams.purge('TROUPE_LATER');
  await site.server.kill9();
  await eventually(() => site.nats.isConnected()).toBe(false);
  const ending = new AbortController();
  let rounds = 0;
  const clock = {
    async sleep() {
      rounds++;
      if (rounds === 2) return ending.abort();
      await site.server.restart();
      await eventually(() => site.nats.isConnected()).toBe(true);
    },
  };
  await keepStreams({ nats: site.nats, clock, log: silentLog, isOurs: () => true }, ending.signal);
  expect((await stateOf('TROUPE_LATER')).messages).toBe(1);
});
