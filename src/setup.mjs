/**
 * Set-up, then the script that was asked for:
 *
 *   node src/setup.mjs serve|test|verify|bench|simulate|crashlab|cluster [arguments]
 *
 * Needs Node ≥ 20 and npm, nothing else: plain JavaScript, because it runs before anything is
 * installed. What is missing is brought by `prepare.mjs`.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HOME, MODULES, prepare, ROOT, SetupError } from './prepare.mjs';

const NODE_MIN = 20;
const REPORT = join(HOME, 'test-report.json');

// ── Running ───────────────────────────────────────────────────────────────

/** Runs a program under our Node as if it were this one: its terminal, signals and exit code. */
export async function run(node, args, options = {}) {
  const child = spawn(node, args, { stdio: 'inherit', ...options });
  // In a terminal Ctrl-C reaches the child by itself, and twice would mean "at once".
  const pass = (signal) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, pass);
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status, signal) => resolve(status ?? 128 + constants.signals[signal]));
  });
  for (const signal of signals) process.off(signal, pass);
  return code;
}

const tool = (path) => join(MODULES, path);

async function test({ node, env }, args) {
  fs.mkdirSync(HOME, { recursive: true });
  fs.rmSync(REPORT, { force: true });
  const { TROUPE_TEST: _, ...whole } = env;
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${REPORT}`];
  const code = await run(node, [tool('vitest/vitest.mjs'), 'run', ...reporters, ...args], {
    env: whole,
    cwd: ROOT,
  });
  console.log(tally(code));
  return code;
}

/** The last line of `npm test`; what failed outside of any test counts as one. */
function tally(code) {
  const report = fs.existsSync(REPORT) ? JSON.parse(fs.readFileSync(REPORT, 'utf8')) : {};
  const isLoaded = (file) => file.status === 'passed' || file.assertionResults.length > 0;
  const broken = (report.testResults ?? []).filter((file) => !isLoaded(file)).length;
  const failed = Math.max((report.numFailedTests ?? 0) + broken, code === 0 ? 0 : 1);
  const skipped = (report.numPendingTests ?? 0) + (report.numTodoTests ?? 0);
  return `${report.numPassedTests ?? 0} passed, ${failed} failed, ${skipped} skipped`;
}

async function verify({ node, env }) {
  const steps = [
    ['biome ci', tool('@biomejs/biome/bin/biome'), 'ci', '.'],
    ['tsc --noEmit', tool('typescript/bin/tsc'), '--noEmit'],
    ['knip', tool('knip/bin/knip.js')],
    ['quick tests', tool('vitest/vitest.mjs'), 'run'],
  ];
  for (const [name, ...args] of steps) {
    console.log(`── ${name}`);
    const code = await run(node, args, { env: { ...env, TROUPE_TEST: 'quick' }, cwd: ROOT });
    if (code !== 0) {
      console.log(`── ${name} failed`);
      return code;
    }
  }
  return 0;
}

/** A script that is one program of ours. */
const program =
  (file, ...first) =>
  ({ node, env }, args) =>
    run(node, [join(ROOT, file), ...first, ...args], { env });

const SCRIPTS = {
  serve: { parts: 'run', start: program('src/cli/main.ts', 'serve') },
  test: { parts: 'all', start: test, isForDevelopers: true },
  verify: { parts: 'all', start: verify, isForDevelopers: true },
  cluster: { parts: 'run', start: program('src/cli/main.ts', 'cluster', 'up') },
  bench: { parts: 'all', start: program('test/bench/main.ts'), isForDevelopers: true },
  simulate: { parts: 'all', start: program('test/simulation/main.ts'), isForDevelopers: true },
  crashlab: { parts: 'all', start: program('test/crashlab/main.ts'), isForDevelopers: true },
};

/** Prints a set-up failure and its next step, or throws on; gives the exit code. */
export function explain(error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`set-up: ${error.message}\n  ${error.nextStep}\n`);
  return 1;
}

/** Runs one of the scripts with what it needs; gives its exit code. */
export async function main([name, ...args]) {
  const script = Object.hasOwn(SCRIPTS, name ?? '') ? SCRIPTS[name] : undefined;
  if (Number.parseInt(process.versions.node, 10) < NODE_MIN) {
    throw new SetupError(
      `Node ${process.version} is too old`,
      `Install Node ${NODE_MIN} or newer.`,
    );
  }
  if (script === undefined) {
    throw new SetupError(
      `no script ${name ?? 'is named'}`,
      `Say one of ${Object.keys(SCRIPTS).join(', ')}.`,
    );
  }
  const ofSite = script.isForDevelopers ? {} : { args };
  const { node, server } = await prepare({ parts: script.parts, server: true, ...ofSite });
  // Tests look here first, so that an old server on the PATH does not get in the way. A site looks
  // for itself, because there a variable would outrank its configuration.
  const env =
    script.isForDevelopers && server ? { ...process.env, TROUPE_NATS_SERVER: server } : process.env;
  return script.start({ node, env }, args);
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2)).catch(explain);
}
