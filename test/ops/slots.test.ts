/** Who has each slot, as any node sees it: from leases and the slots bucket alone. */
import { expect, test } from 'vitest';
import { type ListKey, listKeyOf, slotOf } from '../../src/mail/list-key.ts';
import type { SlotRow } from '../../src/nats/node-rows.ts';
import { type LiveNode, type Members, noOwnerText, watchPlaces } from '../../src/ops/slots.ts';

const KEY: ListKey = listKeyOf(new Uint8Array(26).fill(1));
const SLOT = slotOf(KEY);
const OTHER_SLOT = (SLOT + 1) % 64;

function site() {
  const live = new Map<string, LiveNode>();
  const rows = new Map<number, SlotRow>();
  const listeners = new Set<() => void>();
  let now = 1_000;
  const members: Members = {
    live: () => live,
    ranked: () => [...live.values()].filter((n) => !n.isDraining).map(({ node }) => node),
    table: { get: (slot) => rows.get(slot) ?? null },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const come = (node: string, isDraining = false): void => {
    const roles = ['host'];
    const about = { roles, version: '1', pid: 1, startedAt: 5, isDraining, beat: 1, seenAt: now };
    live.set(node, { node, incarnation: `${node}-1`, ...about });
  };
  const places = watchPlaces({
    members,
    clock: { now: () => now, monotonic: () => now },
    leaseMs: 15_000,
    keys: () => [KEY],
  });
  const tell = (): void => {
    for (const listener of listeners) listener();
  };
  const pass = (ms: number): void => {
    now += ms;
  };
  return { live, rows, come, tell, pass, places };
}

test('a slot is owned by the node that the bucket names, while that one lives', () => {
  const { rows, come, places } = site();
  come('a');
  come('b');
  rows.set(SLOT, { node: 'b', incarnation: 'b-1', at: 7 });
  expect(places.slot(SLOT)).toEqual({
    slot: SLOT,
    owner: 'b',
    since: 7,
    shouldOwn: 'a',
    next: 'a',
    lists: 1,
  });
});

test('an incarnation that is gone owns nothing, although a node of its name lives', () => {
  const { rows, come, places } = site();
  come('a');
  rows.set(SLOT, { node: 'a', incarnation: 'a-0', at: 7 });
  expect(places.slot(SLOT)).toMatchObject({ owner: null, shouldOwn: 'a' });
});

test('a slot whose holder died has had no owner since that was seen, not since it was taken', () => {
  const { live, rows, come, tell, pass, places } = site();
  come('a');
  come('b');
  rows.set(SLOT, { node: 'b', incarnation: 'b-1', at: 7 });
  pass(500);
  live.delete('b');
  tell();
  pass(9_000);
  const place = places.slot(SLOT);
  expect(place).toMatchObject({ owner: null, since: 1_500, shouldOwn: 'a', next: 'a' });
  expect(noOwnerText(place)).toBe(
    `nobody owns slot ${SLOT} since 1970-01-01T00:00:01.500Z; node a should`,
  );
});

test('a slot that was handed over has had no owner since then', () => {
  const { rows, places } = site();
  rows.set(SLOT, { node: null, incarnation: '', at: 42 });
  expect(places.slot(SLOT)).toMatchObject({ owner: null, since: 42, shouldOwn: null });
  expect(places.slot(OTHER_SLOT)).toMatchObject({ owner: null, since: null, lists: 0 });
});

test('a node is shown with what it owns, what it would own next, and how long its lease lasts', () => {
  const { rows, come, pass, places } = site();
  come('b', true);
  come('a');
  for (let slot = 0; slot < 64; slot++) {
    rows.set(slot, { node: slot < 10 ? 'b' : 'a', incarnation: slot < 10 ? 'b-1' : 'a-1', at: 1 });
  }
  pass(4_000);
  expect(places.nodes()).toMatchObject([
    { node: 'a', slots: 54, standby: 10, leaseMsLeft: 11_000, isDraining: false },
    { node: 'b', slots: 10, standby: 0, isDraining: true },
  ]);
});
