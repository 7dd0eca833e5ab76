import { afterEach, expect, test } from 'vitest';
import type { Address } from '../../src/mail/address.ts';
import { decodeBounceEvents, encodeBounceEvent } from '../../src/mail/bounce-event.ts';
import type { Chunk } from '../../src/mail/chunk.ts';
import { RATE_REFUSALS_MAX, REFUSALS_CHARS_MAX } from '../../src/runners/outgoing-send.ts';
import { LIFE_MS } from '../../src/runners/retry-schedule.ts';
import { parseReply } from '../../src/smtp/reply.ts';
import { chunkOf } from '../support/outgoing-story.ts';
import {
  type OutgoingWorld,
  recipients,
  startOutgoing,
  stopPools,
} from '../support/outgoing-world.ts';

afterEach(stopPools);

const MINUTE = 60_000;
const GREYLISTED = parseReply('450 4.2.0 Greylisted');
const FULL = parseReply('452 4.2.2 Mailbox full');
const TOO_FAST = parseReply('451 4.7.28 unusual rate');
const TOO_MANY = parseReply('452 4.5.3 too many recipients');

/** A chunk with these recipients, numbered from 1. */
function chunkTo(it: OutgoingWorld, to: readonly string[], change: Partial<Chunk> = {}): Chunk {
  const numbered = to.map((address, index) => [index + 1, address as Address] as const);
  return chunkOf(0, { to: numbered, ...change }, it.clock.now());
}

/** The next try, taken out of LATER, its time come. */
async function nextTry(it: OutgoingWorld): Promise<Chunk> {
  const [waiting, ...others] = it.later.values();
  if (waiting === undefined) throw new Error('nothing waits');
  expect(others).toEqual([]);
  it.later.clear();
  await it.clock.advance(Math.max(0, waiting.at - it.clock.now()));
  return waiting.chunk;
}

test('each recipient is tried again when its own time has come, not when another’s has', async () => {
  const it = startOutgoing();
  const [grey, full, fine] = ['a@grey.example', 'b@full.example', 'c@fine.example'];
  let isGrey = true;
  it.smtp.rule = (to) => (to === grey && isGrey ? GREYLISTED : to === full ? FULL : null);
  const startedAt = it.clock.now();
  const chunk = chunkTo(it, [grey, full, fine]);
  await it.dispose(chunk);
  expect(recipients(it.smtp)).toEqual([fine]);
  isGrey = false;
  const second = await nextTry(it);
  expect(second.to.map(([, address]) => address)).toEqual([grey, full]);
  expect((it.clock.now() - startedAt) / MINUTE).toBeCloseTo(6, 0);
  const asked: string[] = [];
  it.smtp.rule = (to) => {
    asked.push(to);
    return null;
  };
  await it.dispose(second);
  expect(asked).toEqual([grey]);
  const third = await nextTry(it);
  expect(third.to.map(([, address]) => address)).toEqual([full]);
  expect((it.clock.now() - startedAt) / MINUTE).toBeGreaterThan(50);
  await it.dispose(third);
  expect(asked).toEqual([grey, full]);
  expect(it.later.size).toBe(0);
});

test('the result says why somebody waits, and until when', async () => {
  const it = startOutgoing();
  it.smtp.rule = () => GREYLISTED;
  const chunk = chunkTo(it, ['a@grey.example']);
  await it.dispose(chunk);
  const [waiting] = it.later.values();
  expect(it.result(chunk)?.deferred).toEqual([
    { number: 1, ...GREYLISTED, route: 'mta', at: it.clock.now(), next: waiting?.at },
  ]);
});

test('the last try is at the end of its life, and then it is given up on, with a bounce', async () => {
  const it = startOutgoing();
  it.smtp.rule = () => FULL;
  const startedAt = it.clock.now();
  let chunk = chunkTo(it, ['a@full.example']);
  await it.dispose(chunk);
  let tries = 1;
  for (; it.later.size > 0; tries += 1) {
    if (tries > 200) throw new Error('it never ends');
    chunk = await nextTry(it);
    await it.dispose(chunk);
  }
  expect(it.clock.now() - startedAt).toBe(LIFE_MS);
  expect(it.result(chunk)?.refused).toMatchObject([{ number: 1, code: 554, status: '5.4.7' }]);
  const diagnostic = `554 5.4.7 given up after ${tries} tries: 452 4.2.2 Mailbox full`;
  expect(it.bounces).toMatchObject([
    {
      ...{ member: 1, post: 7, status: '5.4.7', reason: 'mailbox-full', verified: true },
      ...{ route: 'mta', diagnostic },
    },
  ]);
});

