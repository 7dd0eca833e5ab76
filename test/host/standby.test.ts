/** A standby reads what is not folded, and then what comes. */
import { expect, test } from 'vitest';
import type { Membership } from '../../src/host/membership.ts';
import { startStandby } from '../../src/host/standby.ts';
import { fakeHostWorld } from '../support/fake/host-world.ts';
import { tick } from '../support/host-story.ts';

test('a slot that never had a list does not make a standby read the others from the start', async () => {
  const world = fakeHostWorld();
  const read: [string, readonly number[], number][] = [];
  const following = Promise.withResolvers<void>();
  Object.assign(world.ledger, {
    end: async () => 10_000,
    scan(slots: readonly number[], after: number) {
      read.push(['scan', slots, after]);
      return (async function* () {})();
    },
    follow(slots: readonly number[], after: number, signal: AbortSignal) {
      read.push(['follow', slots, after]);
      following.resolve();
      return (async function* () {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      })();
    },
  });
  world.rows.commit([
    [['#slot', 2], 9_000],
    [['#slot', 4], 9_400],
  ]);
  const ours = [1, 2, 4];
  const membership = {
    node: 'next',
    ranked: (slot: number) => (ours.includes(slot) ? ['owner', 'next'] : ['owner', 'other']),
    onChange: () => () => undefined,
  } as unknown as Membership;
  const standby = startStandby(world, membership, { state: () => 'idle' });
  await world.clock.advance(1_000);
  await following.promise;
  await standby.stop();
  expect(read).toEqual([
    ['scan', [1], 0],
    ['scan', [2, 4], 9_000],
    ['follow', ours, 10_000],
  ]);
});

test('nodes that come one after the other leave nobody who follows what was left or is owned by now', async () => {
  const world = fakeHostWorld();
  const ended = Promise.withResolvers<void>();
  const following: { slots: readonly number[]; signal: AbortSignal }[] = [];
  Object.assign(world.ledger, {
    async *follow(slots: readonly number[], _after: number, signal: AbortSignal) {
      following.push({ slots, signal });
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      await ended.promise; // NATS is slow to say so.
    },
  });
  const listeners: (() => void)[] = [];
  let ours = [1];
  const membership = {
    node: 'next',
    ranked: (slot: number) => (ours.includes(slot) ? ['owner', 'next'] : ['owner', 'other']),
    onChange: (listener: () => void) => {
      listeners.push(listener);
      return () => undefined;
    },
  } as unknown as Membership;
  let acquiring = 0;
  const state = (slot: number) => (slot === acquiring ? 'acquiring' : 'idle');
  const standby = startStandby(world, membership, { state });
  await tick(world, 1_000);
  for (const slots of [
    [1, 2],
    [2, 3, 4],
  ]) {
    ours = slots;
    for (const changed of listeners) changed();
    await tick(world, 1_000);
  }
  acquiring = 4;
  ended.resolve();
  await tick(world);
  const live = following.filter(({ signal }) => !signal.aborted);
  expect(live.map(({ slots }) => slots)).toEqual([[2, 3]]);
  expect(standby.followed().map(({ slot }) => slot)).toEqual([2, 3]);
  await standby.stop();
  expect(following.every(({ signal }) => signal.aborted)).toBe(true);
});

test('who follows a slot that is being taken over goes on until that is done', async () => {
  const world = fakeHostWorld();
  const following: { slots: readonly number[]; signal: AbortSignal }[] = [];
  Object.assign(world.ledger, {
    async *follow(slots: readonly number[], _after: number, signal: AbortSignal) {
      following.push({ slots, signal });
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  });
  let changed = (): void => {};
  let ours = [1];
  const membership = {
    node: 'next',
    ranked: (slot: number) => (ours.includes(slot) ? ['owner', 'next'] : ['owner', 'other']),
    onChange: (listener: () => void) => {
      changed = listener;
      return () => undefined;
    },
  } as unknown as Membership;
  let now = 'idle';
  const state = (slot: number) => (slot === 1 ? (now as 'idle') : 'idle');
  const standby = startStandby(world, membership, { state });
  await tick(world, 1_000);
  now = 'acquiring';
  ours = [1, 2];
  changed();
  await tick(world, 3_000);
  expect(following.map(({ slots, signal }) => [slots, signal.aborted])).toEqual([[[1], false]]);
  now = 'owned';
  await tick(world, 1_000);
  expect(following.map(({ slots, signal }) => [slots, signal.aborted])).toEqual([
    [[1], true],
    [[2], false],
  ]);
  await standby.stop();
});
