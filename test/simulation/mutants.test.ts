import { expect, test } from 'vitest';
import { MUTANTS } from './mutants.ts';
import { simulate } from './simulate.ts';

const SEEDS_MAX = 200;
const MS_MAX = 900_000;

test.each(MUTANTS)('a program that is wrong is caught: %s', { timeout: MS_MAX }, async (mutant) => {
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    const { failure } = await simulate(seed, mutant);
    if (failure === null) continue;
    console.log(`${mutant}: seed ${seed}: ${failure.slice(0, 160)}`);
    return;
  }
  expect.unreachable(`${SEEDS_MAX} seeds do not catch it`);
});