test('a 5xx is a bounce event with the whole reply, before the result is told', async () => {
  const it = startOutgoing();
  const lines = Array.from({ length: 8 }, (_, n) => `550-5.1.1 line ${n} ${'x'.repeat(490)}`);
  const gone = parseReply(`${lines.join('\n')}\n550 5.1.1 user unknown`);
  it.smtp.rule = (to) => (to === 'b@x.example' ? gone : null);
  const chunk = chunkTo(it, ['a@x.example', 'b@x.example']);
  it.failing.set('bounce', new Error('away'));
  await expect(it.dispose(chunk)).rejects.toThrow('away');
  expect(it.told).toEqual([]);
  it.failing.clear();
  await it.dispose(chunk);
  const [event, ...others] = it.bounces;
  expect(others).toEqual([]);
  if (event === undefined) throw new Error('no event');
  expect(decodeBounceEvents(encodeBounceEvent(event))[0]).toMatchObject({
    ...{ id: 's7.0.0.2', member: 2, post: 7, address: 'b@x.example', permanent: true },
    ...{ status: '5.1.1', code: 550, reason: 'user-unknown', route: 'mta', source: 'smtp' },
    diagnostic: `550 5.1.1 ${gone.reply}`,
  });
});

test('thousands of long refusals are kept whole as far as a result can tell them, and then cut', async () => {
  const it = startOutgoing();
  it.smtp.rule = () => ({ code: 550, status: '5.7.1', reply: 'x'.repeat(4_096) });
  const chunk = chunkOf(150);
  await it.dispose(chunk);
  const lengths = it.result(chunk)?.refused.map(({ reply }) => reply.length) ?? [];
  const whole = REFUSALS_CHARS_MAX / 4_096;
  expect(lengths).toEqual([...Array(whole).fill(4_096), ...Array(150 - whole).fill(300)]);
});

test('a notice that is refused is nobody’s bounce', async () => {
  const it = startOutgoing();
  it.smtp.rule = () => parseReply('550 5.1.1 no');
  const chunk = chunkTo(it, ['a@x.example']);
  await it.dispose({ ...chunk, recipe: { ...chunk.recipe, kind: 'notice' } });
  expect(it.bounces).toEqual([]);
});

test('an MTA that takes fewer recipients an envelope is learned from, and nobody waits for it', async () => {
  const it = startOutgoing({ connectionsMax: 1, recipientsMax: 50 });
  const sizes: number[] = [];
  it.smtp.rule = (to, { recipients: all }) => {
    if (to === all[0]) sizes.push(all.length);
    return all.indexOf(to) >= 10 ? TOO_MANY : null;
  };
  const to = Array.from({ length: 45 }, (_, n) => `m${n}@x.example`);
  const chunk = chunkTo(it, to);
  const shared = { ...chunk, recipe: { ...chunk.recipe, mode: 'shared' as const } };
  await it.dispose(shared);
  expect(sizes).toEqual([45, 10, 10, 10, 5]);
  expect(new Set(recipients(it.smtp))).toEqual(new Set(to));
  expect(recipients(it.smtp)).toHaveLength(45);
  expect(it.result(shared)).toMatchObject({ deferred: [], refused: [] });
  await it.dispose({ ...shared, post: '8' });
  expect(sizes.slice(5), 'the next post begins with what was learned').toEqual([10, 10, 10, 10, 5]);
});

test('a single recipient that is too many waits like one who is refused', async () => {
  const it = startOutgoing();
  it.smtp.rule = () => parseReply('552 too many recipients');
  const chunk = chunkTo(it, ['a@x.example']);
  await it.dispose(chunk);
  expect(it.result(chunk)?.deferred).toMatchObject([{ number: 1, code: 552 }]);
  expect(it.bounces).toEqual([]);
});

test('a provider that refuses for the rate is left alone, and the others get theirs', async () => {
  const it = startOutgoing();
  let asked = 0;
  it.smtp.rule = (to) => {
    if (!to.endsWith('@slow.example')) return null;
    asked += 1;
    return TOO_FAST;
  };
  const slow = Array.from({ length: 300 }, (_, n) => `m${n}@slow.example`);
  const fine = Array.from({ length: 30 }, (_, n) => `m${n}@fine.example`);
  const chunk = chunkTo(it, [...slow, ...fine]);
  await it.dispose(chunk);
  expect(new Set(recipients(it.smtp))).toEqual(new Set(fine));
  expect(asked).toBeLessThan(RATE_REFUSALS_MAX + it.pool.share('post'));
  expect(it.result(chunk)?.deferred).toHaveLength(slow.length);
  expect((await nextTry(it)).to).toHaveLength(slow.length);
});

