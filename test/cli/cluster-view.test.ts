/** What `troupe cluster up` shows of a cluster. */
import { expect, test } from 'vitest';
import { type ClusterState, newsOf, viewOf } from '../../src/cli/cluster-view.ts';

const node = { roles: ['host'], version: '1', startedAt: 1, isDraining: false, standby: 3 };
const STATE: ClusterState = {
  servers: [{ name: 'nats-1', pid: 11, port: 4222 }],
  nodes: [
    { name: 'n1', pid: 21, smtpPort: 2525 },
    { name: 'n2', pid: null, smtpPort: null },
  ],
  live: [{ ...node, node: 'n1', pid: 21, leaseMsLeft: 9_000, slots: 63 }],
  slots: Array.from({ length: 64 }, (_, slot) => ({
    slot,
    owner: slot === 40 ? null : 'n1',
    since: 1,
    shouldOwn: 'n1',
    next: null,
    lists: 0,
    epoch: 1,
  })),
};

test('servers, nodes and the owner of each slot are shown', () => {
  expect(viewOf(STATE)).toEqual([
    'SERVER  PID  PORT  STATE',
    'nats-1   11  4222  runs',
    '',
    'NODE  PID  SMTP  LEASE  SLOTS  NEXT FOR  STATE',
    'n1     21  2525     9s     63         3  runs',
    'n2      -     -      -      0         0  gone',
    '',
    `slots  0  ${'1'.repeat(32)}`,
    `slots 32  ${'1'.repeat(8)}·${'1'.repeat(23)}`,
    '1 slots have no owner.',
  ]);
  expect(viewOf({ ...STATE, slots: null }).at(-1)).toBe('No node answers.');
});

test('a lease that runs down is no news; a slot, a process or a drain is', () => {
  const live = STATE.live?.map((one) => ({ ...one, leaseMsLeft: 1_000 })) ?? null;
  expect(newsOf({ ...STATE, live })).toBe(newsOf(STATE));
  expect(newsOf({ ...STATE, slots: [] })).not.toBe(newsOf(STATE));
  expect(newsOf({ ...STATE, servers: [] })).not.toBe(newsOf(STATE));
  const draining = live?.map((one) => ({ ...one, isDraining: true })) ?? null;
  expect(newsOf({ ...STATE, live: draining })).not.toBe(newsOf(STATE));
});
