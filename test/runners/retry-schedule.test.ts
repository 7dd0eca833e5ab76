import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  dueAt,
  GIVE_UP_MS,
  REFUSED_DELAY_MS_MAX,
  REFUSED_DELAY_MS_MIN,
  ROUTE_DELAY_MS_MAX,
  ROUTE_DELAY_MS_MIN,
} from '../../src/runners/retry-schedule.ts';

const LIMITS = {
  refused: [REFUSED_DELAY_MS_MIN, REFUSED_DELAY_MS_MAX],
  route: [ROUTE_DELAY_MS_MIN, ROUTE_DELAY_MS_MAX],
} as const;

test('the wait is as long as the mail is old, within its limits, give or take a tenth', () => {
  const cause = fc.constantFrom('refused', 'route');
  fc.assert(
    fc.property(fc.nat(2e12), fc.nat(2 * GIVE_UP_MS), cause, fc.string(), (now, age, why, name) => {
      const [min, max] = LIMITS[why];
      const wanted = Math.min(Math.max(age, min), max);
      const delay = dueAt(now, age, why, name) - now;
      expect(delay).toBeGreaterThanOrEqual(Math.floor(wanted * 0.9));
      expect(delay).toBeLessThanOrEqual(Math.ceil(wanted * 1.1));
      expect(dueAt(now, age, why, name)).toBe(now + delay);
    }),
  );
});

test('however old the mail is, nobody waits longer than the operator says', () => {
  fc.assert(
    fc.property(fc.nat(GIVE_UP_MS), fc.integer({ min: 1_000, max: 60_000 }), (age, most) => {
      expect(dueAt(0, age, 'refused', 'name', most)).toBeLessThanOrEqual(Math.ceil(most * 1.1));
    }),
  );
});

test('a recipient that stays busy is tried about a hundred times in five days, ever more rarely', () => {
  const tries: number[] = [0];
  for (let now = 0; now < GIVE_UP_MS; ) {
    now = dueAt(now, now, 'refused', `chunk.${tries.length}`);
    tries.push(now);
  }
  expect(tries.length).toBeGreaterThan(90);
  expect(tries.length).toBeLessThan(130);
  expect((tries[1] ?? 0) / 60_000).toBeCloseTo(5, 0);
});

test('chunks of one post do not come back all at once', () => {
  const times = Array.from({ length: 100 }, (_, n) => dueAt(0, 0, 'refused', `key.7.${n}.1`));
  expect(new Set(times).size).toBeGreaterThan(90);
});