test('a greylisting provider is asked for each recipient: each first try starts a clock', async () => {
  const it = startOutgoing();
  const asked = new Set<string>();
  it.smtp.rule = (to) => {
    asked.add(to);
    return GREYLISTED;
  };
  const to = Array.from({ length: 100 }, (_, n) => `m${n}@grey.example`);
  await it.dispose(chunkTo(it, to));
  expect(asked.size).toBe(100);
});

test('a later try has one envelope a provider, so that one’s trouble is not the others’', async () => {
  const it = startOutgoing();
  const to = ['a@one.example', 'b@two.example', 'c@one.example', 'd@three.example'];
  const chunk = chunkTo(it, to, { try: 1, class: 'retry' });
  await it.dispose({ ...chunk, recipe: { ...chunk.recipe, mode: 'shared' } });
  expect(it.smtp.mails.map((mail) => [...mail.recipients].sort())).toEqual(
    expect.arrayContaining([
      ['a@one.example', 'c@one.example'],
      ['b@two.example'],
      ['d@three.example'],
    ]),
  );
  expect(it.smtp.mails).toHaveLength(3);
});

test('O5: of a paused post nothing is sent; what waits goes on when it is resumed, with its whole life', async () => {
  const it = startOutgoing();
  it.order.now = 'pause';
  const chunk = chunkTo(it, ['a@x.example', 'b@x.example']);
  await it.dispose(chunk);
  expect(recipients(it.smtp)).toEqual([]);
  const waiting = await nextTry(it);
  expect(waiting).toMatchObject({ try: 1, class: chunk.class, to: chunk.to });
  await it.clock.advance(LIFE_MS);
  it.order.now = 'go';
  it.smtp.rule = (to) => (to === 'b@x.example' ? FULL : null);
  await it.dispose(waiting);
  expect(recipients(it.smtp)).toEqual(['a@x.example']);
  const next = await nextTry(it);
  expect(next.pausedAt).toBeUndefined();
  expect(next.to.map(([number]) => number)).toEqual([2]);
});

test('O5: a resume that comes just when a chunk is put to wait is not missed', async () => {
  const it = startOutgoing();
  it.order.now = 'pause';
  const put = it.later.set.bind(it.later);
  it.later.set = (id, waiting) => {
    it.order.now = 'go';
    return put(id, waiting);
  };
  await it.dispose(chunkTo(it, ['a@x.example']));
  const [waiting] = it.later.values();
  expect(waiting?.at).toBeLessThanOrEqual(it.clock.now());
});

test('O5: a post is cancelled in the middle: nobody more gets it, and each of them is told of', async () => {
  const it = startOutgoing({ connectionsMax: 1 });
  it.smtp.rule = (to) => {
    if (to === 'm3@x.example') it.order.now = 'cancel';
    return to === 'm1@x.example' ? GREYLISTED : null;
  };
  it.smtp.pace = () => it.clock.advance(1_500);
  const chunk = chunkTo(
    it,
    Array.from({ length: 50 }, (_, n) => `m${n}@x.example`),
  );
  await it.dispose(chunk);
  const got = recipients(it.smtp).length;
  expect(got).toBeGreaterThanOrEqual(3);
  expect(got).toBeLessThan(8);
  expect(it.later.size).toBe(0);
  const result = it.result(chunk);
  const cancelled = (result?.cancelled ?? []).reduce((sum, [from, to]) => sum + to - from + 1, 0);
  expect(got + cancelled).toBe(50);
  expect(result?.deferred).toEqual([]);
});

test('whose connection was lost when the route died waits for the route, not as one who was refused', async () => {
  const it = startOutgoing({ connectionsMax: 1 });
  it.smtp.rule = (to) => {
    if (to !== 'b@x.example') return to === 'a@x.example' ? FULL : null;
    it.smtp.isDown = true;
    return 'lost after';
  };
  const startedAt = it.clock.now();
  await it.dispose(chunkTo(it, ['a@x.example', 'b@x.example', 'c@x.example']));
  it.smtp.isDown = false;
  it.smtp.rule = () => null;
  const next = await nextTry(it);
  expect(it.clock.now() - startedAt).toBeLessThan(6_000);
  await it.dispose(next);
  expect(recipients(it.smtp)).toEqual(['b@x.example', 'b@x.example', 'c@x.example']);
  expect((await nextTry(it)).to.map(([, address]) => address)).toEqual(['a@x.example']);
});
