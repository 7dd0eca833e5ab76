/**
 * `npm run simulate -- --seeds N [--seed S] [--mutant name] [--json]`: runs simulated worlds, prints each that fails with its last
 * events, and as the last line how many there were.
 */
import { parseArgs } from 'node:util';
import { MUTANTS } from './mutants.ts';
import { simulate } from './simulate.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    mutant: { type: 'string' },
    lines: { type: 'string', default: '60' },
    verbose: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const many = Number(values.seeds);
const first = Number(values.seed);
if (!Number.isInteger(many) || many < 1 || !Number.isInteger(first)) {
  process.stderr.write('simulate: --seeds and --seed are whole numbers\n');
  process.exit(1);
}
const mutant = MUTANTS.find((name) => name === values.mutant) ?? null;
let steps = 0;
let failures = 0;
for (let seed = first; seed < first + many; seed++) {
  const startedAt = performance.now();
  const outcome = await simulate(seed, mutant);
  steps += outcome.steps;
  if (values.verbose) {
    const ms = Math.round(performance.now() - startedAt);
    process.stderr.write(
      `${JSON.stringify({ seed, ms, steps: outcome.steps, ...outcome.counts })}\n`,
    );
  }
  if (outcome.failure === null) continue;
  failures += 1;
  const trace = outcome.trace.slice(-Number(values.lines)).join('\n');
  process.stderr.write(`seed ${seed} failed: ${outcome.failure}\n${trace}\n`);
  process.stderr.write(`again: npm run simulate -- --seed ${seed} --seeds 1\n\n`);
}
const result = { seeds: many, steps, failures };
const words = `${many} seeds, ${steps} steps, ${failures} failures`;
process.stdout.write(`${values.json ? JSON.stringify(result) : words}\n`);
process.exitCode = failures === 0 ? 0 : 1;
