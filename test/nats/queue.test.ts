import { afterAll, beforeAll, expect, test } from 'vitest';
import { SLOTS } from '../../src/mail/list-key.ts';
import { mailboxQueue, mailQueue, outgoingQueue } from '../../src/nats/queue.ts';
import { eventually } from '../support/eventually.ts';
import { type Site, startSite } from '../support/nats.ts';

let site: Site;
beforeAll(async () => {
  site = await startSite({ outgoingAckWaitMs: 1_000 });
});
afterAll(() => site.stop());

/** Publishes until it is taken. */
async function putSurely(subject: string, text: string): Promise<void> {
  await eventually(() =>
    site.publisher.publish(subject, Buffer.from(text), { id: text }),
  ).toBeTruthy();
}

test('a taker goes on after the server was killed and came back, and misses nothing', async () => {
  const stopper = new AbortController();
  const seen = new Set<string>();
  const taking = (async () => {
    for await (const delivery of outgoingQueue(site.nats, 'bulk').take(16, stopper.signal)) {
      seen.add(Buffer.from(delivery.data).toString());
      delivery.ack();
    }
  })();
  const put = async (from: number, to: number): Promise<void> => {
    for (let i = from; i < to; i++) await putSurely('troupe.outgoing.bulk', `${i}`);
  };
  for (const round of [0, 1, 2]) {
    const putting = put(round * 100, round * 100 + 100);
    await eventually(() => seen.size).toBeGreaterThan(round * 100 + 20);
    await site.server.kill9();
    await site.server.restart();
    await putting;
  }
  await eventually(() => seen.size).toBe(300);
  await eventually(() => outgoingQueue(site.nats, 'bulk').depth()).toEqual({
    waiting: 0,
    inHand: 0,
  });
  stopper.abort();
  await taking;
});

test('a taker that waits while the server is away ends at once when it is told to', async () => {
  const stopper = new AbortController();
  const iterator = outgoingQueue(site.nats, 'post').take(4, stopper.signal)[Symbol.asyncIterator]();
  const pending = iterator.next();
  await site.server.kill9();
  await eventually(() => site.nats.isConnected()).toBe(false);
  stopper.abort();
  expect((await pending).done).toBe(true);
  await site.server.restart();
  await eventually(() => site.nats.isConnected()).toBe(true);
});

test('a consumer that was deleted and made again is taken from again', async () => {
  const { jsm } = site.nats;
  const stopper = new AbortController();
  const iterator = outgoingQueue(site.nats, 'notice')
    .take(4, stopper.signal)
    [Symbol.asyncIterator]();
  const pending = iterator.next();
  await eventually(
    async () => (await jsm.consumers.info('TROUPE_OUTGOING', 'outgoing_notice')).num_waiting,
  ).toBe(1);
  const { config } = await jsm.consumers.info('TROUPE_OUTGOING', 'outgoing_notice');
  await jsm.consumers.delete('TROUPE_OUTGOING', 'outgoing_notice');
  await jsm.consumers.add('TROUPE_OUTGOING', config);
  await putSurely('troupe.outgoing.notice', 'here');
  expect(Buffer.from((await pending).value?.data ?? []).toString()).toBe('here');
  stopper.abort();
  await iterator.next();
});

test('kinds of mail and slots have consumers of their own', async () => {
  await site.publisher.publish('troupe.mail.bounce', Buffer.from('a DSN'));
  await site.publisher.publish('troupe.mail.post', Buffer.from('a post'));
  const stopper = new AbortController();
  for await (const delivery of mailQueue(site.nats, 'post').take(4, stopper.signal)) {
    expect(Buffer.from(delivery.data).toString()).toBe('a post');
    delivery.ack();
    break;
  }
  expect(await mailQueue(site.nats, 'bounce').depth()).toEqual({ waiting: 1, inHand: 0 });
  expect(await mailboxQueue(site.nats, SLOTS - 1).depth()).toEqual({ waiting: 0, inHand: 0 });
});

test('10,000 messages are taken and acked with few requests for more', async () => {
  const data = new Uint8Array(200);
  await Promise.all(
    Array.from({ length: 10_000 }, () => site.publisher.publish('troupe.mail.owner', data)),
  );
  const before = site.nats.nc.stats().outMsgs;
  let taken = 0;
  for await (const delivery of mailQueue(site.nats, 'owner').take(
    256,
    new AbortController().signal,
  )) {
    delivery.ack();
    taken += 1;
    if (taken === 10_000) break;
  }
  const asked = site.nats.nc.stats().outMsgs - before - taken; // Each ack is one, too.
  // No poll and no round trip a message; measured, it is 20,000 a second.
  expect(asked).toBeLessThan(taken / 50);
});
