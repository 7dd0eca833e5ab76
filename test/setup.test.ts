/** Set-up on a machine that lacks things: what it brings, and what it says where it cannot. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { compareVersions, findServer, versionOf } from '../src/nats/find-server.mjs';
import {
  APT,
  createMachine,
  DPKG,
  type Env,
  LOCK,
  type Machine,
  putServer,
} from './support/machine.ts';

const ROOT = join(import.meta.dirname, '..');
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
let machine: Machine;

beforeEach(() => {
  machine = createMachine();
});
afterEach(() => machine.remove());

describe('packages', () => {
  test('a clean clone is set up, says so, and runs; the next time nothing is said or done', () => {
    const first = machine.setUp(['serve', '--config', 'x.yaml']);
    expect(first.stderr).toMatch(/^set-up: installing packages with npm ci, without the dev/);
    expect(JSON.parse(first.stdout)).toEqual({
      verb: 'serve',
      args: ['--config', 'x.yaml'],
      cwd: machine.elsewhere,
    });
    expect(machine.called('npm')[0]).toMatch(/^npm ci --ignore-scripts .*--omit=dev/);
    expect(machine.leftovers()).toEqual([]);
    const second = machine.setUp(['serve', '3']);
    expect(second.stderr).toBe('');
    expect(second.status).toBe(3);
    expect(machine.called('npm')).toHaveLength(1);
  });

  test('the development packages come when a script needs them, and stay', () => {
    machine.setUp(['serve']);
    expect(existsSync(join(machine.checkout, 'node_modules/for-tests'))).toBe(false);
    expect(machine.setUp(['bench']).status).toBe(0);
    expect(existsSync(join(machine.checkout, 'node_modules/for-tests'))).toBe(true);
    machine.setUp(['serve']);
    expect(machine.called('npm')).toHaveLength(2);
  });

  test('a new lock is installed', () => {
    machine.setUp(['serve']);
    writeFileSync(join(machine.checkout, 'package-lock.json'), LOCK.replaceAll('1.0.0', '1.0.1'));
    expect(machine.setUp(['serve']).status).toBe(0);
    expect(machine.called('npm')).toHaveLength(2);
  });

  test('what npm installed by hand is taken as it is, if it is what the lock says', () => {
    spawnSync(join(machine.bin, 'npm'), ['ci'], { cwd: machine.checkout, env: machine.env() });
    expect(machine.setUp(['bench']).status).toBe(0);
    expect(machine.called('npm')).toHaveLength(1);
    rmSync(join(machine.checkout, 'node_modules/needed'), { recursive: true });
    rmSync(join(machine.checkout, 'node_modules/.troupe-lock'));
    expect(machine.setUp(['bench']).status).toBe(0);
    expect(machine.called('npm')).toHaveLength(2);
  });

  test('a set-up that is killed while npm works leaves nothing behind that counts', async () => {
    const killed = machine.start(['serve'], { NPM_HANGS: '1' });
    const isAtWork = (): boolean =>
      existsSync(join(machine.checkout, '.troupe')) &&
      readdirSync(join(machine.checkout, '.troupe')).some((name) =>
        existsSync(join(machine.checkout, '.troupe', name, 'node_modules/needed/package.json')),
      );
    while (!isAtWork()) await new Promise((resolve) => setTimeout(resolve, 10));
    const gone = once(killed, 'exit');
    process.kill(-(killed.pid ?? 0), 'SIGKILL'); // With its npm.
    await gone;
    expect(existsSync(join(machine.checkout, 'node_modules'))).toBe(false);
    expect(machine.setUp(['serve']).status).toBe(0);
    expect(machine.called('npm')).toHaveLength(2);
    expect(machine.leftovers()).toEqual([]);
  });

  test('of two set-ups at once one works and the other waits', async () => {
    const both = [machine.start(['serve']), machine.start(['serve'])];
    const codes = await Promise.all(both.map((child) => once(child, 'exit')));
    expect(codes).toEqual([
      [0, null],
      [0, null],
    ]);
    expect(machine.called('npm')).toHaveLength(1);
    expect(machine.leftovers()).toEqual([]);
  });

  test('an npm that fails leaves the packages that were there', () => {
    machine.setUp(['serve']);
    writeFileSync(join(machine.checkout, 'package-lock.json'), LOCK.replaceAll('1.0.0', '1.0.1'));
    const failed = machine.setUp(['serve'], { NPM_FAILS: '1' });
    expect(failed.status).toBe(1);
    expect(failed.stderr).toMatch(/npm error network\nset-up: npm ci failed \(exit 1\)\n {2}See /);
    expect(existsSync(join(machine.checkout, 'node_modules/needed'))).toBe(true);
    expect(machine.leftovers()).toEqual([]);
  });

  test('without npm it says what to install', () => {
    rmSync(join(machine.bin, 'npm'));
    const failed = machine.setUp(['serve']);
    expect(failed.status).toBe(1);
    expect(failed.stderr).toContain('npm was not found\n  Install npm');
  });

  test('a checkout that cannot be written is told, with what to do', () => {
    writeFileSync(join(machine.checkout, '.troupe'), 'a file');
    const failed = machine.setUp(['serve']);
    expect(failed.status).toBe(1);
    expect(failed.stderr).toContain('cannot be written (EEXIST)\n  Run this once as the user');
  });
});

describe('nats-server', () => {
  test('the order is: the one that is named, the PATH, the newest under .troupe', () => {
    const look = (env: Env) => findServer(machine.checkout, env).found;
    const named = putServer(join(machine.elsewhere, 'named'), '2.13.0');
    const older = putServer(join(machine.checkout, '.troupe/nats-server-2.12.6'), '2.12.6');
    const newest = putServer(join(machine.checkout, '.troupe/nats-server-2.12.10'), '2.12.10');
    expect(look({ TROUPE_NATS_SERVER: named, PATH: machine.bin })?.binary).toBe(named);
    expect(look({ PATH: `/none:${machine.bin}` })?.binary).toBe(join(machine.bin, 'nats-server'));
    expect(look({ PATH: '/none' })).toEqual({ binary: newest, version: '2.12.10' });
    rmSync(newest);
    expect(look({})?.binary).toBe(older);
  });

  test('an old one on the PATH is passed over', () => {
    putServer(machine.bin, '2.10.27');
    const newer = putServer(join(machine.checkout, '.troupe/nats-server-2.15.1'), '2.15.1');
    const { found, passed } = findServer(machine.checkout, { PATH: machine.bin });
    expect(found?.binary).toBe(newer);
    expect(passed).toEqual([
      `${join(machine.bin, 'nats-server')} is 2.10.27, and 2.12.5 or newer is needed`,
    ]);
  });

  test('an old one that is named is an error, not passed over', () => {
    const named = putServer(join(machine.elsewhere, 'named-old'), '2.9.10');
    expect(machine.setUp(['serve'], { TROUPE_NATS_SERVER: named }).status).toBe(0); // Its to judge.
    const failed = machine.setUp(['bench'], { TROUPE_NATS_SERVER: named });
    expect(failed.status).toBe(1);
    expect(failed.stderr).toContain(`${named} is 2.9.10, and 2.12.5 or newer is needed`);
    expect(failed.stderr).toContain('Install nats-server 2.12.5 or newer');
  });

  test('where there is no apt one message says what to install and how', () => {
    rmSync(join(machine.bin, 'nats-server'));
    const failed = machine.setUp(['serve']);
    expect(failed.status).toBe(1);
    expect(failed.stdout).toBe('');
    const [what, next, ...more] = failed.stderr.split('set-up: ').at(-1)?.split('\n') ?? [];
    expect(what).toContain('there is no nats-server 2.12.5 or newer, and none could be fetched');
    expect(what).toMatch(/: this system has no apt-get$/);
    expect(next).toMatch(/^ {2}Install nats-server 2\.12\.5 or newer .*TROUPE_NATS_SERVER/);
    expect(more).toEqual(['']);
  });

  test.skipIf(!existsSync(KEYRING))('apt brings one, privately, into its place', () => {
    rmSync(join(machine.bin, 'nats-server'));
    machine.tool('apt-get', APT);
    machine.tool('dpkg', DPKG);
    const done = machine.setUp(['bench']);
    expect(done.stderr).toContain('set-up: fetching nats-server with apt, into .troupe/ only');
    const fetched = join(machine.checkout, '.troupe/nats-server-2.15.1/nats-server');
    expect(JSON.parse(done.stdout)).toMatchObject({ server: fetched });
    expect(versionOf(fetched)).toBe('2.15.1');
    expect(machine.leftovers()).toEqual([]);
    const update = machine.called('apt-get').find((line) => line.includes(' update'));
    expect(update).toContain(`Dir::State::Lists=${join(machine.checkout, '.troupe', 'fetch-')}`);
    expect(machine.setUp(['bench']).stderr).toBe('');
  });

  test.skipIf(!existsSync(KEYRING))(
    'an apt that reaches no mirror is told in its own words',
    () => {
      rmSync(join(machine.bin, 'nats-server'));
      machine.tool('apt-get', APT);
      machine.tool('dpkg', DPKG);
      const failed = machine.setUp(['serve'], { APT_FAILS: '1' });
      expect(failed.status).toBe(1);
      expect(failed.stderr).toContain('apt-get failed: The mirror cannot be reached\n  Install');
      expect(machine.leftovers()).toEqual([]);
    },
  );

  test('a site with a NATS of its own needs none', () => {
    rmSync(join(machine.bin, 'nats-server'));
    const file = join(machine.checkout, 'troupe.yaml');
    writeFileSync(file, 'nats:\n  url: nats://10.0.0.1:4222\n');
    expect(machine.setUp(['serve'], { TROUPE_NATS_URL: 'nats://h:4222' }).status).toBe(0);
    cpSync(join(ROOT, 'node_modules/yaml'), join(machine.checkout, 'node_modules/yaml'), {
      recursive: true,
    });
    expect(machine.setUp(['serve', '0', '--config', file]).status).toBe(0);
    expect(machine.setUp(['serve', '0', `--config=${file}`]).status).toBe(0);
    expect(machine.setUp(['serve']).status).toBe(1);
  });

  test('versions are compared by number', () => {
    const version = fc.tuple(fc.nat(99), fc.nat(99), fc.nat(99));
    fc.assert(
      fc.property(version, version, (a, b) => {
        const byNumber = a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
        expect(Math.sign(compareVersions(a.join('.'), b.join('.')))).toBe(Math.sign(byNumber));
      }),
    );
    expect(compareVersions('2.9.10', '2.12.5')).toBeLessThan(0);
    expect(compareVersions('2.12.5-RC.1', '2.12.5')).toBe(0);
  });
});

describe('test', () => {
  /** A vitest that writes this report and ends with this code. */
  function vitest(report: unknown, code: number): void {
    mkdirSync(join(machine.checkout, 'node_modules/vitest'), { recursive: true });
    const script = `
      import { writeFileSync } from 'node:fs';
      const file = process.argv.find((arg) => arg.startsWith('--outputFile.json='))?.split('=')[1];
      const report = ${JSON.stringify(report)};
      if (report) writeFileSync(file, JSON.stringify(report));
      console.log('vitest says', process.env.TROUPE_TEST, process.env.TROUPE_NATS_SERVER);
      process.exitCode = ${code};`;
    writeFileSync(join(machine.checkout, 'node_modules/vitest/vitest.mjs'), script);
  }
  const of = (status: string, fullName: string) => ({ status, fullName });
  const file = (status: string, ...assertionResults: readonly unknown[]) => ({
    status,
    assertionResults,
  });
  const lastLine = (text: string): string => text.trimEnd().split('\n').at(-1) ?? '';

  test('the last line counts; what fails outside of any test counts as one', () => {
    machine.setUp(['bench']);
    const fine = { numPassedTests: 3, numFailedTests: 0, numPendingTests: 1, numTodoTests: 1 };
    vitest({ ...fine, testResults: [file('passed', of('passed', 'a'))] }, 0);
    const passed = machine.setUp(['test', 'some/file'], { TROUPE_TEST: 'quick' });
    expect(passed.stdout).toBe(
      `vitest says undefined ${join(machine.bin, 'nats-server')}\n3 passed, 0 failed, 2 skipped\n`,
    );
    expect(passed.status).toBe(0);
    vitest({ ...fine, testResults: [file('passed', of('passed', 'a')), file('failed')] }, 1);
    expect(lastLine(machine.setUp(['test']).stdout)).toBe('3 passed, 1 failed, 2 skipped');
    vitest(null, 139);
    const crashed = machine.setUp(['test']);
    expect(lastLine(crashed.stdout)).toBe('0 passed, 1 failed, 0 skipped');
    expect(crashed.status).toBe(139);
  });

  test('CI fails on a skipped test, unless it needs the corpora and they are not there', () => {
    const run = join(machine.checkout, '.ci/run');
    mkdirSync(join(machine.checkout, '.ci'));
    copyFileSync(join(ROOT, '.ci/run'), run);
    for (const name of ['postfix', 'smtp-source', 'chromium', 'openssl', 'curl', 'ip'])
      machine.tool(name, '');
    machine.tool('npm', 'process.exitCode = Number(process.env.CODE);');
    symlinkSync(process.execPath, join(machine.bin, 'node'));
    symlinkSync('/usr/bin/dirname', join(machine.bin, 'dirname'));
    mkdirSync(join(machine.checkout, '.troupe'), { recursive: true });
    const ci = (code: number, ...names: readonly string[]) => {
      const results = [of('passed', 'fine'), ...names.map((name) => of('skipped', name))];
      const report = { testResults: [{ assertionResults: results }] };
      writeFileSync(join(machine.checkout, '.troupe/test-report.json'), JSON.stringify(report));
      return spawnSync('/bin/bash', [run], {
        env: machine.env({ CODE: String(code) }),
        encoding: 'utf8',
      });
    };
    expect(ci(0)).toMatchObject({ status: 0, stderr: '' });
    expect(ci(0, 'real mail of the corpora').status).toBe(0);
    expect(ci(0, 'Postfix relays')).toMatchObject({
      status: 1,
      stderr: 'ci: skipped: Postfix relays\n',
    });
    expect(ci(3).status).toBe(3);
    mkdirSync(join(machine.checkout, '../shared/corpora'), { recursive: true });
    expect(ci(0, 'real mail of the corpora').status).toBe(1);
  });
});

describe('running', () => {
  test('a signal goes to the program, and its exit code comes back', async () => {
    machine.setUp(['serve']);
    const running = machine.start(['serve', 'wait']);
    await once(running.stdout ?? running, 'data');
    const ended = once(running, 'exit');
    running.kill('SIGTERM');
    expect(await ended).toEqual([7, null]);
  });

  test('`troupe` runs a verb from any directory, without looking for a nats-server', () => {
    rmSync(join(machine.bin, 'nats-server'));
    const done = machine.setUp(['list', 'ls'], {}, 'troupe.mjs');
    expect(JSON.parse(done.stdout)).toEqual({ verb: 'list', args: ['ls'], cwd: machine.elsewhere });
    symlinkSync(join(machine.checkout, 'src/troupe.mjs'), join(machine.bin, 'troupe'));
    const linked = spawnSync(process.execPath, [join(machine.bin, 'troupe'), 'outbox', '2'], {
      env: machine.env(),
      encoding: 'utf8',
    });
    expect(linked.status).toBe(2);
  });

  test('an unknown script is refused with those there are', () => {
    const refused = machine.setUp(['sevre']);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('no script sevre\n  Say one of serve, test, verify, ');
  });
});
