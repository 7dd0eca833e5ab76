/**
 * What anything behind the `Queue` seam must show: durable consumers on a nats-server, and the
 * fake.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Delivery, Queue } from '../../src/world.ts';
import { eventually } from '../support/eventually.ts';

export type QueueUnderTest = {
  /** Whose deliveries may be in hand for longer than any test takes. */
  readonly patient: Queue;
  /** Whose deliveries come again soon. */
  readonly hasty: Queue;
  /** How long a delivery of the hasty one may be in hand, ms. */
  readonly ackWaitMs: number;
  /** Stores a message in one of them; the same `id` again is one. */
  put(to: Queue, text: string, options?: PutOptions): Promise<void>;
  close(): Promise<void>;
};

type PutOptions = { readonly id?: string; readonly headers?: Record<string, string> };

/** A machine that stands still for longer than the short ack_wait tells nothing; that it does again and again tells something. */
const RETRIES = 5;

const textOf = (delivery: Delivery): string => new TextDecoder().decode(delivery.data);

/** Takes from a queue one by one, and stops at the end of the test. */
export function taker(queue: Queue, ahead: number): Taker {
  const stopper = new AbortController();
  const iterator = queue.take(ahead, stopper.signal)[Symbol.asyncIterator]();
  return {
    async next() {
      const result = await iterator.next();
      return result.done === true ? null : result.value;
    },
    async stop() {
      stopper.abort();
      await iterator.return?.();
    },
  };
}

export type Taker = {
  /** Null at the end. */
  next(): Promise<Delivery | null>;
  stop(): Promise<void>;
};

