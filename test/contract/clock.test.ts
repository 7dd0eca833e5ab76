import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { serverClock } from '../simulation/bus.ts';
import { createTimeline } from '../simulation/timeline.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { createFakeRandom } from '../support/fake/random.ts';
import { clockContract } from './clock.ts';

clockContract('the system', () => ({ clock: systemClock, pass: (ms) => systemClock.sleep(ms) }));
clockContract('simulated', () => {
  const clock = createFakeClock();
  return { clock, pass: clock.advance };
});
clockContract('of a simulated world', () => {
  const timeline = createTimeline(createFakeRandom(1));
  const clock = serverClock(timeline);
  const pass = async (ms: number): Promise<void> => {
    const until = timeline.now() + ms;
    timeline.after(ms, '', () => {});
    while (timeline.next() <= until) await timeline.step();
  };
  return { clock, pass };
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
