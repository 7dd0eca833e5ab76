/** What inspection answers: who speaks, when, and nothing that is not asked. */
import { expect, test } from 'vitest';
import { type ListKey, listKeyOf, slotOf } from '../../src/mail/list-key.ts';
import {
  type HostFacts,
  inspectList,
  inspectNode,
  inspectSlot,
  slotHere,
} from '../../src/ops/inspect.ts';
import type { SlotPlace } from '../../src/ops/slots.ts';

const KEY: ListKey = listKeyOf(new Uint8Array(26).fill(1));
const OTHER: ListKey = listKeyOf(new Uint8Array(26).fill(2));
const HOST: HostFacts = {
  slots: [{ slot: slotOf(KEY), epoch: 12, reached: 34, lag: 2 }],
  standby: [3, 4],
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
  outgoing: () => null,
  addressOf: (key: ListKey) => (key === KEY ? 'dev@example.org' : null),
  lease: { msLeft: () => 9_000, isDraining: () => false },
  keys: () => [KEY, OTHER],
};
const PLACE: SlotPlace = {
  slot: slotOf(KEY),
  owner: 'n1',
  since: 7,
  shouldOwn: 'n1',
  next: 'n2',
  lists: 1,
};

test('a node names its blocked lists by address, or by key where there is none', () => {
  expect(inspectNode(needs)).toMatchObject({
    node: 'n1',
    asOf: 99,
    blocked: ['dev@example.org'],
    quarantined: [{ list: OTHER, why: 'the chain is broken at 7' }],
    problems: ['something. do something'],
    lists: 2,
    slots: 1,
    standby: 2,
    leaseMsLeft: 9_000,
    lag: 2,
  });
});

test('a node that owns nothing says so', () => {
  const idle = inspectNode({ ...needs, host: () => null });
  expect(idle).toMatchObject({ slots: 0, awake: 0, blocked: [], diskFreeBytes: null });
});

test('a slot says who owns it, under which epoch, and how far it is folded', () => {
  const here = slotHere(slotOf(KEY), needs);
  expect(inspectSlot(PLACE, here, needs)).toMatchObject({
    owner: 'n1',
    epoch: 12,
    seq: 34,
    leaseMsLeft: 9_000,
    lag: 2,
    next: 'n2',
    problem: null,
  });
});

test('a slot whose owner does not serve it, is silent, or is gone, is told plainly', () => {
  const other = slotHere((slotOf(KEY) + 1) % 64, needs);
  expect(other).toMatchObject({ epoch: null, leaseMsLeft: null });
  expect(inspectSlot(PLACE, other, needs).problem).toBe('node n1 is still folding its ledger');
  expect(inspectSlot(PLACE, null, needs).problem).toBe('node n1 has it and does not answer');
  const free = { ...PLACE, owner: null, since: 0, shouldOwn: 'n2' };
  expect(inspectSlot(free, null, needs)).toMatchObject({
    owner: null,
    epoch: null,
    problem: `nobody owns slot ${PLACE.slot} since 1970-01-01T00:00:00.000Z; node n2 should`,
  });
});

test('a list that is not there, or that nobody runs, is answered in words', () => {
  expect(inspectList('x@example.org', null, null, null, needs)).toMatchObject({
    node: 'n1',
    error: { code: 'no-such-list', text: 'there is no list x@example.org' },
  });
  const reply = { kind: 'no-owner', text: 'no node runs it' } as const;
  const free = { ...PLACE, owner: null, since: null, shouldOwn: null };
  const text = (place: SlotPlace) =>
    JSON.stringify(inspectList('dev@example.org', KEY, reply, place, needs));
  expect(text(free)).toContain(
    `nobody owns slot ${PLACE.slot} yet; no node has the role host: no node runs it`,
  );
  expect(text(PLACE)).toContain(`node n1 has slot ${PLACE.slot} and does not answer for it yet`);
});
