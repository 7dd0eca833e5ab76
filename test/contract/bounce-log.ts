/** What anything behind the `BounceLog` and `BouncesOut` seams must show: the real ones on a nats-server, and the fake. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EVENTS_MAX, eventNumber } from '../../src/mail/bounce-event.ts';
import { type ListKey, slotOf } from '../../src/mail/list-key.ts';
import type { BounceLog, BouncesOut, FoundBounces } from '../../src/world.ts';
import { bounce } from '../support/bounce-story.ts';
import { newKey } from './ledger.ts';

export type BounceLogUnderTest = {
  readonly log: BounceLog & BouncesOut;
  close(): Promise<void>;
};

/** Follows a slot from a sequence, and gives what came once `enough` says so. */
async function followed(
  log: BounceLog,
  slot: number,
  after: number,
  enough: (found: readonly FoundBounces[], isCaughtUp: boolean) => boolean,
): Promise<readonly FoundBounces[]> {
  const ending = new AbortController();
  const found: FoundBounces[] = [];
  let isCaughtUp = false;
  const look = (): void => {
    if (enough(found, isCaughtUp)) ending.abort();
  };
  const caughtUp = (): void => {
    isCaughtUp = true;
    look();
  };
  for await (const one of log.follow(slot, after, ending.signal, caughtUp)) {
    found.push(one);
    look();
  }
  return found;
}

const eventsOf = (found: readonly FoundBounces[]) => found.flatMap(({ events }) => events);
const idsOf = (found: readonly FoundBounces[]) => eventsOf(found).map((event) => event?.id);

export function bounceLogContract(name: string, make: () => Promise<BounceLogUnderTest>): void {
  describe(`bounce log: ${name}`, () => {
    let it: BounceLogUnderTest;
    beforeAll(async () => {
      it = await make();
    });
    afterAll(() => it.close());

    const put = async (key: ListKey, ...posts: number[]): Promise<void> => {
      for (const post of posts) await it.log.put(key, bounce(1, post));
    };

    test('a slot that holds nothing is caught up at once', async () => {
      const slot = slotOf(newKey());
      expect(await followed(it.log, slot, 0, (_, isCaughtUp) => isCaughtUp)).toEqual([]);
    });

    test('what a slot holds comes in order, whole, and then it is caught up', async () => {
      const key = newKey();
      await put(key, 1, 2, 3);
      const all = await followed(it.log, slotOf(key), 0, (_, isCaughtUp) => isCaughtUp);
      const mine = all.filter((one) => one.key === key);
      expect(eventsOf(mine)).toEqual([1, 2, 3].map((post) => bounce(1, post)));
      const seqs = mine.map(({ seq }) => seq);
      expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
      expect((await it.log.span()).last).toBeGreaterThanOrEqual(seqs.at(-1) ?? 0);
    });

    test('it begins above a sequence, and goes on with what comes later', async () => {
      const key = newKey();
      await put(key, 1, 2);
      const all = await followed(it.log, slotOf(key), 0, (_, isCaughtUp) => isCaughtUp);
      const [first] = all.filter((one) => one.key === key);
      let isPut = false;
      const later = await followed(it.log, slotOf(key), first?.seq ?? 0, (found, isCaughtUp) => {
        if (isCaughtUp && !isPut) {
          isPut = true;
          void put(key, 3);
        }
        return idsOf(found).includes('d1x3');
      });
      expect(idsOf(later.filter((one) => one.key === key))).toEqual(['d1x2', 'd1x3']);
    });

    test('one event is read by its sequence, and none where there is none', async () => {
      const key = newKey();
      await put(key, 1);
      const all = await followed(it.log, slotOf(key), 0, (_, isCaughtUp) => isCaughtUp);
      const { seq = 0 } = all.find((one) => one.key === key) ?? {};
      expect(await it.log.read(seq)).toEqual(bounce(1, 1));
      expect(await it.log.read(seq + 1_000)).toBe(null);
    });

    test('events of a list that are put at once are a few messages, and each is read by its number', async () => {
      const [key, other] = [newKey(), newKey()];
      const posts = Array.from({ length: EVENTS_MAX + 50 }, (_, i) => i + 1);
      await Promise.all([...posts.map((post) => put(key, post)), put(other, 1)]);
      const all = await followed(it.log, slotOf(key), 0, (_, isCaughtUp) => isCaughtUp);
      const mine = all.filter((one) => one.key === key);
      expect(eventsOf(mine)).toHaveLength(posts.length);
      expect(new Set(idsOf(mine)).size).toBe(posts.length);
      expect(mine.length).toBeLessThan(posts.length / 10);
      for (const { seq, events } of mine) {
        expect(events.length).toBeLessThanOrEqual(EVENTS_MAX);
        const last = events.length - 1;
        for (const i of [0, last])
          expect(await it.log.read(eventNumber(seq, i))).toEqual(events[i]);
      }
      const { seq, events } = mine.at(-1) ?? { seq: 0, events: [] };
      expect(await it.log.read(eventNumber(seq, events.length))).toBe(null);
    });

    test('an event put twice at once is one', async () => {
      const key = newKey();
      await put(key, 1, 1);
      const all = await followed(it.log, slotOf(key), 0, (_, isCaughtUp) => isCaughtUp);
      expect(all.filter((one) => one.key === key)).toHaveLength(1);
    });
  });
}
