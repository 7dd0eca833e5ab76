/** What inspection answers: who speaks, when, and nothing that is not asked. */
import { expect, test } from 'vitest';
import { type ListKey, listKeyOf, slotOf } from '../../src/mail/list-key.ts';
import { type HostFacts, inspectList, inspectNode, inspectSlot } from '../../src/ops/inspect.ts';

const KEY: ListKey = listKeyOf(new Uint8Array(26).fill(1));
const OTHER: ListKey = listKeyOf(new Uint8Array(26).fill(2));
const HOST: HostFacts = {
  slots: [{ slot: slotOf(KEY), epoch: 12, reached: 34 }],
  awake: 1,
  inHand: 2,
  blocked: [KEY],
  quarantined: [{ key: OTHER, why: 'the chain is broken at 7' }],
  diskFreeBytes: 1e9,
};
const needs = {
  node: 'n1',
  startedAt: 5,
  now: () => 99,
  health: () => ({
    status: 'degraded' as const,
    isReady: true,
    node: 'n1',
    version: '0.1.0',
    uptimeMs: 94,
    roles: ['host'],
    problems: [{ what: 'something', nextStep: 'do something' }],
  }),
  host: () => HOST,
  addressOf: (key: ListKey) => (key === KEY ? 'dev@example.org' : null),
  keys: () => [KEY, OTHER],
};

test('a node names its blocked lists by address, or by key where there is none', () => {
  expect(inspectNode(needs)).toMatchObject({
    node: 'n1',
    asOf: 99,
    blocked: ['dev@example.org'],
    quarantined: [{ list: OTHER, why: 'the chain is broken at 7' }],
    problems: ['something'],
    lists: 2,
    slots: 1,
  });
});

test('a node that owns nothing says so', () => {
  const idle = inspectNode({ ...needs, host: () => null });
  expect(idle).toMatchObject({ slots: 0, awake: 0, blocked: [], diskFreeBytes: null });
});

test('a slot says who owns it, under which epoch, and how far it is folded', () => {
  expect(inspectSlot(slotOf(KEY), needs)).toMatchObject({ owner: 'n1', epoch: 12, seq: 34 });
  const free = (slotOf(KEY) + 1) % 64;
  expect(inspectSlot(free, needs)).toMatchObject({ owner: null, epoch: null });
});

test('a list that is not there, or that nobody runs, is answered in words', () => {
  expect(inspectList('x@example.org', null, null, needs)).toMatchObject({
    node: 'n1',
    error: { code: 'no-such-list', text: 'there is no list x@example.org' },
  });
  const reply = { kind: 'no-owner', text: 'no node runs it' } as const;
  expect(inspectList('dev@example.org', KEY, reply, needs)).toMatchObject({
    error: { code: 'no-owner', text: `slot ${slotOf(KEY)} has no owner now: no node runs it` },
  });
});
