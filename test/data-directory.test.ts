/** One instance a data directory: made, refused, taken over. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { claimForSite, holderOf, openDataDirectory } from '../src/data-directory.ts';
import { OperatorError } from '../src/errors.ts';

let base: string;
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'troupe-data-'));
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

/** Another process that holds `path` until it is killed. */
async function holder(path: string): Promise<ChildProcess> {
  const module = join(import.meta.dirname, '..', 'src', 'data-directory.ts');
  const script = `
    const { openDataDirectory } = await import(${JSON.stringify(module)});
    await openDataDirectory(${JSON.stringify(path)}).then(
      () => console.log('held'), (error) => console.log(error.message));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  expect(said.toString()).toBe('held\n');
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

test('a missing data directory is made, for its owner only', async () => {
  const opened = await openDataDirectory(join(base, 'new', 'deep'));
  expect(statSync(opened.path).mode & 0o777).toBe(0o700);
  await opened.release();
  expect(readdirSync(opened.path)).toEqual([]);
});

test('a second instance is refused while the first lives, and told its process id', async () => {
  const path = join(base, 'twice');
  const first = await holder(path);
  await expect(openDataDirectory(path)).rejects.toThrow(`process ${first.pid}`);
  expect(await holderOf(path)).toBe(first.pid);
  await kill(first);
});

test('the lock of an instance that was killed is taken over', async () => {
  const path = join(base, 'killed');
  await kill(await holder(path));
  expect(await holderOf(path)).toBeNull();
  const opened = await openDataDirectory(path);
  expect(await holderOf(path)).toBe(process.pid);
  await opened.release();
});

test('a lock whose process id was given to another process is stale', async () => {
  const path = join(base, 'reused');
  const opened = await openDataDirectory(path);
  writeFileSync(join(path, 'lock'), JSON.stringify({ pid: process.pid, started: 'long ago' }));
  const again = await openDataDirectory(path);
  await again.release();
  await opened.release();
});

test('a lock that is empty or damaged is stale', async () => {
  const path = join(base, 'damaged');
  await (await openDataDirectory(path)).release();
  writeFileSync(join(path, 'lock'), '');
  await (await openDataDirectory(path)).release();
});

test.each(Array.from({ length: 10 }, (_, i) => i))(
  'of many that start at once over a stale lock exactly one gets it, time %i',
  async (time) => {
    const path = join(base, `crowd-${time}`);
    await (await openDataDirectory(path)).release();
    writeFileSync(join(path, 'lock'), JSON.stringify({ pid: process.pid, started: 'long ago' }));
    const all = await Promise.allSettled(Array.from({ length: 20 }, () => openDataDirectory(path)));
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(readdirSync(path)).toEqual(['lock']);
  },
);

test('releasing leaves the lock of whoever took it over', async () => {
  const path = join(base, 'late');
  const opened = await openDataDirectory(path);
  const other = JSON.stringify({ pid: 1, started: 'another' });
  writeFileSync(join(path, 'lock'), other);
  await opened.release();
  expect(readFileSync(join(path, 'lock'), 'utf8')).toBe(other);
});

test('a directory that cannot be written is refused with the next step', async () => {
  writeFileSync(join(base, 'file'), '');
  const refused = await openDataDirectory(join(base, 'file', 'data')).catch((e: unknown) => e);
  expect(refused).toBeInstanceOf(OperatorError);
  expect((refused as OperatorError).message).toContain('cannot be written');
  expect((refused as OperatorError).nextStep).toContain('`data`');
});

test('a directory that belongs to one site is refused to another', async () => {
  const directory = mkdtempSync(join(base, 'site-id-'));
  await claimForSite(directory, 'one');
  await claimForSite(directory, 'one');
  await expect(claimForSite(directory, 'two')).rejects.toThrow('belongs to the site one');
});
