import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { BounceEvent } from '../../src/mail/bounce-event.ts';
import { type ListKey, slotOf } from '../../src/mail/list-key.ts';
import { decodeAsked, decodeChunk } from '../../src/nats/codec.ts';
import {
  BATCH_FROM,
  BOUNCES_BATCH_FROM,
  bouncesOut,
  mailboxOut,
  outgoingOut,
  parkedOut,
  resultsOf,
} from '../../src/nats/outlets.ts';
import { mailboxQueue, outgoingQueue } from '../../src/nats/queue.ts';
import { newKey } from '../contract/ledger.ts';
import { taker } from '../contract/queue.ts';
import { bounce } from '../support/bounce-story.ts';
import { aChunk, aResult, took } from '../support/chunk.ts';
import { type Site, startSite } from '../support/nats.ts';

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site.stop());
const aStanding = (id: string): BounceEvent => ({
  ...{
    type: 'standing',
    id,
    at: 1,
    member: 1,
    what: 'reset',
    count: 0,
    byBounces: true,
    cause: null,
  },
});

beforeEach(async () => {
  await site.nats.jsm.streams.purge('TROUPE_OUTGOING');
  await site.nats.jsm.streams.purge('TROUPE_PARKED');
});

const delivery = (
  subject: string,
  seq: number,
  data: Uint8Array,
  headers: Record<string, string> = {},
) => ({ subject, seq, data, header: (name: string) => headers[name] ?? '' });

test('a command reaches the mailbox of its list’s slot, once', async () => {
  const [key, other] = [newKey(), newKey()];
  const asked = { id: 'timer.1', command: { type: 'tell-moderators' } };
  const mailbox = mailboxOut(site.publisher);
  await mailbox.put(key, asked);
  await mailbox.put(key, asked);
  await mailbox.put(other, asked); // The same id for another list is another command.
  const { state } = await site.nats.jsm.streams.info('TROUPE_MAILBOX');
  expect(state.messages).toBe(2);
  const queue = taker(mailboxQueue(site.nats, slotOf(key)), 4);
  const taken = await queue.next();
  expect(taken?.subject).toBe(`troupe.mailbox.${slotOf(key)}.${key}`);
  expect(decodeAsked(taken?.data ?? new Uint8Array())).toEqual(asked);
  taken?.ack();
  await queue.stop();
});

test.each([3, BATCH_FROM, 1_200])(
  '%d chunks are put whole, and putting them again adds none',
  async (count) => {
    const key = newKey();
    const chunks = Array.from({ length: count }, (_, i) => aChunk({ key, chunk: `${i}` }));
    const outgoing = outgoingOut(site.publisher);
    await outgoing.put(chunks);
    await outgoing.put(chunks);
    const { state } = await site.nats.jsm.streams.info('TROUPE_OUTGOING');
    expect(state.messages).toBe(count);
    const queue = taker(outgoingQueue(site.nats, 'post'), 4);
    const first = await queue.next();
    expect(decodeChunk(first?.data ?? new Uint8Array())).toEqual(chunks[0]);
    first?.giveBack();
    await queue.stop();
  },
);

test.each(['a result', 'an order'])('a post is untold until there is %s of it', async (what) => {
  const { isUntold, tell, order } = resultsOf(site.nats, site.publisher);
  const key = newKey();
  const chunk = aChunk({ key, post: '7', chunk: '3-0', try: 2 });
  await tell({ ...chunk, post: '77' }, aResult());
  expect(await isUntold(key, '7')).toBe(true);
  if (what === 'a result') await tell(chunk, aResult());
  else await order(key, '7', { order: 'pause', n: 3, index: 0 });
  expect(await isUntold(key, '7')).toBe(false);
});

test('of what is ordered for a post the latest stands, however late one before it comes', async () => {
  const { order, orderOf } = resultsOf(site.nats, site.publisher);
  const key = newKey();
  expect(await orderOf(key, '7')).toBe('go');
  await order(key, '7', { order: 'pause', n: 3, index: 0 });
  await order(key, '7', { order: 'go', n: 3, index: 1 });
  await order(key, '7', { order: 'pause', n: 3, index: 0 });
  expect(await orderOf(key, '7')).toBe('go');
  // Both read before either writes: the one that comes second finds another last than it expects.
  let refused = 0;
  for (let n = 4; n < 44; n += 2) {
    const go = () => order(key, '7', { order: 'go', n: n + 1, index: 0 });
    const pause = () => order(key, '7', { order: 'pause', n, index: 0 });
    const [first, second] = await Promise.allSettled([go(), pause()]);
    if (first.status === 'rejected') await go();
    for (const outcome of [first, second]) {
      if (outcome.status === 'fulfilled') continue;
      refused += 1;
      expect(outcome.reason).toMatchObject({ code: 451 });
    }
    expect(await orderOf(key, '7')).toBe('go');
  }
  expect(refused).toBeGreaterThan(0);
});

const keptOf = async (key: ListKey): Promise<number> => {
  const subject = `troupe.bounces.${slotOf(key)}.${key}`;
  const info = await site.nats.jsm.streams.info('TROUPE_BOUNCES', { subjects_filter: subject });
  return info.state.subjects?.[subject] ?? 0;
};

test('what a list did is a message each, also at once, and telling it again adds none', async () => {
  const key = newKey();
  const { put } = bouncesOut(site.nats, site.publisher);
  const tell = () => Promise.all([1, 2, 3].map((i) => put(key, aStanding(`l1.${i}.reset.0`))));
  await tell();
  await tell();
  expect(await keptOf(key)).toBe(3);
});

