/**
 * `npm run simulate -- --seeds N [--seed S] [--jobs J] [--mutant name] [--json]`: runs simulated worlds, as many at once as there
 * are cores, prints each that fails with its last events, and as the last line how many there were.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { hireCrew } from './crew.ts';
import { MUTANTS } from './mutants.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    jobs: { type: 'string', default: `${availableParallelism()}` },
    mutant: { type: 'string' },
    lines: { type: 'string', default: '60' },
    verbose: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const many = Number(values.seeds);
const first = Number(values.seed);
const jobs = Number(values.jobs);
const isCount = (number: number): boolean => Number.isInteger(number) && number >= 1;
if (!isCount(many) || !isCount(jobs) || !Number.isInteger(first)) {
  process.stderr.write('simulate: --seeds, --seed and --jobs are whole numbers\n');
  process.exit(1);
}
const mutant = MUTANTS.find((name) => name === values.mutant) ?? null;
/** How often a long run says how far it is, in seeds. */
const PROGRESS_EVERY = 100;
const say = (text: string): void => void process.stderr.write(`${text}\n`);
let steps = 0;
let failures = 0;
const crew = hireCrew(Math.min(jobs, many));
const seeds = Array.from({ length: many }, (_, i) => first + i);
for await (const { seed, failure, trace, ...outcome } of crew.outcomes(seeds, mutant)) {
  steps += outcome.steps;
  if (values.verbose) say(JSON.stringify({ seed, steps: outcome.steps, ...outcome.counts }));
  if (failure !== null) {
    failures += 1;
    say(`seed ${seed} failed: ${failure}\n${trace.slice(-Number(values.lines)).join('\n')}`);
    say(`again: npm run simulate -- --seed ${seed} --seeds 1\n`);
  }
  const done = seed - first + 1;
  if (done % PROGRESS_EVERY === 0 && done < many)
    say(`${done} seeds of ${many}, ${failures} failures; goes on with seed ${seed + 1}`);
}
crew.dismiss();
const result = { seeds: many, steps, failures };
const words = `${many} seeds, ${steps} steps, ${failures} failures`;
process.stdout.write(`${values.json ? JSON.stringify(result) : words}\n`);
process.exitCode = failures === 0 ? 0 : 1;
