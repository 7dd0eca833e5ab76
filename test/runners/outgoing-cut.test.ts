/** What the outgoing runner does when it is cut short: by NATS, by a stop, by another hand, by a crash. */
import { afterEach, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { chunkName } from '../../src/mail/chunk.ts';
import { decodeChunk, encodeChunk } from '../../src/nats/codec.ts';
import type { Hand } from '../../src/runners/runner.ts';
import type { Delivery } from '../../src/world.ts';
import type { FakeSmtp } from '../support/fake/smtp.ts';
import { chunkOf, deliveryOf, member, OURS } from '../support/outgoing-story.ts';
import {
  crashAfter,
  members,
  recipients,
  startOutgoing as start,
  stopPools,
} from '../support/outgoing-world.ts';

afterEach(stopPools);

/** What a result says of these numbers when the fake MTA has accepted them. */
const copies = (...numbers: readonly number[]) =>
  numbers.map((n) => [n, n, { route: 'mta', at: expect.any(Number), reply: '2.0.0 taken' }]);
/** What it says of those whose words a crash lost. */
const noted = (...numbers: readonly number[]) =>
  numbers.map((n) => [n, n, { route: 'mta', at: expect.any(Number), reply: '' }]);

/** A hand that is taken away once so many copies are sent. */
const handFor = (copies: number, smtp: FakeSmtp, then: 'stopping' | 'lost'): Hand => ({
  state: () => (smtp.mails.length < copies ? 'ours' : then),
});

test('when NATS goes away after the sending, the chunk that comes again sends nothing twice', async () => {
  const { smtp, dispose, failing, journal, result } = start();
  const chunk = chunkOf(4);
  failing.set('tell', new MailError(451, '4.3.0', 'away'));
  await expect(dispose(chunk)).rejects.toThrow('away');
  failing.clear();
  await dispose(chunk);
  expect(recipients(smtp).sort()).toEqual(members(0, 1, 2, 3));
  expect(result(chunk)).toMatchObject({ kind: 'done', accepted: noted(1, 4, 7, 10) });
  expect(journal.held()).toEqual([]);
});

test('a chunk that is cut by a stop tells a part, and the next hand sends the rest', async () => {
  const { smtp, dispose, told, journal } = start({ connectionsMax: 1 });
  const chunk = chunkOf(6);
  expect(await dispose(chunk, handFor(2, smtp, 'stopping'))).toMatchObject({ kind: 'leave' });
  expect(told.at(-1)?.result).toMatchObject({ kind: 'part', accepted: copies(1, 4) });
  expect(journal.held()).toEqual([]);
  await dispose(chunk);
  expect(recipients(smtp)).toEqual(members(0, 1, 2, 3, 4, 5));
});

test('a part never hides that another hand has finished', async () => {
  const { dispose, told, result } = start({ connectionsMax: 1 });
  const chunk = chunkOf(3);
  const hand: Hand = {
    state() {
      const done = { kind: 'done', at: 1, accepted: [], deferred: [], refused: [] };
      if (told.length === 0) told.push({ name: chunkName(chunk), result: { ...done } as never });
      return 'lost';
    },
  };
  await dispose(chunk, hand);
  expect(result(chunk)).toMatchObject({ kind: 'done', at: 1 });
});

test('a chunk that is in hand here already is left alone', async () => {
  const { smtp, dispose } = start();
  const [first, second] = await Promise.all([dispose(chunkOf(3)), dispose(chunkOf(3))]);
  expect([first.kind, second.kind]).toEqual(['done', 'leave']);
  expect(smtp.mails.length).toBe(3);
});

test('a bug while sending tells whom it reached before the chunk is parked', async () => {
  const { smtp, dispose, told } = start({ connectionsMax: 1 });
  const chunk = chunkOf(4);
  smtp.rule = (to) => {
    if (to === member(2)) throw new TypeError('a bug');
    return null;
  };
  await expect(dispose(chunk)).rejects.toThrow('a bug');
  expect(told.at(-1)?.result).toMatchObject({ kind: 'part', accepted: copies(1, 4) });
});

test('O4: after a crash a part is told first, then the chunk is gone on with by its ack token', async () => {
  const it = start({ connectionsMax: 1 });
  const chunk = chunkOf(6);
  await crashAfter(3, it, chunk);
  expect(it.told).toEqual([]);
  const next = it.restarted();
  const adopted: string[] = [];
  const adopt = (token: string, data: Uint8Array): Delivery => {
    adopted.push(token, chunkName(decodeChunk(data)));
    return deliveryOf(data, token);
  };
  const [delivery] = await next.outgoing.resume(adopt, 120_000);
  expect(adopted).toEqual(['token', chunkName(chunk)]);
  expect(it.told.at(-1)?.result).toMatchObject({
    kind: 'part',
    accepted: noted(1, 4, 7),
  });
  if (delivery === undefined) throw new Error('nothing was given back');
  expect(await next.outgoing.dispose(delivery, OURS)).toEqual({ kind: 'done' });
  expect(recipients(it.smtp)).toEqual(members(0, 1, 2, 3, 4, 5));
  expect(it.journal.held()).toEqual([]);
});

test('a chunk that may be in another hand by now is told of, but not gone on with', async () => {
  const it = start({ connectionsMax: 1 });
  await crashAfter(3, it, chunkOf(6));
  await it.clock.advance(100_000);
  const adopt = (): Delivery => {
    throw new Error('it is not ours any more');
  };
  expect(await it.restarted().outgoing.resume(adopt, 120_000)).toEqual([]);
  expect(it.told.at(-1)?.result.kind).toBe('part');
  expect(it.journal.held()).toEqual([]);
});

test('a journaled chunk that cannot be read is left to its queue', async () => {
  const it = start();
  it.journal.open('x', 'token', Buffer.from('{"v":99}'));
  expect(await it.outgoing.resume((token, data) => deliveryOf(data, token), 120_000)).toEqual([]);
  expect([it.journal.held(), it.told]).toEqual([[], []]);
});

test('a renewal is noted in the journal', async () => {
  const it = start({ connectionsMax: 1 });
  const gate = Promise.withResolvers<void>();
  const delivery = deliveryOf(encodeChunk(chunkOf(2)), 'token');
  const borrowed = it.pool.withConnection('post', () => gate.promise);
  const disposing = it.outgoing.dispose(delivery, OURS);
  await it.clock.advance(30_000);
  it.outgoing.onRenewed(delivery);
  expect(it.journal.held()[0]?.renewedAt).toBe(it.clock.now());
  gate.resolve();
  await Promise.all([borrowed, disposing]);
});