test('bounces of many lists at once are each kept, and telling them again adds none', async () => {
  const keys = Array.from({ length: 2 * BOUNCES_BATCH_FROM }, newKey);
  const { put } = bouncesOut(site.nats, site.publisher);
  const tell = () => Promise.all(keys.map((key) => put(key, bounce(1, 1))));
  await tell();
  await tell();
  expect(await Promise.all(keys.map(keptOf))).toEqual(keys.map(() => 1));
});

test('a chunk goes to the queue of its class', async () => {
  const key = newKey();
  await outgoingOut(site.publisher).put([
    aChunk({ key, chunk: '0', class: 'bulk' }),
    aChunk({ key, chunk: '1', class: 'retry' }),
  ]);
  expect((await outgoingQueue(site.nats, 'bulk').depth()).waiting).toBe(1);
  expect((await outgoingQueue(site.nats, 'retry').depth()).waiting).toBe(1);
  expect((await outgoingQueue(site.nats, 'post').depth()).waiting).toBe(0);
});

test('the last result is that of exactly this chunk and try', async () => {
  const results = resultsOf(site.nats, site.publisher);
  const chunk = aChunk({ key: newKey() });
  expect(await results.last(chunk)).toBeNull();
  await results.tell(chunk, aResult({ kind: 'part' }));
  await results.tell({ ...chunk, try: 1 }, aResult({ accepted: [took(1, 1, { route: 'other' })] }));
  await results.tell(
    { ...chunk, chunk: '0-1' },
    aResult({ accepted: [took(1, 1, { route: 'another' })] }),
  );
  expect(await results.last(chunk)).toEqual(aResult({ kind: 'part' }));
  await results.tell(chunk, aResult({ kind: 'done' }));
  expect(await results.last(chunk)).toEqual(aResult({ kind: 'done' }));
});

async function parked(seq: number) {
  return site.nats.jsm.streams.getMessage('TROUPE_PARKED', { seq });
}

test('what is parked is whole, with where it came from and why', async () => {
  const why = `cannot read:\r\nNats-Rollup: all\n\u0000ü ${'x'.repeat(2_000)}`;
  const headers = { 'Troupe-Envelope': '{"sender":""}', 'Nats-Msg-Id': 'old' };
  const data = Buffer.from([0, 255, 13, 10]);
  const out = parkedOut(site.nats, site.publisher);
  await out.put('incoming', delivery('troupe.mail.post', 42, data, headers), why);
  const { state } = await site.nats.jsm.streams.info('TROUPE_PARKED');
  const message = await parked(state.last_seq);
  expect(message.subject).toBe('troupe.parked.incoming');
  expect(Buffer.compare(message.data, data)).toBe(0);
  const found = Object.fromEntries(
    message.header.keys().map((name) => [name, message.header.values(name)]),
  );
  expect(found['Troupe-From-Subject']).toEqual(['troupe.mail.post']);
  expect(found['Troupe-From-Seq']).toEqual(['42']);
  expect(found['Troupe-Envelope']).toEqual(['{"sender":""}']);
  expect(found['Troupe-Why']?.[0]).toMatch(/^cannot read: Nats-Rollup: all x+$/);
  expect(found['Troupe-Why']?.[0]?.length).toBeLessThanOrEqual(500);
  expect(Object.keys(found).filter((name) => name.startsWith('Nats-'))).toEqual([]);
});

test('the largest message there is can be parked', async () => {
  const data = new Uint8Array(768 * 1024 - 200);
  const out = parkedOut(site.nats, site.publisher);
  await out.put('outgoing', delivery('troupe.outgoing.post', 1, data), 'x'.repeat(5_000));
  const { state } = await site.nats.jsm.streams.info('TROUPE_PARKED');
  expect(state.messages).toBe(1);
});

test('the parts of a large mail are parked with it', async () => {
  const { publisher } = site;
  const parts = [
    (await publisher.publish('troupe.mail.part', Buffer.from('one'))).seq,
    (await publisher.publish('troupe.mail.part', Buffer.from('two'))).seq,
  ];
  const headers = { 'Troupe-Parts': JSON.stringify([...parts, 999_999]) };
  const mail = delivery('troupe.mail.post', 99, Buffer.from('three'), headers);
  await parkedOut(site.nats, publisher).put('incoming', mail, 'why');
  const { state } = await site.nats.jsm.streams.info('TROUPE_PARKED');
  expect(state.messages).toBe(3);
  const found = await Promise.all([parked(state.last_seq - 2), parked(state.last_seq - 1)]);
  expect(found.map((message) => [message.string(), message.header.get('Troupe-From-Seq')])).toEqual(
    [
      ['one', `${parts[0]}`],
      ['two', `${parts[1]}`],
    ],
  );
  expect((await parked(state.last_seq)).header.get('Troupe-Parts')).toBe(headers['Troupe-Parts']);
});

test.each(['not JSON', '{}', '[-1, "x", null]', '[1e99]'])(
  'a mail whose list of parts cannot be read is parked all the same: %j',
  async (list) => {
    const mail = delivery('troupe.mail.post', 5, Buffer.from('x'), { 'Troupe-Parts': list });
    await parkedOut(site.nats, site.publisher).put('incoming', mail, 'why');
    const { state } = await site.nats.jsm.streams.info('TROUPE_PARKED');
    expect(state.messages).toBe(1);
  },
);

test.each(['', 'a.b', '*', 'a b', 'Incoming'])('no other word names where: %j', async (where) => {
  const mail = delivery('troupe.mail.post', 5, Buffer.from('x'));
  const doing = parkedOut(site.nats, site.publisher).put(where, mail, 'why');
  await expect(doing).rejects.toThrow('not one token');
});