export function queueContract(name: string, make: () => Promise<QueueUnderTest>): void {
  describe(`queue: ${name}`, () => {
    let it: QueueUnderTest;
    let takers: Taker[] = [];
    beforeAll(async () => {
      it = await make();
    });
    afterAll(() => it.close());
    afterEach(async () => {
      await Promise.all(takers.map((one) => one.stop()));
      takers = [];
      await emptied(it.patient);
      await emptied(it.hasty);
    });

    const take = (ahead: number, queue = it.patient): Taker => {
      const one = taker(queue, ahead);
      takers.push(one);
      return one;
    };
    const nextOf = async (from: Taker): Promise<Delivery> => {
      const delivery = await from.next();
      if (delivery === null) throw new Error('the queue ended');
      return delivery;
    };
    /** Acks all that is left, so that the next test starts with an empty queue. */
    const emptied = async (queue: Queue): Promise<void> => {
      const rest = taker(queue, 10);
      const acking = (async () => {
        for (let next = await rest.next(); next !== null; next = await rest.next()) next.ack();
      })();
      try {
        await settled(0, 0, queue);
      } finally {
        await rest.stop();
        await acking;
      }
    };
    const putAll = async (texts: readonly string[]): Promise<void> => {
      for (const text of texts) await put(text);
    };
    const put = (text: string, options?: PutOptions): Promise<void> =>
      it.put(it.patient, text, options);
    const settled = async (waiting: number, inHand: number, queue = it.patient): Promise<void> => {
      await eventually(() => queue.depth()).toEqual({ waiting, inHand });
    };

    delivering();
    redelivering();
    bounding();

    function delivering(): void {
      test('messages come in order, with what was put beside them', async () => {
        await put('a', { headers: { 'Troupe-Note': 'beside' } });
        await put('b');
        const from = take(10);
        const [a, b] = [await nextOf(from), await nextOf(from)];
        expect([textOf(a), textOf(b)]).toEqual(['a', 'b']);
        expect(a.header('Troupe-Note')).toBe('beside');
        expect(b.header('Troupe-Note')).toBe('');
        expect(b.seq).toBeGreaterThan(a.seq);
        expect(a.deliveries).toBe(1);
        expect(Math.abs(Date.now() - a.storedAt)).toBeLessThan(60_000);
        expect(a.subject).not.toBe('');
        for (const delivery of [a, b]) delivery.ack();
      });

      test('a message wakes a taker that was there before it', async () => {
        const from = take(10);
        const pending = nextOf(from);
        await put('late');
        const late = await pending;
        expect(textOf(late)).toBe('late');
        late.ack();
      });

      test('what was acked is gone', async () => {
        await putAll(['a', 'b']);
        const from = take(1);
        (await nextOf(from)).ack();
        (await nextOf(from)).ack();
        await settled(0, 0);
      });

      test('the same id again is one message', async () => {
        await put('once', { id: 'the-id' });
        await put('once', { id: 'the-id' });
        await put('other');
        const from = take(10);
        const [once, other] = [await nextOf(from), await nextOf(from)];
        expect([textOf(once), textOf(other)]).toEqual(['once', 'other']);
        await settled(0, 2);
        for (const delivery of [once, other]) delivery.ack();
      });

      test('two takers share, and nothing comes to both', async () => {
        const texts = Array.from({ length: 40 }, (_, i) => `${i}`);
        const [one, other] = [take(4), take(4)];
        const seen: string[] = [];
        const follow = async (from: Taker): Promise<void> => {
          for (let next = await from.next(); next !== null; next = await from.next()) {
            next.ack();
            seen.push(textOf(next));
          }
        };
        const following = [follow(one), follow(other)];
        await putAll(texts);
        await eventually(() => seen.length).toBe(texts.length);
        await settled(0, 0);
        await Promise.all([one.stop(), other.stop(), ...following]);
        expect(seen.toSorted()).toEqual(texts.toSorted());
      });
    }

    function redelivering(): void {
      test('what was neither acked nor renewed comes again after ack_wait', async () => {
        const startedAt = performance.now();
        await it.put(it.hasty, 'forgotten');
        const from = take(10, it.hasty);
        const first = await nextOf(from);
        const again = await nextOf(from);
        expect(performance.now() - startedAt).toBeGreaterThan(it.ackWaitMs * 0.9);
        expect(again.seq).toBe(first.seq);
        expect([first.deliveries, again.deliveries]).toEqual([1, 2]);
        again.ack();
        await settled(0, 0, it.hasty);
      });

      test('working keeps a message in hand past ack_wait', { retry: RETRIES }, async () => {
        await it.put(it.hasty, 'long');
        const from = take(10, it.hasty);
        const first = await nextOf(from);
        const renewing = setInterval(() => first.working(), it.ackWaitMs / 4);
        const startedAt = performance.now();
        const again = nextOf(from);
        setTimeout(() => clearInterval(renewing), it.ackWaitMs * 1.5);
        expect((await again).deliveries).toBe(2);
        expect(performance.now() - startedAt).toBeGreaterThan(it.ackWaitMs * 2);
        (await again).ack();
      });

      test('what is given back comes again at once', async () => {
        await put('back');
        const from = take(10);
        (await nextOf(from)).giveBack();
        const again = await nextOf(from); // After ack_wait, this test would be over.
        expect(again.deliveries).toBe(2);
        again.ack();
      });
    }

    function bounding(): void {
      test('no more is taken ahead than the caller has room for', async () => {
        await putAll(Array.from({ length: 30 }, (_, i) => `${i}`));
        const from = take(5);
        const first = await nextOf(from);
        // One handed out, four or five more: the room is asked for again when half of it is free.
        await eventually(async () => (await it.patient.depth()).waiting).toBeLessThan(30);
        const { waiting, inHand } = await it.patient.depth();
        expect(inHand).toBeLessThanOrEqual(6);
        expect(waiting).toBeGreaterThanOrEqual(24);
        first.ack();
      });

      test('what was taken ahead and not handed out is given back at the end', async () => {
        await putAll(['a', 'b', 'c', 'd']);
        const from = take(10);
        (await nextOf(from)).ack();
        await from.stop();
        const others = take(10);
        const rest = [await nextOf(others), await nextOf(others), await nextOf(others)];
        for (const delivery of rest) delivery.ack();
        expect(rest.map(textOf).toSorted()).toEqual(['b', 'c', 'd']);
      });

      test('the end comes at once, even when it was over before', async () => {
        const stopper = new AbortController();
        const iterator = it.patient.take(10, stopper.signal)[Symbol.asyncIterator]();
        const pending = iterator.next();
        stopper.abort();
        expect((await pending).done).toBe(true);
        const over = it.patient.take(10, AbortSignal.abort())[Symbol.asyncIterator]();
        expect((await over.next()).done).toBe(true);
      });
    }
  });
}
