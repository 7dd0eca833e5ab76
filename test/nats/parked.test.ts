/** Parked messages as an operator sees them, and what a replay does; on a real nats-server. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { queueStates, streamStates } from '../../src/nats/depths.ts';
import { parkedOut } from '../../src/nats/outlets.ts';
import {
  parkedCounts,
  parkedMessage,
  parkedMessages,
  replayParked,
} from '../../src/nats/parked.ts';
import { storedMessage } from '../../src/nats/stored.ts';
import { MAIL_PART, mail, outgoing } from '../../src/nats/subjects.ts';
import { type Site, startSite } from '../support/nats.ts';

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site?.stop());
beforeEach(async () => {
  for (const stream of ['TROUPE_PARKED', 'TROUPE_MAIL', 'TROUPE_OUTGOING']) {
    await site.nats.jsm.streams.purge(stream);
  }
});

const bytes = (text: string): Uint8Array => Buffer.from(text);

/** Publishes a message and parks it, as a runner does. */
async function park(subject: string, text: string, headers: Record<string, string> = {}) {
  const { seq } = await site.publisher.publish(subject, bytes(text), { headers });
  const header = (name: string): string => headers[name] ?? '';
  const delivery = { subject, seq, data: bytes(text), header };
  await parkedOut(site.nats, site.publisher).put('incoming', delivery, 'it threw: oh no');
  return seq;
}

async function all(after = 0, limit = 100, where?: string) {
  const found = [];
  for await (const message of parkedMessages(site.nats, after, limit, where)) found.push(message);
  return found;
}

test('what is parked is counted and listed with where it came from and why', async () => {
  const from = await park(mail('post'), 'raw mail', { 'Troupe-Envelope': '{}' });
  expect(await parkedCounts(site.nats)).toEqual(new Map([['incoming', 1]]));
  const [message] = await all();
  expect(message).toMatchObject({
    where: 'incoming',
    fromSubject: 'troupe.mail.post',
    fromSeq: from,
    why: 'it threw: oh no',
    bytes: 8,
  });
  expect(Math.abs((message?.at ?? 0) - Date.now())).toBeLessThan(60_000);
});

test('what is parked in one place is read without what is parked elsewhere', async () => {
  for (let i = 0; i < 5; i++) await park(mail('post'), `post ${i}`);
  const aside = parkedOut(site.nats, site.publisher);
  const delivery = { subject: mail('bounce'), seq: 9, data: bytes('?'), header: () => '' };
  for (let i = 0; i < 3; i++) await aside.put('bounce', delivery, `why ${i}`);
  const first = await all(0, 2, 'bounce');
  expect(first.map(({ where, why }) => [where, why])).toEqual([
    ['bounce', 'why 0'],
    ['bounce', 'why 1'],
  ]);
  const rest = await all(first[1]?.seq, Number.POSITIVE_INFINITY, 'bounce');
  expect(rest.map(({ why }) => why)).toEqual(['why 2']);
});

test('a replay puts it back whole where it came from, and it is parked no more', async () => {
  await park(mail('post'), 'raw mail', { 'Troupe-Envelope': '{"sender":""}' });
  const [parked] = await all();
  await replayParked(site.nats, parked?.seq ?? 0);
  const there = await storedMessage(site.nats, 'TROUPE_MAIL', { last_by_subj: mail('post') });
  expect(Buffer.from(there?.data ?? []).toString()).toBe('raw mail');
  expect(there?.header('Troupe-Envelope')).toBe('{"sender":""}');
  expect(there?.header('Troupe-Why')).toBe('');
  expect(there?.seq).toBeGreaterThan(parked?.fromSeq ?? 0);
  expect(await all()).toEqual([]);
});

test('a replay is not taken for a duplicate of its first life', async () => {
  const { seq } = await site.publisher.publish(outgoing('post'), bytes('chunk'), { id: 'chunk-1' });
  const delivery = { subject: outgoing('post'), seq, data: bytes('chunk'), header: () => '' };
  await parkedOut(site.nats, site.publisher).put('outgoing', delivery, 'x');
  await site.nats.jsm.streams.deleteMessage('TROUPE_OUTGOING', seq);
  const [parked] = await all();
  await replayParked(site.nats, parked?.seq ?? 0);
  const there = await storedMessage(site.nats, 'TROUPE_OUTGOING', {
    last_by_subj: outgoing('post'),
  });
  expect(there?.seq).toBeGreaterThan(seq);
});

