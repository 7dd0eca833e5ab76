/**
 * Brings what a fresh checkout lacks: the packages of package-lock.json, the project's own Node 24
 * among them, and a nats-server. Says on stderr what it does, and nothing when all is there.
 *
 * Each step happens aside and is renamed into place, so that it may be killed at any time and run
 * twice at once; the lock only saves the second one the work.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchServer } from './nats/fetch-server.mjs';
import { findServer, SERVER_VERSION_MIN } from './nats/find-server.mjs';

/** The checkout. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
/** What set-up and tests write; never in git. */
export const HOME = join(ROOT, '.troupe');
/** The packages. */
export const MODULES = join(ROOT, 'node_modules');
const STAMP = '.troupe-lock';
const NODE_WANTED = 24;
const LOCK_MS_MAX = 15 * 60_000;
const LOCK_POLL_MS = 250;

/** A failure with its next step; printed without a stack. */
export class SetupError extends Error {
  constructor(what, nextStep) {
    super(what);
    this.nextStep = nextStep;
  }
}

const say = (text) => process.stderr.write(`set-up: ${text}\n`);

// ── The packages ──────────────────────────────────────────────────────────

/** Which of the lock's packages are there: 'all', 'run' (without the development ones), or null. */
function installed() {
  const wanted = createHash('sha256').update(fs.readFileSync(join(ROOT, 'package-lock.json')));
  const hash = wanted.digest('hex');
  const hidden = join(MODULES, '.package-lock.json'); // npm writes it last.
  const written = fs.statSync(hidden, { throwIfNoEntry: false })?.mtimeMs;
  if (written === undefined) return null;
  const stamp = readOr(join(MODULES, STAMP), '').split(' ');
  if (stamp[0] === hash && stamp[1] === String(written)) return stamp[2] ?? null;
  const parts = compare(JSON.parse(readOr(hidden, '{}')).packages ?? {});
  if (parts !== null) writeStamp(MODULES, parts);
  return parts;
}

/** The stamp, written last: made from this lock, by this run of npm, with these parts. */
function writeStamp(modules, parts) {
  const hash = createHash('sha256').update(fs.readFileSync(join(ROOT, 'package-lock.json')));
  const written = fs.statSync(join(modules, '.package-lock.json')).mtimeMs;
  try {
    fs.writeFileSync(join(modules, STAMP), `${hash.digest('hex')} ${written} ${parts}`);
  } catch (error) {
    if (!['EACCES', 'EROFS', 'EPERM'].includes(error.code)) throw error; // Only slower next time.
  }
}

