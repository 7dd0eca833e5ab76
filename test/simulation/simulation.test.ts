import { availableParallelism } from 'node:os';
import { afterAll, expect, test } from 'vitest';
import { hireCrew } from './crew.ts';
import { FOUND } from './seeds.ts';
import { type Outcome, simulate } from './simulate.ts';

/** Seeds run in CI, in blocks that each say how far they are. */
const SEEDS = 200;
const BLOCK = 25;
const BLOCK_MS_MAX = 600_000;
const LINES = 60;

const blocks = Array.from({ length: SEEDS / BLOCK }, (_, i) => [i * BLOCK + 1, (i + 1) * BLOCK]);

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

const crew = hireCrew(availableParallelism());
afterAll(crew.dismiss);

/** What a person needs to see it again. */
const story = ({ seed, failure, trace }: Outcome): string =>
  `seed ${seed}: ${failure}\n${trace.slice(-LINES).join('\n')}\nagain: npm run simulate -- --seed ${seed} --seeds 1`;

async function failures(seeds: readonly number[]): Promise<string[]> {
  const stories: string[] = [];
  for await (const outcome of crew.outcomes(seeds)) {
    if (outcome.failure !== null) stories.push(story(outcome));
  }
  return stories;
}

test.each(blocks)(
  'nothing is lost, wrong or doubled without a reason: seeds %i to %i',
  { timeout: BLOCK_MS_MAX },
  async (from = 1, to = 1) => {
    const seeds = Array.from({ length: to - from + 1 }, (_, i) => from + i);
    expect((await failures(seeds)).join('\n\n')).toBe('');
  },
);

test('what was found once stays mended', { timeout: BLOCK_MS_MAX }, async () => {
  const seeds = FOUND.map(({ seed }) => seed).filter((seed) => seed > SEEDS);
  expect((await failures(seeds)).join('\n\n')).toBe('');
});

test('the same seed tells the same story', { timeout: BLOCK_MS_MAX }, async () => {
  const [one, other] = [await simulate(7), await simulate(7)];
  expect(other).toEqual(one);
  expect((await simulate(8)).steps).not.toBe(one.steps);
});

test('it is the same story, and in its place, however many are told at once', {
  timeout: BLOCK_MS_MAX,
}, async () => {
  const seeds = [3, 1, 4, 2];
  const [alone, together] = [hireCrew(1), hireCrew(3)];
  const expected = await all(alone.outcomes(seeds));
  expect(expected.map(({ seed }) => seed)).toEqual(seeds);
  expect(await all(together.outcomes(seeds))).toEqual(expected);
  together.dismiss();
});

test('the stories are about something: crashes, take-overs, retries, duplicates that have a reason', {
  timeout: BLOCK_MS_MAX,
}, async () => {
  const sum = { lives: 0, copies: 0, duplicates: 0, records: 0, mails: 0 };
  const seeds = Array.from({ length: 20 }, (_, i) => i + 1);
  for await (const { counts } of crew.outcomes(seeds)) {
    sum.lives += counts.lives - counts.nodes;
    sum.copies += counts.copies;
    sum.duplicates += counts.duplicates;
    sum.records += counts.records;
    sum.mails += counts.mails;
  }
  expect(sum.lives).toBeGreaterThan(10);
  expect(sum.mails).toBeGreaterThan(200);
  expect(sum.records).toBeGreaterThan(1_000);
  expect(sum.copies).toBeGreaterThan(1_000);
  expect(sum.duplicates).toBeGreaterThan(0);
});
