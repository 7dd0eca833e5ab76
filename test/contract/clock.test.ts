import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { createFakeRandom } from '../support/fake/random.ts';
import { clockContract } from './clock.ts';

clockContract('the system', () => ({ clock: systemClock, pass: (ms) => systemClock.sleep(ms) }));
clockContract('simulated', () => {
  const clock = createFakeClock();
  return { clock, pass: clock.advance };
});

test('a simulated sleeper that sleeps again wakes within the same stretch of time', async () => {
  const clock = createFakeClock();
  const woken: number[] = [];
  const work = async (): Promise<void> => {
    for (let i = 0; i < 3; i++) {
      await clock.sleep(10);
      woken.push(clock.monotonic());
    }
  };
  const done = work();
  await clock.advance(35);
  await done;
  expect(woken).toEqual([10, 20, 30]);
  expect([clock.monotonic(), clock.sleepers()]).toEqual([35, 0]);
});

test('a jump of the simulated wall clock wakes nobody and leaves the monotonic time', async () => {
  const clock = createFakeClock(1_000);
  void clock.sleep(10);
  clock.jump(3_600_000);
  expect([clock.now(), clock.monotonic(), clock.sleepers()]).toEqual([3_601_000, 0, 1]);
});

test('the same seed gives the same randomness, another seed another', () => {
  const draw = (seed: number): string => {
    const random = createFakeRandom(seed);
    return `${Buffer.from(random.bytes(32)).toString('hex')} ${random.fraction()}`;
  };
  expect(draw(1)).toBe(draw(1));
  expect(draw(1)).not.toBe(draw(2));
});

test('simulated fractions lie in [0, 1) and are spread evenly', () => {
  const random = createFakeRandom(7);
  const tenths = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const tenth = Math.floor(random.fraction() * 10);
    tenths[tenth] = (tenths[tenth] ?? Number.NaN) + 1;
  }
  for (const count of tenths) expect(Math.abs(count - 1_000)).toBeLessThan(150);
});
