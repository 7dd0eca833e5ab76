import { expect, test } from 'vitest';
import type { Class } from '../../src/mail/chunk.ts';
import { CLASS_ORDER } from '../../src/mail/class-order.ts';
import {
  BOUND_MAX,
  createHand,
  OVERFLOW_MAX,
  type Place,
  STILL_MS_MAX,
} from '../../src/smtp/hand.ts';
import { createFakeClock } from '../support/fake/clock.ts';

function start(max: number) {
  const clock = createFakeClock();
  const hand = createHand(max, CLASS_ORDER, clock);
  const places: (Place | null)[] = [];
  const take = (isPatient = false, cls: Class = 'post', isBound = false): void => {
    const i = places.push(null) - 1;
    void hand.take(cls, { isPatient, isBound }).then((place) => (places[i] = place));
  };
  return { hand, clock, places, take };
}

test('no more are in hand than it may have, and who waits is served in order', async () => {
  const { hand, clock, places, take } = start(2);
  for (let i = 0; i < 4; i += 1) take();
  await clock.advance(0);
  expect(places).toEqual(['taken', 'taken', null, null]);
  expect([hand.carrying(), hand.waiting()]).toEqual([2, 2]);
  hand.giveBack('post');
  await clock.advance(0);
  expect(places).toEqual(['taken', 'taken', 'taken', null]);
  expect([hand.carrying(), hand.waiting()]).toEqual([2, 1]);
});

test('bulk and retries leave a reserve of places alone, and a post has the next before them', async () => {
  const { hand, clock, places, take } = start(5);
  for (let i = 0; i < 5; i += 1) take(false, i === 0 ? 'retry' : 'bulk');
  await clock.advance(0);
  expect([hand.carrying(), hand.waiting()]).toEqual([4, 1]);
  expect([hand.room('bulk'), hand.room('post')]).toEqual([OVERFLOW_MAX - 1, OVERFLOW_MAX + 1]);
  take();
  take();
  await clock.advance(0);
  expect(places.slice(4)).toEqual([null, 'taken', null]);
  hand.giveBack('bulk');
  await clock.advance(0);
  expect(places.slice(4)).toEqual([null, 'taken', 'taken']);
  hand.giveBack('post');
  await clock.advance(0);
  expect(places.slice(4), 'what is free and not of the reserve is bulk’s').toEqual([
    ...['taken', 'taken', 'taken'],
  ]);
});

test('a post shares the connections with posts and notices, bulk with all that is in hand', async () => {
  const { hand, clock, take } = start(10);
  for (const cls of ['bulk', 'bulk', 'retry', 'post', 'notice'] as const) take(false, cls);
  await clock.advance(0);
  expect([hand.sharing('post'), hand.sharing('bulk')]).toEqual([2, 5]);
});

test('behind a slow route all wait, however long, as long as it moves', async () => {
  const { hand, clock, places, take } = start(1);
  for (let i = 0; i < OVERFLOW_MAX + 3; i += 1) take();
  for (let i = 0; i < 10; i += 1) {
    await clock.advance(STILL_MS_MAX / 2);
    hand.moved();
  }
  expect(places.filter((place) => place !== null)).toEqual(['taken']);
});

test('behind one that stands still only its overflow waits, and who is patient; the others go elsewhere', async () => {
  const { clock, places, take } = start(1);
  for (let i = 0; i < OVERFLOW_MAX + 2; i += 1) take();
  take(true);
  await clock.advance(STILL_MS_MAX - 1);
  expect(places.filter((place) => place !== null)).toEqual(['taken']);
  await clock.advance(1);
  const waits = Array.from({ length: OVERFLOW_MAX }, () => null);
  expect(places).toEqual(['taken', ...waits, 'still', null]);
  take();
  await clock.advance(STILL_MS_MAX);
  expect(places.at(-1), 'and whoever comes after').toBe('still');
});

test('all who wait are told when it closes, and it may be taken again after', async () => {
  const { hand, clock, places, take } = start(1);
  for (let i = 0; i < OVERFLOW_MAX + 2; i += 1) take();
  hand.turnAway();
  await clock.advance(0);
  expect(new Set(places.slice(1))).toEqual(new Set(['closed']));
  hand.giveBack('post');
  take();
  await clock.advance(STILL_MS_MAX);
  expect(places.at(-1)).toBe('taken');
  expect(clock.sleepers(), 'nobody watches where nobody waits').toBe(0);
});

test('the time in which something was in hand is counted once, however much it was', async () => {
  const { hand, clock, take } = start(2);
  take();
  take();
  await clock.advance(100);
  hand.giveBack('post');
  await clock.advance(50);
  hand.giveBack('post');
  await clock.advance(1_000);
  expect(hand.busyMs()).toBe(150);
});

test('of mail that a rule binds a bounded number waits, and takes no room from what is not bound', async () => {
  const { hand, clock, places, take } = start(1);
  for (let i = 0; i < 1 + OVERFLOW_MAX + BOUND_MAX + 3; i += 1) take(false, 'post', true);
  await clock.advance(0);
  expect(places.filter((place) => place === 'full')).toHaveLength(3);
  expect([hand.waiting(), hand.room('post')]).toEqual([OVERFLOW_MAX + BOUND_MAX, 0]);
  take();
  await clock.advance(0);
  expect(places.at(-1), 'who is bound by none waits as ever').toBeNull();
});
