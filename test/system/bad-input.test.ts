/**
 * What an operator gets wrong: each a clear message with the next step, and exit 1; never a stack,
 * never a second instance.
 */
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newPlace, runTroupe, startTestSite, type TestSite } from '../support/site.ts';
import { dumpStream } from '../support/streams-dump.ts';

let site: TestSite;

beforeAll(async () => {
  site = await startTestSite();
});

afterAll(async () => {
  await site?.close();
});

type Failure = { readonly code: number; readonly stderr: string };

/** Starts a site that must not start, in a directory of its own. */
async function failedStart(
  env: Readonly<Record<string, string>>,
  prepare?: (data: string) => void,
  args: readonly string[] = [],
): Promise<Failure> {
  const place = newPlace({ env });
  prepare?.(place.data);
  const ran = await runTroupe(place.env, [...args, 'serve']);
  rmSync(place.directory, { recursive: true, force: true });
  return ran;
}

function expectClear({ code, stderr }: Failure, ...words: readonly RegExp[]): void {
  expect(code, stderr).toBe(1);
  for (const word of words) expect(stderr).toMatch(word);
  expect(stderr).not.toMatch(/^\s+at .*:\d+:\d+/m);
}

test('a second instance on one data directory is refused and the first goes on', async () => {
  expectClear(await site.run('serve'), /another Troupe \(process \d+\)/, /Stop it/);
  expect((await fetch(`http://127.0.0.1:${site.ports().httpPort}/ready`)).status).toBe(200);
});

test.each(['SMTP', 'LMTP', 'HTTP'])('a %s port in use is named', async (name) => {
  const squatter = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => squatter.once('listening', resolve));
  const address = squatter.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const ran = await failedStart({ [`TROUPE_${name}_PORT`]: String(port) });
  squatter.close();
  expectClear(ran, new RegExp(`\\b${port}\\b`), /in use/);
});

test('a key that does not exist is named with its line', async () => {
  const place = newPlace();
  const file = join(place.directory, 'troupe.yaml');
  writeFileSync(file, 'smtp:\n  port: 0\n  prot: 25\n');
  const ran = await runTroupe(place.env, ['--config', file, 'serve']);
  rmSync(place.directory, { recursive: true, force: true });
  expectClear(ran, /troupe\.yaml:3/, /prot/);
});

test('a wrong URL, a wrong port and a wrong role are told at once', async () => {
  const ran = await failedStart({
    TROUPE_HTTP_URL: 'not a url',
    TROUPE_SMTP_PORT: '99999',
    TROUPE_ROLES: 'edge,banana',
  });
  expectClear(ran, /http\.url/, /smtp\.port/, /roles/, /3 mistakes/);
});

test('a data directory that cannot be written is named', async () => {
  const inTheWay = (data: string): void => writeFileSync(data, 'a file where a directory must be');
  expectClear(await failedStart({}, inTheWay), /data directory .* cannot be written/);
});

test.each(['2.9.10', '2.10.27'])(
  'nats-server %s is refused before it is started',
  async (version) => {
    const place = newPlace();
    const started = join(place.directory, 'started');
    const fake = join(place.directory, 'nats-server');
    const script = [
      '#!/bin/sh',
      'case "$1" in',
      `  -v|--version) echo "nats-server: v${version}";;`,
      `  *) touch ${started}; sleep 1;;`,
      'esac',
    ];
    writeFileSync(fake, `${script.join('\n')}\n`);
    chmodSync(fake, 0o755);
    const ran = await runTroupe({ ...place.env, TROUPE_NATS_SERVER: fake }, ['serve']);
    const wasStarted = existsSync(started);
    rmSync(place.directory, { recursive: true, force: true });
    expectClear(ran, new RegExp(version.replaceAll('.', '\\.')), /2\.12\.5/);
    expect(wasStarted).toBe(false);
  },
);

test('a verb without a site says how to start one', async () => {
  const place = newPlace();
  mkdirSync(place.data);
  const ran = await runTroupe(place.env, ['list', 'ls']);
  rmSync(place.directory, { recursive: true, force: true });
  expectClear(ran, /no site is running/, /npm start/);
});

const NAMES: readonly (readonly [name: string, isTaken: boolean])[] = [
  ['with.dots', true],
  ['star*', false],
  ['more>', false],
  ['$JS', false],
  ['with space', false],
  ['cr\rlf\n', false],
  ['x'.repeat(300), false],
  ['..', false],
  ['', false],
];

test.each(NAMES)('the list name %j is taken or refused by the grammar', async (name, isTaken) => {
  const list = `${name}@lists.example.org`;
  const { code, stderr } = await site.run('list', 'create', list);
  expect({ code, isTaken }).toEqual({ code: isTaken ? 0 : 1, isTaken });
  if (!isTaken) expect(stderr).toMatch(/cannot be the address of a list/);
  const subjects = (await dumpStream(site.nats(), 'TROUPE_LEDGER')).map(({ subject }) => subject);
  expect(subjects.length).toBeGreaterThan(0);
  for (const subject of subjects) {
    expect(subject).toMatch(/^troupe\.ledger\.\d{1,2}\.(owner|[a-z2-7]{26})$/);
  }
});
