/**
 * What the bus does in trouble: recorded from a nats-server, so that the simulated one does the same. Redelivery order, late and
 * lost acks, forgotten ids, a batch sent twice, an append in doubt, a read that does not see it, a schedule that fell due while nobody was there.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Chunk } from '../../src/mail/chunk.ts';
import { slotOf } from '../../src/mail/list-key.ts';
import { decodeChunk } from '../../src/nats/codec.ts';
import type { Appended, Delivery, Later, Ledger, OutgoingOut, Queue } from '../../src/world.ts';
import { eventually } from '../support/eventually.ts';
import { chunkOf } from '../support/outgoing-story.ts';
import { newKey } from './ledger.ts';
import { type Taker, taker } from './queue.ts';

type Timer = { readonly type: 'tell-moderators' };

export type TroubleUnderTest = {
  readonly outgoing: OutgoingOut;
  /** What `outgoing` puts chunks of class `post` into; given to nobody else. */
  readonly queue: Queue;
  readonly ackWaitMs: number;
  readonly ledger: Ledger;
  readonly later: Later<Timer>;
  readonly due: Queue;
  /** The servers go away for `ms`, and come back. */
  restart(ms: number): Promise<void>;
  /** The record is stored, but its answer comes to nobody. */
  appendInDoubt(append: () => Promise<Appended>): Promise<Appended>;
  /** The same for servers that are busy: it is given up on while the record is on its way. */
  appendUnseen(append: (ledger: Ledger) => Promise<Appended>): Promise<Appended>;
  close(): Promise<void>;
};

/** A read that is stale is not one that must be. */
const READS_MAX = 20;
/** From so many chunks on they are put as one batch. */
const BATCH = 70;

export function troubleContract(name: string, make: () => Promise<TroubleUnderTest>): void {
  describe(`trouble: ${name}`, () => {
    let it: TroubleUnderTest;
    const takers: Taker[] = [];
    beforeAll(async () => {
      it = await make();
    });
    afterAll(async () => {
      await Promise.all(takers.map((one) => one.stop()));
      await it.close();
    });

    const take = (queue: Queue, ahead: number): Taker => {
      const one = taker(queue, ahead);
      takers.push(one);
      return one;
    };
    const nextOf = async (from: Taker): Promise<Delivery> => {
      const delivery = await from.next();
      if (delivery === null) throw new Error('the queue ended');
      return delivery;
    };
    const put = (...posts: readonly string[]): Promise<void> =>
      it.outgoing.put(posts.map((post): Chunk => chunkOf(1, { post })));
    const postOf = (delivery: Delivery): string => decodeChunk(delivery.data).post;
    const depth = (waiting: number, inHand: number): Promise<void> =>
      eventually(() => it.queue.depth()).toEqual({ waiting, inHand });

    test('what comes again comes before what is new', async () => {
      await put('old');
      const gone = take(it.queue, 1);
      expect(postOf(await nextOf(gone))).toBe('old');
      await gone.stop();
      // Nothing tells that the server has taken it back; twice the time is enough for a loaded one.
      await new Promise((resolve) => setTimeout(resolve, it.ackWaitMs * 2));
      await put('new');
      const from = take(it.queue, 5);
      const [first, second] = [await nextOf(from), await nextOf(from)];
      expect([postOf(first), postOf(second)]).toEqual(['old', 'new']);
      expect(first.deliveries).toBe(2);
      for (const delivery of [first, second]) delivery.ack();
      await depth(0, 0);
      await from.stop();
    });

    test('an ack that comes late, when it was delivered again, counts', async () => {
      await put('late');
      const from = take(it.queue, 5);
      const first = await nextOf(from);
      const again = await nextOf(from);
      expect([first.deliveries, again.deliveries]).toEqual([1, 2]);
      first.ack();
      await depth(0, 0);
      await from.stop();
    });

    test('an id is known while it stands in the queue and after, but not after a restart', async () => {
      const from = take(it.queue, 5);
      await put('once');
      (await nextOf(from)).ack();
      await depth(0, 0);
      await put('once');
      await depth(0, 0);
      await it.restart(100);
      await put('once');
      const again = await nextOf(from);
      expect(postOf(again)).toBe('once');
      again.ack();
      await depth(0, 0);
      await from.stop();
    });

    test('a batch put twice is there once', async () => {
      const posts = Array.from({ length: BATCH }, (_, i) => `b${i}`);
      await put(...posts);
      await put(...posts);
      await depth(BATCH, 0);
      const from = take(it.queue, BATCH);
      const seen: string[] = [];
      for (let i = 0; i < BATCH; i++) {
        const delivery = await nextOf(from);
        seen.push(postOf(delivery));
        delivery.ack();
      }
      expect(seen.toSorted()).toEqual(posts.toSorted());
      await depth(0, 0);
      await from.stop();
    });

    test('an append in doubt that was stored is refused when it is sent again, and is the last', async () => {
      const key = newKey();
      const bytes = Buffer.from('the same bytes');
      const append = (): Promise<Appended> => it.ledger.append(slotOf(key), key, bytes, 0);
      expect((await it.appendInDoubt(append)).kind).toBe('doubt');
      await eventually(async () => (await append()).kind).toBe('refused');
      const last = await it.ledger.last(slotOf(key), key);
      expect(Buffer.from(last?.bytes ?? []).toString()).toBe('the same bytes');
    });

    test('a read right after an append in doubt says that it is not there, and it is', async () => {
      const bytes = Buffer.from('on its way');
      const read = async (): Promise<unknown> => {
        const key = newKey();
        const append = (to: Ledger) => to.append(slotOf(key), key, bytes, 0);
        expect((await it.appendUnseen(append)).kind).toBe('doubt');
        const last = await it.ledger.last(slotOf(key), key);
        // So nothing is made of what was read: the same bytes again tell.
        expect((await append(it.ledger)).kind).toBe('refused');
        const stored = await it.ledger.last(slotOf(key), key);
        expect(Buffer.from(stored?.bytes ?? []).toString()).toBe('on its way');
        return last;
      };
      let seen = await read();
      for (let reads = 1; seen !== null && reads < READS_MAX; reads++) seen = await read();
      expect(seen).toBeNull();
    });

    test('what fell due while nobody was there comes when they are back', async () => {
      const key = newKey();
      const asked = { id: 'timer.1', command: { type: 'tell-moderators' } } as const;
      await it.later.put('overdue', Date.now() + 800, { to: 'mailbox', key, asked });
      await it.restart(1_500);
      const from = take(it.due, 1);
      const delivery = await nextOf(from);
      expect(delivery.subject).toBe('troupe.due.overdue');
      delivery.ack();
    });
  });
}
