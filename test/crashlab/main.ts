/**
 * crashlab: three nats-servers and three nodes under a load of posts and bounces, while everything goes wrong
 * that a seed can think of; then the books are settled offline.
 *
 *   node test/crashlab/main.ts --kills N [--seed S] [--json] [--keep]
 *
 * The last line with --json: {"kills","pauses","partitions","powerCuts","accepted","deliveries",
 * "lost","wrong","duplicates","unexplained","bounces","bounceLost","bounceDouble","failoverP50S",
 * "failoverP99S"}. Exits with 1 when anything was lost, wrong, unexplained or counted twice. `--keep` leaves the directory with logs and disks.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { canBottle, isBottled, runBottled } from './bottle.ts';
import { runLab } from './lab.ts';
import { summaryOf } from './summary.ts';

const DIRECTORY = 'CRASHLAB_DIRECTORY';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    json: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});
const [kills, seed] = [Number(values.kills), Number(values.seed)];
if (!Number.isInteger(kills) || kills < 1 || !Number.isInteger(seed)) {
  throw new Error('--kills and --seed must be whole numbers');
}

/** The lab itself; gives the exit code. */
async function run(directory: string): Promise<number> {
  const books = await runLab({
    kills,
    seed,
    directory,
    say: (text) => process.stderr.write(`${text}\n`),
  });
  const { figures, words } = summaryOf(books);
  process.stderr.write(`${words}; seed ${seed}\n`);
  if (values.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  const { lost, wrong, unexplained, bounceLost, bounceDouble } = figures;
  return lost + wrong + unexplained + bounceLost + bounceDouble === 0 ? 0 : 1;
}

/** Makes the directory, and goes into the bottle where there is one. */
async function begin(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'crashlab-'));
  process.env[DIRECTORY] = directory;
  try {
    if (!canBottle()) return await run(directory);
    return await runBottled([import.meta.filename, ...process.argv.slice(2), '--seed', `${seed}`]);
  } finally {
    if (values.keep) process.stderr.write(`kept: ${directory}\n`);
    else rmSync(directory, { recursive: true, force: true });
  }
}

const code = isBottled() ? await run(process.env[DIRECTORY] ?? '') : await begin();
// What the lab left running ends with it.
process.exit(code);