/** Packages that somebody else installed, held against the lock. */
function compare(present) {
  let parts = 'all';
  const { packages } = JSON.parse(fs.readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  for (const [path, wanted] of Object.entries(packages)) {
    if (path === '' || (wanted.optional && !isForThisMachine(wanted))) continue;
    const isThere =
      present[path]?.version === wanted.version && fs.existsSync(join(ROOT, path, 'package.json'));
    if (isThere) continue;
    if (!wanted.dev) return null;
    parts = 'run';
  }
  return parts;
}

/** True of an optional package that machines of this kind must have; of others nothing is known. */
function isForThisMachine({ os, cpu, libc }) {
  return !libc && Boolean(os?.includes(process.platform) && cpu?.includes(process.arch));
}

function install(parts) {
  const work = join(HOME, `install-${process.pid}`);
  fs.mkdirSync(work, { recursive: true });
  try {
    for (const file of ['package.json', 'package-lock.json', '.npmrc']) {
      fs.copyFileSync(join(ROOT, file), join(work, file));
    }
    say(
      `installing packages with npm ci${parts === 'run' ? ', without the development ones' : ''}`,
    );
    npmCi(work, parts);
    writeStamp(join(work, 'node_modules'), parts);
    if (fs.existsSync(MODULES)) fs.renameSync(MODULES, join(work, 'old'));
    fs.renameSync(join(work, 'node_modules'), MODULES);
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

/** No package needs its install script: binaries are shipped. */
function npmCi(work, parts) {
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  args.push(parts === 'run' ? '--omit=dev' : '--include=dev', '--include=optional');
  if (!hasWritableHome()) args.push(`--cache=${join(work, 'cache')}`);
  const byNpm = process.env.npm_execpath ?? '';
  const [command, first] = byNpm.endsWith('npm-cli.js') ? [process.execPath, [byNpm]] : ['npm', []];
  const { status, error } = spawnSync(command, [...first, ...args], {
    cwd: work,
    stdio: ['ignore', 2, 2],
  });
  if (error?.code === 'ENOENT') {
    throw new SetupError(
      'npm was not found',
      'Install npm (it comes with Node) and run this again.',
    );
  }
  if (status !== 0) {
    const next = 'See what npm says above; it needs its registry, directly or through a proxy.';
    throw new SetupError(`npm ci failed (${error?.message ?? `exit ${status}`})`, next);
  }
}

function hasWritableHome() {
  try {
    fs.accessSync(process.env.HOME ?? '', fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

// ── Node ──────────────────────────────────────────────────────────────────

/** The project's own Node 24, or the one that runs this if it is as new; null: neither. */
function nodeToUse() {
  const packaged = join(MODULES, `node-linux-${process.arch}`, 'bin', 'node');
  if (fs.existsSync(packaged)) return packaged;
  return major(process.versions.node) >= NODE_WANTED ? process.execPath : null;
}

const major = (version) => Number.parseInt(version, 10);

function checkNode(node) {
  const says = node && spawnSync(node, ['--version'], { encoding: 'utf8' });
  if (says && major((says.stdout ?? '').slice(1)) >= NODE_WANTED) return;
  throw new SetupError(
    `no Node ${NODE_WANTED} runs here: this is ${process.version}, ours is for Linux with glibc`,
    `Install Node ${NODE_WANTED} or newer from your system or nodejs.org, and run this again.`,
  );
}

// ── Preparing ─────────────────────────────────────────────────────────────

/**
 * Makes sure that packages, Node and (if `server`) a nats-server are there. `args` are those of a
 * site, whose configuration may name a NATS of its own; the site then judges it. Gives the Node to
 * use and the nats-server that was found, or null.
 */
export async function prepare({ parts, server, args = null }) {
  const isReady = () => ['all', parts].includes(installed()) && nodeToUse() !== null;
  const look = () => (server ? findServer(ROOT, process.env) : { found: null, passed: [] });
  let { found, passed } = look();
  const lacksServer = () =>
    server && found === null && !(args && isReady() && namesServer(args, process.env));
  if (!isReady() || lacksServer()) {
    await locked(() => {
      if (!isReady()) {
        install(parts);
        checkNode(nodeToUse());
      }
      ({ found, passed } = look());
      if (lacksServer()) found = { binary: obtainServer(passed) };
    });
  }
  return { node: nodeToUse(), server: found?.binary ?? null };
}

function obtainServer(passed) {
  passed.forEach(say);
  let why = 'TROUPE_NATS_SERVER is set, so no other was looked for';
  try {
    if (!process.env.TROUPE_NATS_SERVER) return fetchServer(ROOT, say);
  } catch (error) {
    why = error.message;
  }
  throw new SetupError(
    `there is no nats-server ${SERVER_VERSION_MIN} or newer, and none could be fetched: ${why}`,
    `Install nats-server ${SERVER_VERSION_MIN} or newer (in Debian 14 and sid it is a package, ` +
      'elsewhere take a release of nats-io/nats-server), put it on the PATH or set ' +
      'TROUPE_NATS_SERVER to its path, and run this again.',
  );
}

/** True if the configuration has a NATS of its own, so that none need be fetched. */
function namesServer(args, env) {
  if (env.TROUPE_NATS_URL || env.TROUPE_NATS_SERVER) return true;
  const at = args.findIndex((arg) => /^(?:-c|--config)(?:=|$)/.test(arg));
  const file = at < 0 ? env.TROUPE_CONFIG : (args[at].split('=')[1] ?? args[at + 1]);
  try {
    const { nats } = createRequire(join(ROOT, 'package.json'))('yaml').parse(
      fs.readFileSync(file, 'utf8'),
    );
    return Boolean(nats?.url ?? nats?.server);
  } catch {
    return false; // No file, or one that Troupe itself will explain.
  }
}

/** Runs `work` while no other set-up of this checkout runs; one that died is not waited for. */
async function locked(work) {
  const lock = join(HOME, 'setup.lock');
  const mine = `${lock}.${process.pid}`;
  try {
    fs.mkdirSync(HOME, { recursive: true });
    fs.writeFileSync(mine, String(process.pid));
  } catch (error) {
    throw new SetupError(
      `something is missing, and ${HOME} cannot be written (${error.code})`,
      'Run this once as the user who owns the checkout, or give it to yours.',
    );
  }
  try {
    let isTold = false;
    for (let waited = 0; !taken(mine, lock); waited += LOCK_POLL_MS) {
      const holder = Number(readOr(lock, '0'));
      if (waited > LOCK_MS_MAX || (holder > 0 && !isAlive(holder))) {
        fs.rmSync(lock, { force: true });
        continue;
      }
      if (!isTold) say(`another set-up (process ${holder}) is at work; waiting for it`);
      isTold = true;
      await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
    }
    sweep();
    await work();
  } finally {
    if (readOr(lock, '') === String(process.pid)) fs.rmSync(lock, { force: true });
    fs.rmSync(mine, { force: true });
  }
}

function taken(mine, lock) {
  try {
    fs.linkSync(mine, lock);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Removes what set-ups that were killed left behind. */
function sweep() {
  for (const name of fs.readdirSync(HOME)) {
    const pid = /^(?:install-|fetch-|setup\.lock\.)(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) {
      fs.rmSync(join(HOME, name), { recursive: true, force: true });
    }
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function readOr(file, otherwise) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return otherwise;
  }
}
