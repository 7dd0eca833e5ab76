/**
 * A machine to set up: a clean clone of the files that set-up is made of, with an npm, an apt and a
 * nats-server of our own making, so that nothing is fetched, and each step can fail, hang or be
 * killed.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');
const OURS = ['setup', 'prepare', 'troupe', 'nats/find-server', 'nats/fetch-server'];
const NODE_PACKAGE = `node_modules/node-linux-${process.arch}`;
/** What package-lock.json says on it. */
export const LOCK = JSON.stringify({
  packages: {
    '': {},
    [NODE_PACKAGE]: { version: '24.0.0', optional: true, os: ['linux'], cpu: [process.arch] },
    'node_modules/other-machine': { version: '1.0.0', optional: true, os: ['plan9'], cpu: ['vax'] },
    'node_modules/needed': { version: '1.0.0' },
    'node_modules/for-tests': { version: '1.0.0', dev: true },
  },
});
/** Makes node_modules as npm would, its hidden lock last. */
const NPM = `
const fs = require('node:fs');
fs.appendFileSync(process.env.CALLS, 'npm ' + process.argv.slice(2).join(' ') + '\\n');
if (process.env.NPM_FAILS) { console.error('npm error network'); process.exit(1); }
const { packages } = JSON.parse(fs.readFileSync('package-lock.json', 'utf8'));
for (const [path, it] of Object.entries(packages)) {
  if (path === '' || path.includes('other-machine')) { delete packages[path]; continue; }
  if (it.dev && process.argv.includes('--omit=dev')) { delete packages[path]; continue; }
  fs.mkdirSync(path + '/bin', { recursive: true });
  fs.writeFileSync(path + '/package.json', '{}');
  if (path.includes('node-linux')) fs.symlinkSync(process.execPath, path + '/bin/node');
}
const end = () => fs.writeFileSync('node_modules/.package-lock.json', JSON.stringify({ packages }));
if (process.env.NPM_HANGS) setInterval(() => {}, 1000);
else setTimeout(end, 100);
`;
/** An apt that has one package, and finds its mirror unless APT_FAILS. */
export const APT = `
const fs = require('node:fs');
const args = process.argv.slice(2);
fs.appendFileSync(process.env.CALLS, 'apt-get ' + args.join(' ') + '\\n');
if (args[0] === 'indextargets') {
  console.log('http://security.invalid/debian-security main\\nhttp://mirror.invalid/debian main');
} else if (args.includes('update') && process.env.APT_FAILS) {
  console.error('E: The mirror cannot be reached');
  process.exit(100);
} else if (args.includes('download')) {
  fs.writeFileSync('nats-server_2.15.1-1_amd64.deb', '');
}
`;
/** Unpacks that package. */
export const DPKG = `
const fs = require('node:fs');
if (process.argv[2] === '-x') {
  const bin = process.argv[4] + '/usr/sbin';
  fs.mkdirSync(bin, { recursive: true });
  const server = '#!/bin/sh\\necho "nats-server: v2.15.1"\\n';
  fs.writeFileSync(bin + '/nats-server', server, { mode: 0o755 });
}
`;
/** Stands for the program: shows what it was given, and ends as it is told. */
const MAIN = `
const [verb, ...args] = process.argv.slice(2);
const server = process.env.TROUPE_NATS_SERVER;
if (args[0] === 'wait') {
  process.on('SIGTERM', () => process.exit(7));
  setInterval(() => {}, 1000);
} else process.exitCode = Number(args[0]) || 0;
console.log(JSON.stringify({ verb, args, cwd: process.cwd(), server }));
`;

export type Env = Readonly<Record<string, string>>;
type Ran = {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
};

export type Machine = {
  /** Where the clone is. */
  readonly checkout: string;
  /** The whole PATH: npm and a new nats-server, at first. */
  readonly bin: string;
  /** The directory that scripts are run from. */
  readonly elsewhere: string;
  env(more?: Env): Env;
  /** Runs `node src/setup.mjs …`, or another script, to its end. */
  setUp(args: readonly string[], env?: Env, script?: string): Ran;
  /** Starts it, in a process group of its own; stdout is a pipe. */
  start(args: readonly string[], env?: Env): ChildProcess;
  /** Puts a program on the PATH that runs this CommonJS. */
  tool(name: string, script: string): void;
  /** The calls of a program so far, one line each. */
  called(name: string): readonly string[];
  /** What lies in `.troupe` and is no nats-server. */
  leftovers(): readonly string[];
  remove(): void;
};

/** A machine with Node, npm and nats-server 2.15.1, on which nothing has been set up. */
export function createMachine(): Machine {
  const home = mkdtempSync(join(tmpdir(), 'troupe-machine-'));
  const [checkout, bin, calls] = [join(home, 'checkout'), join(home, 'bin'), join(home, 'calls')];
  const env = (more: Env = {}): Env => ({
    PATH: bin,
    HOME: join(home, 'home'),
    CALLS: calls,
    ...more,
  });
  const tool = (name: string, script: string): void => {
    // A #! line may be too short for the path of Node.
    const file = join(bin, `${name}.cjs`);
    writeFileSync(file, script);
    writeFileSync(join(bin, name), `#!/bin/sh\nexec "${process.execPath}" "${file}" "$@"\n`);
    chmodSync(join(bin, name), 0o755);
  };
  clone(checkout);
  for (const directory of [bin, join(home, 'home')]) mkdirSync(directory);
  writeFileSync(calls, '');
  tool('npm', NPM);
  putServer(bin, '2.15.1');
  const words = (args: readonly string[], script: string) => [
    join(checkout, 'src', script),
    ...args,
  ];
  return {
    checkout,
    bin,
    elsewhere: home,
    env,
    tool,
    setUp: (args, more, script = 'setup.mjs') =>
      spawnSync(process.execPath, words(args, script), {
        cwd: home,
        env: env(more),
        encoding: 'utf8',
      }),
    start: (args, more) =>
      spawn(process.execPath, words(args, 'setup.mjs'), {
        env: env(more),
        stdio: ['ignore', 'pipe', 'ignore'],
        detached: true,
      }),
    called: (name) => {
      const lines = readFileSync(calls, 'utf8').split('\n');
      return lines.filter((line) => line.startsWith(name));
    },
    leftovers: () =>
      readdirSync(join(checkout, '.troupe')).filter((name) => !name.startsWith('nats-server-')),
    remove: () => rmSync(home, { recursive: true, force: true }),
  };
}

function clone(checkout: string): void {
  for (const directory of ['src/nats', 'src/cli', 'test/bench']) {
    mkdirSync(join(checkout, directory), { recursive: true });
  }
  for (const name of OURS) {
    copyFileSync(join(ROOT, 'src', `${name}.mjs`), join(checkout, 'src', `${name}.mjs`));
  }
  writeFileSync(join(checkout, 'package.json'), '{"type":"module"}');
  writeFileSync(join(checkout, 'package-lock.json'), LOCK);
  writeFileSync(join(checkout, '.npmrc'), '');
  writeFileSync(join(checkout, 'src/cli/main.ts'), MAIN);
  writeFileSync(join(checkout, 'test/bench/main.ts'), MAIN);
}

/** Puts a nats-server into a directory that can say its version and no more; gives its path. */
export function putServer(directory: string, version: string): string {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'nats-server');
  writeFileSync(file, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  chmodSync(file, 0o755);
  return file;
}