test('replaying what is not there, or came from no queue of ours, is refused and changes nothing', async () => {
  await expect(replayParked(site.nats, 12_345)).rejects.toThrow(/nothing is parked as 12345/);
  const delivery = { subject: 'troupe.ledger.1.owner', seq: 1, data: bytes('x'), header: () => '' };
  await parkedOut(site.nats, site.publisher).put('incoming', delivery, 'x');
  const [parked] = await all();
  await expect(replayParked(site.nats, parked?.seq ?? 0)).rejects.toThrow(/no queue of ours/);
  expect(await all()).toHaveLength(1);
});

test('a large mail comes back with parts that MAIL has forgotten, named where they are now', async () => {
  const parts = [];
  for (const text of ['one', 'two']) {
    parts.push((await site.publisher.publish(MAIL_PART, bytes(text))).seq);
  }
  await park(mail('post'), 'three', { 'Troupe-Parts': JSON.stringify(parts) });
  expect(await parkedCounts(site.nats)).toEqual(new Map([['incoming', 1]]));
  // The first part ages out of MAIL, the second is still there.
  await site.nats.jsm.streams.deleteMessage('TROUPE_MAIL', parts[0] ?? 0);
  const [parked] = await all();
  expect((await parkedMessage(site.nats, parked?.seq ?? 0))?.data).toEqual(Buffer.from('three'));
  await replayParked(site.nats, parked?.seq ?? 0);
  const there = await storedMessage(site.nats, 'TROUPE_MAIL', { last_by_subj: mail('post') });
  const [first, second]: number[] = JSON.parse(there?.header('Troupe-Parts') ?? '');
  expect(second).toBe(parts[1]);
  const again = await storedMessage(site.nats, 'TROUPE_MAIL', { seq: first ?? 0 });
  expect(Buffer.from(again?.data ?? []).toString()).toBe('one');
  expect((await site.nats.jsm.streams.info('TROUPE_PARKED')).state.messages).toBe(0);
});

test('queues tell what waits, what is in hand and since when', async () => {
  const before = Date.now() - 1_000;
  await site.publisher.publish(mail('post'), bytes('a'));
  await site.publisher.publish(mail('post'), bytes('b'));
  const states = await queueStates(site.nats);
  const post = states.find(({ name }) => name === 'mail.post');
  expect(post).toMatchObject({ waiting: 2, inHand: 0 });
  expect(post?.oldestAt).toBeGreaterThan(before);
  const names = states.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['mail.bounce', 'mailbox', 'outgoing.bulk', 'due']));
  expect(new Set(names).size).toBe(names.length);
  expect(states.find(({ name }) => name === 'mailbox')).toEqual({
    name: 'mailbox',
    waiting: 0,
    inHand: 0,
    oldestAt: null,
  });
  const consumer = await site.nats.js.consumers.get('TROUPE_MAIL', 'mail_post');
  const taken = await consumer.next();
  expect((await queueStates(site.nats)).find(({ name }) => name === 'mail.post')).toMatchObject({
    waiting: 1,
    inHand: 1,
  });
  await taken?.ackAck();
});

test('streams tell what they hold; a setting that is not ours and a stream that is gone are drift', async () => {
  const made = await streamStates(site.nats);
  expect(made.drift).toEqual([]);
  expect(made.streams.map(({ name }) => name)).toContain('KV_troupe_directory');
  const { config } = await site.nats.jsm.streams.info('TROUPE_BOUNCES');
  await site.nats.jsm.streams.update('TROUPE_BOUNCES', { ...config, max_age: 5_000_000_000_000 });
  await site.nats.jsm.streams.delete('TROUPE_ARCHIVE');
  const { drift } = await streamStates(site.nats);
  expect(drift.map(({ stream, setting }) => `${stream} ${setting}`).sort()).toEqual([
    'TROUPE_ARCHIVE stream',
    'TROUPE_BOUNCES max_age',
  ]);
});
