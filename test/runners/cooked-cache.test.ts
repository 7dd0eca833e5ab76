import { expect, test } from 'vitest';
import { createCache } from '../../src/runners/cooked-cache.ts';

const sized = (bytes: number) => async (): Promise<number> => bytes;
const cache = (bytesMax: number) => createCache<number>(bytesMax, (bytes) => bytes);

test('a value is made once, also for those who ask while it is being made', async () => {
  const { get } = cache(100);
  let made = 0;
  const make = async (): Promise<number> => {
    made += 1;
    return 10;
  };
  expect(await Promise.all([get('a', make), get('a', make)])).toEqual([10, 10]);
  await get('a', make);
  expect(made).toBe(1);
});

test('the least recently used goes when there is no room', async () => {
  const { get } = cache(100);
  const made: string[] = [];
  const ask = (name: string): Promise<number> =>
    get(name, async () => {
      made.push(name);
      return 40;
    });
  for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) await ask(name);
  expect(made).toEqual(['a', 'b', 'c', 'b']);
});

test('what is larger than all the room is given, and not kept', async () => {
  const { get } = cache(100);
  expect(await get('a', sized(1_000))).toBe(1_000);
  expect(await get('a', sized(5))).toBe(5);
});

test('a failure is told to all who wait, and not kept', async () => {
  const { get } = cache(100);
  const fail = () => Promise.reject(new Error('no'));
  const asked = [get('a', fail), get('a', fail)];
  for (const outcome of await Promise.allSettled(asked)) expect(outcome.status).toBe('rejected');
  expect(await get('a', sized(5))).toBe(5);
});
