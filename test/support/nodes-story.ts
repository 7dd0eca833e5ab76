/** Stories of several hosts of one site, each with rows of its own, over one world in memory. */
import { afterEach, expect } from 'vitest';
import { type Host, startHost } from '../../src/host/host.ts';
import type { Membership } from '../../src/host/membership.ts';
import { type FakeHostWorld, fakeHostWorld, joinAs } from './fake/host-world.ts';
import { fakeRows } from './fake/rows.ts';

export type RunningNode = {
  readonly host: Host;
  readonly world: FakeHostWorld;
  readonly membership: Membership;
};

export const running = new Map<string, RunningNode>();
const failures: unknown[] = [];

afterEach(async () => {
  const [first] = running.values();
  const stopped = Promise.all([...running.values()].map(({ host }) => host.stop()));
  let isOver = false;
  void stopped.then(() => {
    isOver = true;
  });
  while (first !== undefined && !isOver) await tick(first.world, 100);
  running.clear();
  expect(failures.splice(0)).toEqual([]);
});

export async function tick(world: FakeHostWorld, ms = 0): Promise<void> {
  await world.clock.advance(ms);
  for (let i = 0; i < 40; i++) await new Promise((resolve) => setImmediate(resolve));
}

export async function pass(world: FakeHostWorld, ms: number): Promise<void> {
  for (let gone = 0; gone < ms; gone += 250) await tick(world, Math.min(250, ms - gone));
}

/** A node of the site that `base` is the world of; it has rows of its own. */
export async function start(name: string, base: FakeHostWorld): Promise<RunningNode> {
  const world = fakeHostWorld(base, fakeRows(), name);
  const membership = await joinAs(world);
  const host = await startHost(world, membership, (error) => failures.push(error));
  const node = { host, world, membership };
  running.set(name, node);
  return node;
}

export const ownersOf = (slot: number): string[] =>
  [...running]
    .filter(([, { host }]) => host.status().slots.some((one) => one.slot === slot))
    .map(([name]) => name);
