/**
 * Finds a nats-server that keeps what it acknowledges (≥ 2.12.5, design §4): the one that is named,
 * then the PATH, then the newest that set-up unpacked under `.troupe/`. Plain JavaScript, because
 * set-up runs before anything is installed.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Jepsen's findings and our own (reliability §0) leave this one standing. */
export const SERVER_VERSION_MIN = '2.12.5';
/** `--version` takes 3 ms; what takes this long is no nats-server. */
const VERSION_MS_MAX = 5_000;

/** Negative, 0 or positive, by number: 2.9.10 is before 2.12.5. Pre-releases count as releases. */
export function compareVersions(a, b) {
  const [left, right] = [a, b].map((version) => version.split(/[.-]/).slice(0, 3).map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (left[i] || 0) - (right[i] || 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** What `binary --version` says, as `2.15.1`; null when it cannot be run or is something else. */
export function versionOf(binary) {
  const run = spawnSync(binary, ['--version'], { encoding: 'utf8', timeout: VERSION_MS_MAX });
  return /^nats-server: v?(\d+\.\d+\.\d+\S*)/m.exec(run.stdout ?? '')?.[1] ?? null;
}

/**
 * Looks where `env` and `root` (the checkout) say. `found` is null when there is none that is new
 * enough; `passed` says of each that was seen why it will not do. A server that is named is the
 * only one looked at.
 */
export function findServer(root, env) {
  const named = env.TROUPE_NATS_SERVER;
  const passed = [];
  for (const binary of named ? [named] : [...onPath(env.PATH ?? ''), ...unpacked(root)]) {
    const version = versionOf(binary);
    if (version !== null && compareVersions(version, SERVER_VERSION_MIN) >= 0) {
      return { found: { binary, version }, passed };
    }
    const why = version === null ? 'cannot be run' : `is ${version}`;
    passed.push(`${binary} ${why}, and ${SERVER_VERSION_MIN} or newer is needed`);
  }
  return { found: null, passed };
}

function onPath(path) {
  const binaries = path.split(delimiter).map((directory) => join(directory, 'nats-server'));
  return [...new Set(binaries)].filter(isExecutable);
}

/** `.troupe/nats-server-<version>/nats-server`, the newest first. */
function unpacked(root) {
  const home = join(root, '.troupe');
  return namesIn(home)
    .map((name) => ({ name, version: /^nats-server-(\d.*)$/.exec(name)?.[1] }))
    .filter(({ version }) => version !== undefined)
    .sort((a, b) => compareVersions(b.version, a.version))
    .map(({ name }) => join(home, name, 'nats-server'))
    .filter(isExecutable);
}

function namesIn(directory) {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
