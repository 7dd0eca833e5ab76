import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { OperatorError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import { closeEnv, DISK_FREE_BYTES_MIN, type Env, openEnv } from '../../src/store/open.ts';
import { createFakeDisk } from '../support/fake/disk.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'troupe-env-'));
});
afterEach(() => rm(directory, { recursive: true }));

const open = (freeBytes = 2 ** 40): Promise<Env> =>
  openEnv(join(directory, 'state'), { disk: createFakeDisk(freeBytes), log: silentLog });

async function filled(): Promise<string> {
  const env = await open();
  for (let n = 0; n < 2_000; n += 1) void env.put(['key', n], 'x'.repeat(100));
  await env.flushed;
  await env.close();
  return join(directory, 'state', 'data.mdb');
}

test('a store that is whole is opened as it was', async () => {
  await filled();
  const env = await open();
  expect(env.get(['key', 1_999])).toBe('x'.repeat(100));
  expect(await readdir(directory)).toEqual(['state']);
  await env.close();
});

test('on a disk that is nearly full nothing is opened, and the next step is named', async () => {
  const error = await open(DISK_FREE_BYTES_MIN - 1).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(OperatorError);
});

const DAMAGES: Readonly<Record<string, (file: string) => Promise<void>>> = {
  garbage: (file) => writeFile(file, Buffer.alloc(20_000, 7)),
  'a few bytes': (file) => writeFile(file, 'hello'),
  'half of it': async (file) => truncate(file, (await readFile(file)).length / 2),
  'a torn first page': async (file) => {
    const bytes = await readFile(file);
    await writeFile(file, bytes.fill(9, 0, 4096));
  },
  'a torn second page': async (file) => {
    const bytes = await readFile(file);
    await writeFile(file, bytes.fill(9, 4096, 8192));
  },
};
for (const [what, damage] of Object.entries(DAMAGES)) {
  test(`a store that is ${what} is moved aside whole, and begun anew`, async () => {
    const file = await filled();
    await damage(file);
    const damaged = await readFile(file);
    const env = await open();
    expect(env.get(['key', 1])).toBeUndefined();
    await env.put('new', 1);
    await env.close();
    const aside = (await readdir(directory)).find((name) => name.includes('.damaged-')) ?? '';
    expect((await readFile(join(directory, aside, 'data.mdb'))).equals(damaged)).toBe(true);
  });
}

const quick = (): Promise<Env> =>
  openEnv(join(directory, 'journal'), {
    ...{ disk: createFakeDisk(2 ** 40), log: silentLog, outlives: 'process' },
  });

test('what outlives the process only is found again by the next, closed or not', async () => {
  const first = await quick();
  first.transactionSync(() => first.putSync('a', 1));
  await closeEnv(first);
  const second = await quick();
  expect(second.get('a')).toBe(1);
  await second.close();
  const third = await quick();
  expect(third.get('a')).toBe(1);
  await closeEnv(third);
});

test('what was open when the machine went down is moved aside; what was closed is trusted', async () => {
  const mark = join(directory, 'journal', 'opened-in');
  const first = await quick();
  first.putSync('a', 1);
  await closeEnv(first);
  expect(await readFile(mark, 'utf8')).toBe('closed');
  const second = await quick();
  await second.close();
  await writeFile(mark, 'another boot');
  const third = await quick();
  expect(third.get('a')).toBeUndefined();
  await closeEnv(third);
  expect((await readdir(directory)).length).toBe(2);
});
