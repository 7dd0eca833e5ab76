/** The README is run: every command it shows, in the order it shows them, against a site as `npm start` makes it. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

const ROOT = resolve(import.meta.dirname, '..', '..');
const README = readFileSync(resolve(ROOT, 'README.md'), 'utf8');
const run = promisify(execFile);

const blocks = [...README.matchAll(/```(\w*)\n([\s\S]*?)```/g)].map(([, language, text]) => ({
  language: language ?? '',
  text: text ?? '',
}));
const shell = blocks
  .filter(({ language }) => language === 'sh')
  .flatMap(({ text }) => text.trim().split('\n'));

let site: TestSite;
beforeAll(async () => {
  site = await startTestSite({
    env: { TROUPE_DOMAINS: 'lists.localhost', TROUPE_HOSTNAME: 'lists.localhost' },
  });
});
afterAll(() => site.close());

/** A line as a reader types it, but on the test site's ports and with the launcher of this checkout. */
async function shown(line: string): Promise<string> {
  const command = line
    .replace('127.0.0.1:2525', `127.0.0.1:${site.ports().smtpPort}`)
    .replace(/^npx troupe/, `node ${resolve(ROOT, 'src/troupe.mjs')}`);
  const { stdout } = await run('sh', ['-c', command], { cwd: ROOT, env: site.env });
  return stdout;
}

test('the README shows the two commands, a post, and the verbs', () => {
  expect(
    shell.filter((line) => line.startsWith('npm ')).map((line) => line.split('#')[0]?.trim()),
  ).toEqual(['npm start', 'npm test']);
  expect(shell.length).toBeGreaterThan(10);
});

test('every command of the README does what it says, in order', async () => {
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
}, 120_000);

test('the configurations in the README are valid', async () => {
  const yamlWith = (words: string): string =>
    blocks.find(({ language, text }) => language === 'yaml' && text.includes(words))?.text ?? '';
  const { mkdtemp, rm, writeFile } = await import('node:fs/promises');
  const { tmpdir } = await import('node:os');
  const directory = await mkdtemp(resolve(tmpdir(), 'troupe-readme-'));
  const file = resolve(directory, 'troupe.yaml');
  await writeFile(file, yamlWith('domains:'));
  const config = loadConfig({ file, env: {} });
  await writeFile(file, yamlWith('mta1'));
  const { routes } = loadConfig({ file, env: {} });
  await rm(directory, { recursive: true });
  expect(routes.map(({ name }) => name)).toEqual(['mta1', 'mta2', 'relay']);
  expect(config).toMatchObject({ domains: ['lists.example.org'], routes: [{ name: 'postfix' }] });
});
