/** A standby reads what is not folded, and then what comes. */
import { expect, test } from 'vitest';
import type { Membership } from '../../src/host/membership.ts';
import { startStandby } from '../../src/host/standby.ts';
import { fakeHostWorld } from '../support/fake/host-world.ts';

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
