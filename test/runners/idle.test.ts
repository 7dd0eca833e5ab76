/** Idle time: what yields, to what, and for how long at most. */
import { expect, test } from 'vitest';
import { type Backlog, createIdle } from '../../src/runners/idle.ts';
import { createFakeClock } from '../support/fake/clock.ts';

const MAX_AGE_MS = 900_000;

function scene() {
  const clock = createFakeClock();
  const looks = { count: 0 };
  const backlog: { now: Backlog | Error } = { now: { why: null, oldestAt: null } };
  const idle = createIdle({
    clock,
    maxAgeMs: MAX_AGE_MS,
    backlog: async () => {
      looks.count += 1;
      if (backlog.now instanceof Error) throw backlog.now;
      return backlog.now;
    },
  });
  const { signal } = new AbortController();
  /** Whether it has resolved, asked again as the clock goes on. */
  const watch = (waiting: Promise<void>) => {
    const state = { isOver: false };
    void waiting.then(() => {
      state.isOver = true;
    });
    return async (ms: number) => {
      await clock.advance(ms);
      return state.isOver;
    };
  };
  const busy = (why: string, oldestAt: number | null = null) => {
    backlog.now = { why, oldestAt };
  };
  return { clock, idle, backlog, busy, looks, signal, watch };
}

test('with no backlog nobody waits, and it is looked at once a second for all', async () => {
  const { clock, idle, looks, signal } = scene();
  for (let i = 0; i < 1_000; i++) await idle.yields(clock.now(), signal);
  expect(looks.count).toBe(1);
  expect(idle.state()).toBe(null);
});

test('work waits while something more urgent waits, and says for what and since when', async () => {
  const { clock, idle, busy, backlog, signal, watch } = scene();
  busy('7 chunks in outgoing');
  const since = clock.now();
  const after = watch(idle.yields(clock.now(), signal));
  expect(await after(60_000)).toBe(false);
  expect(idle.state()).toEqual({ why: '7 chunks in outgoing', since });
  backlog.now = { why: null, oldestAt: null };
  expect(await after(2_000)).toBe(true);
  expect(idle.state()).toBe(null);
});

test('work older than the maximum age waits for nobody', async () => {
  const { clock, idle, busy, signal, watch } = scene();
  busy('a backlog without end');
  const young = watch(idle.yields(clock.now(), signal));
  await idle.yields(clock.now() - MAX_AGE_MS, signal);
  expect(await young(MAX_AGE_MS - 5_000)).toBe(false);
  expect(await young(10_000)).toBe(true);
});

test('the queue of bounces waits no longer than its oldest mail may', async () => {
  const { clock, idle, busy, signal, watch } = scene();
  busy('a backlog without end', clock.now());
  const after = watch(idle.yieldsForQueue(signal));
  expect(await after(MAX_AGE_MS - 5_000)).toBe(false);
  expect(await after(10_000)).toBe(true);
});

test('once its oldest mail has been taken, the queue of bounces waits again', async () => {
  const { clock, idle, busy, signal, watch } = scene();
  busy('a backlog without end', clock.now() - MAX_AGE_MS);
  await idle.yieldsForQueue(signal);
  busy('a backlog without end', clock.now());
  await clock.advance(2_000);
  const after = watch(idle.yieldsForQueue(signal));
  expect(await after(60_000)).toBe(false);
});

test('a backlog that cannot be looked at holds nobody up, nor does one whose waiter leaves', async () => {
  const { clock, idle, backlog, busy } = scene();
  const leaving = new AbortController();
  backlog.now = new Error('NATS is away');
  await idle.yields(clock.now(), leaving.signal);
  busy('a backlog without end');
  await clock.advance(2_000);
  const waiting = idle.yields(clock.now(), leaving.signal);
  leaving.abort();
  await waiting;
});
