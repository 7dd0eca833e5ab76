/**
 * Fetches a current nats-server with the system's package manager, into `.troupe/`, as any user.
 *
 * Debian's stable releases have servers that lose what they acknowledged (reliability §0), so a
 * private run of apt asks sid: its own sources, lists and cache, the system's keyring. The system
 * itself is not touched. What was fetched is unpacked aside and renamed into place, so that two
 * runs at once, or one that is killed, leave nothing half done.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compareVersions, SERVER_VERSION_MIN, versionOf } from './find-server.mjs';

const KEYRINGS = [
  '/usr/share/keyrings/debian-archive-keyring.gpg',
  '/usr/share/keyrings/debian-archive-keyring.pgp',
];
const RUN_MS_MAX = 5 * 60_000;
const ANSWER_SECONDS_MAX = 30;

/** The path of a server that was just fetched. Throws an Error that says why it cannot be had. */
export function fetchServer(root, say) {
  const home = join(root, '.troupe');
  const work = join(home, `fetch-${process.pid}`);
  const keyring = KEYRINGS.find(existsSync);
  if (process.platform !== 'linux')
    throw new Error(`this is ${process.platform}, which has no apt`);
  for (const tool of ['apt-get', 'dpkg']) {
    if (spawnSync(tool, ['--version']).error) throw new Error(`this system has no ${tool}`);
  }
  if (keyring === undefined) throw new Error('this system has no Debian archive keyring');
  try {
    const options = privateApt(work, keyring);
    say('fetching nats-server with apt, into .troupe/ only');
    run('apt-get', [...options, 'update', '-qq'], work);
    run('apt-get', [...options, 'download', '-qq', 'nats-server'], work);
    return install(home, work);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Options that make apt read and write nothing but `work`. */
function privateApt(work, keyring) {
  for (const directory of ['lists/partial', 'cache/archives/partial', 'etc']) {
    mkdirSync(join(work, directory), { recursive: true });
  }
  const mirror = mirrorOf(work);
  writeFileSync(join(work, 'status'), '');
  writeFileSync(join(work, 'sources.list'), `deb [signed-by=${keyring}] ${mirror} sid main\n`);
  const settings = {
    'Dir::State::Lists': join(work, 'lists'),
    'Dir::State::status': join(work, 'status'),
    'Dir::Cache': join(work, 'cache'),
    'Dir::Etc::sourcelist': join(work, 'sources.list'),
    'Dir::Etc::sourceparts': join(work, 'etc'),
    'Dir::Etc::preferencesparts': join(work, 'etc'),
    'APT::Sandbox::User': '', // The files are ours, not _apt's.
    'APT::Update::Error-Mode': 'any', // Else a mirror that cannot be reached is no error.
    'Acquire::Languages': 'none',
    'Acquire::http::Timeout': ANSWER_SECONDS_MAX,
    'Acquire::https::Timeout': ANSWER_SECONDS_MAX,
    'Acquire::Retries': 2,
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** Where this system gets its packages: the nearest mirror that also has sid. */
function mirrorOf(work) {
  const format = '$(REPO_URI) $(COMPONENT)';
  const args = ['indextargets', '--no-release-info', '--format', format, 'Created-By: Packages'];
  const mirror = run('apt-get', args, work)
    .split('\n')
    .map((line) => line.split(' '))
    .find(([uri, component]) => component === 'main' && !uri.includes('security'))?.[0];
  if (mirror === undefined) throw new Error('apt has no sources with a component `main`');
  return mirror;
}

/** Unpacks the package in `work`, checks that the server runs, and renames it into place. */
function install(home, work) {
  const file = readdirSync(work).find((name) => /^nats-server_.*\.deb$/.test(name));
  if (file === undefined) throw new Error('apt fetched no package');
  run('dpkg', ['-x', join(work, file), join(work, 'root')], work);
  const inPackage = ['usr/sbin/nats-server', 'usr/bin/nats-server']
    .map((path) => join(work, 'root', path))
    .find(existsSync);
  const version = inPackage === undefined ? null : versionOf(inPackage);
  if (version === null) throw new Error(`the server in ${file} does not run on this system`);
  if (compareVersions(version, SERVER_VERSION_MIN) < 0) throw new Error(`apt has only ${version}`);
  const ready = join(work, 'ready');
  const place = join(home, `nats-server-${version}`);
  mkdirSync(ready);
  renameSync(inPackage, join(ready, 'nats-server'));
  try {
    renameSync(ready, place);
  } catch (error) {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error; // Another was quicker.
  }
  return join(place, 'nats-server');
}

/** What the command wrote; throws an Error with the last thing it complained of. */
function run(command, args, cwd) {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const done = spawnSync(command, args, { cwd, env, encoding: 'utf8', timeout: RUN_MS_MAX });
  if (done.status === 0) return done.stdout;
  const complaint = (done.stderr ?? '')
    .trim()
    .split('\n')
    .filter((line) => /^[EW]:/.test(line));
  const why = complaint[0] ?? done.error?.message ?? `it ended with ${done.status ?? done.signal}`;
  throw new Error(`${command} failed: ${why.replace(/^[EW]:\s*/, '')}`);
}
