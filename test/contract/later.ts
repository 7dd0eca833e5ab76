/** What anything behind the `Later` seam must show: schedules on a nats-server, and the fake. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeDue } from '../../src/nats/codec.ts';
import type { Due, Later, Queue } from '../../src/world.ts';
import { newKey } from './ledger.ts';
import { type Taker, taker } from './queue.ts';

type Timer = { readonly type: 'tell-moderators'; readonly word: string };

export type LaterUnderTest = {
  readonly later: Later<Timer>;
  /** What is due; given to nobody else. */
  readonly due: Queue;
  close(): Promise<void>;
};

/** Time enough, on any machine, to replace or cancel what would fall due then. */
const ROOM_MS = 3_000;

const key = newKey();
const timer = (word: string): Due<Timer> => ({
  to: 'mailbox',
  key,
  asked: { id: `timer.${word}`, command: { type: 'tell-moderators', word } },
});

export function laterContract(name: string, make: () => Promise<LaterUnderTest>): void {
  describe(`later: ${name}`, () => {
    let it: LaterUnderTest;
    let due: Taker;
    beforeAll(async () => {
      it = await make();
      due = taker(it.due, 10);
    });
    afterAll(async () => {
      await due.stop();
      await it.close();
    });

    /** The word of the next timer that fell due. */
    const nextWord = async (): Promise<string> => {
      const delivery = await due.next();
      if (delivery === null) throw new Error('the queue ended');
      delivery.ack();
      const what = decodeDue<Timer>(delivery.data);
      if (what.to !== 'mailbox') throw new Error('another thing fell due');
      return what.asked.command.word;
    };

    test('it comes when it is due, not before, and whole', async () => {
      const at = Date.now() + 700;
      await it.later.put('one', at, timer('one'));
      const delivery = await due.next();
      expect(Date.now()).toBeGreaterThanOrEqual(at - 20);
      expect(delivery?.subject).toBe('troupe.due.one');
      expect(decodeDue(delivery?.data ?? new Uint8Array())).toEqual(timer('one'));
      delivery?.ack();
    });

    test('what is due earlier comes earlier', async () => {
      const now = Date.now();
      await it.later.put('b', now + ROOM_MS, timer('b'));
      await it.later.put('a', now + 400, timer('a'));
      expect([await nextWord(), await nextWord()]).toEqual(['a', 'b']);
    });

    test('a time in the past is due at once', async () => {
      await it.later.put('past', Date.now() - 60_000, timer('past'));
      expect(await nextWord()).toBe('past');
    });

    test('the same id again replaces, whichever is the earlier', async () => {
      const now = Date.now();
      await it.later.put('same', now + ROOM_MS, timer('first'));
      await it.later.put('same', now + ROOM_MS + 400, timer('second'));
      await it.later.put('brought.forward', now + 600_000, timer('far'));
      await it.later.put('brought.forward', now + ROOM_MS + 800, timer('near'));
      await it.later.put('after.all', now + ROOM_MS + 1_200, timer('last'));
      expect([await nextWord(), await nextWord(), await nextWord()]).toEqual([
        'second',
        'near',
        'last',
      ]);
    });

    test('what was cancelled does not come; cancelling what is not there is no error', async () => {
      const now = Date.now();
      await it.later.put('cancelled', now + ROOM_MS, timer('cancelled'));
      await it.later.put('kept', now + ROOM_MS + 400, timer('kept'));
      await it.later.cancel('cancelled');
      await it.later.cancel('cancelled');
      await it.later.cancel('never.was');
      expect(await nextWord()).toBe('kept');
    });

    test('what waits under a prefix can be made due at once, and nothing else', async () => {
      const far = Date.now() + 3_600_000;
      for (const id of ['list.7.0.1', 'list.7.1.1', 'list.70.0.1', 'list.7']) {
        await it.later.put(id, far, timer(id));
      }
      await it.later.hasten('list.7');
      await it.later.hasten('list.8');
      expect([await nextWord(), await nextWord()].sort()).toEqual(['list.7.0.1', 'list.7.1.1']);
      await it.later.put('list.70.0.1', Date.now(), timer('the other'));
      expect(await nextWord()).toBe('the other');
      await it.later.cancel('list.7');
    });

    test.each(['', '.', 'a.', '.a', 'a..b', 'a b', 'a*', '>', 'A', 'a\r\nb', 'ä'])(
      'an id that is no token of a subject is a bug: %j',
      async (id) => {
        await expect(it.later.put(id, Date.now(), timer('x'))).rejects.toThrow('no subject token');
        await expect(it.later.cancel(id)).rejects.toThrow('no subject token');
      },
    );
  });
}
