import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  CLOSED,
  FAILURES_MAX,
  type Observed,
  OPEN_MS_MAX,
  observe,
  ROUTE_MODES,
  type RouteState,
  WARMING_QUIET_MS,
  WARMING_STEP_MS,
  WARMTHS,
  waitMsOf,
  warmthOf,
} from '../../actors/route.ts';

const DOWN: Observed = { type: 'failed', isDown: true };
const FAILED: Observed = { type: 'failed', isDown: false };
const EVENTS: Readonly<Record<string, Observed>> = {
  down: DOWN,
  failed: FAILED,
  worked: { type: 'worked' },
  due: { type: 'due' },
  drain: { type: 'drain' },
  resume: { type: 'resume' },
};
const event = fc.constantFrom(...Object.values(EVENTS));

const after = (...events: readonly Observed[]): RouteState =>
  events.reduce((state, one) => observe(state, one).state, CLOSED);

const due: Observed = { type: 'due' };
const worked: Observed = { type: 'worked' };

test('the table of what each state takes', () => {
  const table = ROUTE_MODES.map((mode) => {
    const state: RouteState = { ...CLOSED, mode };
    const row = Object.entries(EVENTS).map(([name, one]) => {
      const { state: next, effects } = observe(state, one);
      const probes = effects.length > 0 ? ' probe' : '';
      const isTaken = JSON.stringify(next) !== JSON.stringify(state) || effects.length > 0;
      return `${name}: ${isTaken ? next.mode + probes : '-'}`;
    });
    return `${mode}  ${row.join(', ')}`;
  });
  expect(table).toEqual([
    'closed  down: open, failed: closed, worked: -, due: -, drain: draining, resume: -',
    'open  down: -, failed: -, worked: -, due: half-open probe, drain: draining, resume: -',
    'half-open  down: open, failed: open, worked: warming, due: half-open probe, drain: draining, resume: -',
    'warming  down: open, failed: open, worked: warming, due: warming, drain: draining, resume: -',
    'draining  down: -, failed: -, worked: -, due: -, drain: -, resume: half-open probe',
  ]);
});

test('failures open it only where no success is between them', () => {
  const many = Array.from({ length: FAILURES_MAX - 1 }, () => FAILED);
  expect(after(...many).mode).toBe('closed');
  expect(after(...many, worked, ...many).mode).toBe('closed');
  expect(after(...many, FAILED).mode).toBe('open');
});

test('M3: after it was open it carries more at each step that it worked in, and at last all', () => {
  let state = after(DOWN, due, worked);
  const warmths: number[] = [];
  while (state.mode === 'warming') {
    warmths.push(warmthOf(state));
    expect(waitMsOf(state), 'nothing showed yet that it works').toBe(WARMING_QUIET_MS);
    state = observe(state, worked).state;
    expect(waitMsOf(state)).toBe(WARMING_STEP_MS);
    state = observe(state, due).state;
  }
  expect(warmths).toEqual(WARMTHS);
  expect(state).toEqual(CLOSED);
});

test('M3: one that fails while it warms is open again at once, and for longer', () => {
  for (const seen of [[], [worked], [worked, due], [worked, due, worked, due]]) {
    const state = after(DOWN, due, worked, ...seen, FAILED);
    expect([state.mode, state.openings, waitMsOf(state)]).toEqual(['open', 2, 2_000]);
  }
});

test('it stays open longer each time it fails again, up to a bound, and as briefly as ever once it was closed', () => {
  let state = after(DOWN);
  const waits: (number | null)[] = [];
  for (let i = 0; i < 6; i += 1) {
    waits.push(waitMsOf(state));
    state = observe(observe(state, due).state, DOWN).state;
  }
  expect(waits).toEqual([1_000, 2_000, 4_000, 5_000, 5_000, 5_000]);
  const back = [due, worked, due, due, due, DOWN];
  const again = back.reduce((one, next) => observe(one, next).state, state);
  expect(waitMsOf(again)).toBe(1_000);
});

test('M1: whatever is observed, only a closed or a warming route carries anything', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      const state = after(...events);
      expect(warmthOf(state) > 0).toBe(state.mode === 'closed' || state.mode === 'warming');
    }),
  );
});

test('whatever is observed, it is on its way back to closed, unless it is drained', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      let state = after(...events);
      if (state.mode === 'draining') state = observe(state, { type: 'resume' }).state;
      // Time passes, and the MTA is well.
      for (let i = 0; i < 8 && state.mode !== 'closed'; i += 1) {
        expect(waitMsOf(state)).toBeGreaterThan(0);
        if (state.mode === 'open') expect(waitMsOf(state)).toBeLessThanOrEqual(OPEN_MS_MAX);
        state = observe(state, state.mode === 'half-open' ? worked : due).state;
      }
      expect(state.mode).toBe('closed');
    }),
  );
});

test('M2: no state but half-open asks for a probe, and it does so once for each wait', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      let state = CLOSED;
      for (const one of events) {
        const { state: next, effects } = observe(state, one);
        expect(effects.length).toBeLessThanOrEqual(1);
        if (effects.length > 0) expect(next.mode).toBe('half-open');
        state = next;
      }
    }),
  );
});
