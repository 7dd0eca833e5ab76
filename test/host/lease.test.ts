/** A lease that cannot be had: its node is told to end meanwhile. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { startLease } from '../../src/host/lease.ts';
import { joinSite } from '../../src/host/membership.ts';
import { fakeHostWorld } from '../support/fake/host-world.ts';
import { tick } from '../support/host-story.ts';

const ABOUT = {
  node: 'n1',
  incarnation: 'i1',
  roles: ['host'],
  version: 'test',
  pid: 1,
  startedAt: 0,
};
const HOUR_MS = 3_600_000;

test('a node that is told to end while nobody stores its lease asks no more', async () => {
  const { clock, nodes, slots, log } = fakeHostWorld();
  let tries = 0;
  const kv = {
    ...nodes,
    create: async () => {
      tries += 1;
      throw new MailError(451, '4.3.0', 'Mail system is not ready, try again later');
    },
  };
  const ending = new AbortController();
  const joining = joinSite({ nodes: kv, slots, clock, log, ending: ending.signal }, ABOUT);
  const refused = expect(joining).rejects.toThrow(/abort/i);
  await clock.advance(10_000);
  expect(tries).toBeGreaterThan(1);
  ending.abort();
  await refused;
  const before = tries;
  await clock.advance(HOUR_MS);
  expect(tries).toBe(before);
});

test('a lease that is held is renewed, and no more once its node ends', async () => {
  const world = fakeHostWorld();
  const { clock, nodes, log } = world;
  let renewals = 0;
  const kv = {
    ...nodes,
    update: (...args: Parameters<typeof nodes.update>) => {
      renewals += 1;
      return nodes.update(...args);
    },
  };
  const ending = new AbortController();
  const events = { held: () => undefined, over: () => undefined };
  const lease = await startLease({ kv, clock, log }, ABOUT, events, ending.signal);
  await clock.advance(60_000);
  expect(renewals).toBeGreaterThan(5);
  expect(lease.msLeft()).toBeGreaterThan(0);
  ending.abort();
  await tick(world);
  const before = renewals;
  await clock.advance(HOUR_MS);
  expect(renewals).toBe(before);
});
