/**
 * The README is run: every command it shows, in the order it shows them, against a site as `npm start` makes it, and those that
 * need more against one that has it. Those about a cluster are run in test/system/cluster.test.ts.
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Config, loadConfig } from '../../src/config.ts';
import { readDkimKeys } from '../../src/config-dkim.ts';
import { blocksOf, commandsOf } from '../support/readme.ts';
import { startSinkProcess } from '../support/sink-process.ts';
import { startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

const ROOT = resolve(import.meta.dirname, '..', '..');
const MS_MAX = 600_000;
const run = promisify(execFile);
const shell = commandsOf('sh');
const withMore = commandsOf('console');

let directory: string;
let site: TestSite;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-readme-'));
  site = await startTestSite({
    env: { TROUPE_DOMAINS: 'lists.localhost', TROUPE_HOSTNAME: 'lists.localhost' },
  });
});
afterAll(async () => {
  await site?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A line as a reader types it, but on the test site's ports and with the launcher of this checkout. */
async function shown(line: string, at = site): Promise<string> {
  const command = line
    .replace('127.0.0.1:2525', `127.0.0.1:${at.ports().smtpPort}`)
    .replace(/^npx troupe/, `node ${resolve(ROOT, 'src/troupe.mjs')}`);
  const { stdout } = await run('sh', ['-c', command], { cwd: ROOT, env: at.env });
  return stdout;
}

/** What the program makes of the first configuration in the README that has these words. */
function configured(words: string): Config {
  const file = join(directory, 'troupe.yaml');
  writeFileSync(file, blocksOf('yaml').find((text) => text.includes(words)) ?? '');
  return loadConfig({ file, env: {} });
}

test('the README shows the two commands, a post, and the verbs', () => {
  expect(
    shell.filter((line) => line.startsWith('npm ')).map((line) => line.split('#')[0]?.trim()),
  ).toEqual(['npm start', 'npm test']);
  expect(shell.length).toBeGreaterThan(10);
});

test('every script that the README names is there', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const named = [...shell, ...withMore].flatMap(
    (line) => /^npm (?:run )?(\w+)/.exec(line)?.[1] ?? [],
  );
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
});

test('every command of the README does what it says, in order', { timeout: MS_MAX }, async () => {
  const printed = new Map<string, string>();
  for (const line of shell.filter((one) => !one.startsWith('npm '))) {
    printed.set(line, await shown(line));
    if (line.startsWith('printf'))
      await until('three copies', async () =>
        (await site.troupe<{ count: number }>('outbox')).count === 3 ? true : null,
      );
  }
  expect(printed.get('npx troupe outbox')).toContain('[hello] Hello');
  expect(printed.get('npx troupe inspect list hello@lists.localhost')).toMatch(/posts\s+1\b/);
  expect(printed.get('npx troupe route ls')).toMatch(/capture\s+kept, sent nowhere/);
  expect(printed.get('npx troupe list show dev@lists.localhost')).toMatch(
    /\[dev\][\s\S]*closed|closed[\s\S]*\[dev\]/,
  );
  expect(printed.get('npx troupe delivery show hello@lists.localhost 1')).toMatch(
    /^handed over\s+3$/m,
  );
  expect(printed.get('npx troupe member ls dev@lists.localhost')).toContain('grace@example.com');
});

test('the routes of the README are changed live as it shows', { timeout: MS_MAX }, async () => {
  const { routes } = configured('mta1');
  const sink = await startSinkProcess();
  const at = await startTestSite({
    routes: routes.map(({ name, weight, role }) => ({ name, weight, role, url: sink.url })),
  });
  try {
    const lines = withMore.filter((line) => line.startsWith('npx troupe route'));
    expect(lines.length).toBeGreaterThan(5);
    for (const line of lines) await shown(line.replace(/smtp:\/\/10\.[\d.:]+/, sink.url), at);
    const now = await at.troupe<{ routes: { name: string; weight: number }[] }>('route', 'ls');
    expect(now.routes.map(({ name, weight }) => [name, weight])).toEqual([
      ['mta1', 8],
      ['mta2', 3],
      ['relay', 1],
    ]);
  } finally {
    await at.close();
    await sink.close();
  }
});

const whyNoKeys = spawnSync('openssl', ['version']).error === undefined ? null : 'no openssl here';
if (whyNoKeys !== null) console.warn(`SKIPPED: the keys of the README are made: ${whyNoKeys}`);
test.skipIf(whyNoKeys !== null)('keys made as the README shows are keys to sign with', async () => {
  const making = withMore.filter((line) => /^(?:openssl|chmod) /.test(line));
  expect(making).toHaveLength(3);
  for (const line of making) await run('sh', ['-c', line], { cwd: directory });
  const { dkim } = configured('dkim:');
  const keys = dkim.map(({ key, ...of }) => ({
    ...of,
    key: join(directory, key.replace(/.*\//, '')),
  }));
  expect(readDkimKeys(keys).map(({ algorithm }) => algorithm)).toEqual([
    'rsa-sha256',
    'ed25519-sha256',
  ]);
});

test('the configurations in the README are valid', () => {
  for (const text of blocksOf('yaml')) configured(text);
  expect(configured('domains:')).toMatchObject({
    domains: ['lists.example.org'],
    routes: [{ name: 'postfix' }],
  });
  expect(configured('bans:').bans).toHaveLength(4);
  expect(configured('bans:').closed).toMatch(/until noon$/);
  expect(configured('mta1').routes.map(({ name }) => name)).toEqual(['mta1', 'mta2', 'relay']);
});
