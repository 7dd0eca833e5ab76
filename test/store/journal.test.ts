import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { type JournalStore, openJournal } from '../../src/store/journal.ts';
import { openEnv } from '../../src/store/open.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { createFakeDisk } from '../support/fake/disk.ts';

const CONNECTIONS = 5;

let path = '';
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'troupe-journal-'));
});
afterEach(() => rm(path, { recursive: true }));

const clock = createFakeClock();

async function open(): Promise<JournalStore> {
  const env = await openEnv(join(path, 'journal'), {
    ...{ disk: createFakeDisk(2 ** 40), log: silentLog, outlives: 'process' },
  });
  return openJournal(env, clock);
}

test('a process that comes back finds what its predecessor held open, and only that', async () => {
  const before = await open();
  before.journal.open('open', 'token', new Uint8Array([9, 8]));
  before.journal.open('closed', '', new Uint8Array([1]));
  await before.journal.accepted('open', [4, 5]);
  await before.journal.accepted('closed', [6]);
  before.journal.close('closed');
  before.journal.open('later', '', new Uint8Array([2]));
  await before.journal.accepted('later', [7]);
  await before.close();
  const after = await open();
  expect(after.journal.held()).toMatchObject([
    { name: 'open', ackToken: 'token', accepted: [4, 5] },
    { name: 'later', accepted: [7] },
  ]);
  expect([...(after.journal.held()[0]?.data ?? [])]).toEqual([9, 8]);
  await after.journal.accepted('open', [10]);
  expect(after.journal.acceptedOf('open')).toEqual([4, 5, 10]);
  await after.close();
});

test('nothing of a closed chunk is left in the store', async () => {
  const first = await open();
  first.journal.open('a', '', new Uint8Array([1]));
  for (let number = 0; number < 20; number += 1) await first.journal.accepted('a', [number]);
  first.journal.close('a');
  await first.close();
  const second = await open();
  // The number of the chunk's rows is free again, and no row of the old one is taken for the new one's.
  second.journal.open('b', '', new Uint8Array([1]));
  await second.close();
  const third = await open();
  expect(third.journal.held()).toMatchObject([{ name: 'b', accepted: [] }]);
  await third.close();
});

test('a suspect whose process died is counted by the next', async () => {
  for (const deaths of [0, 1, 2]) {
    const { suspects, close } = await open();
    expect(suspects.begin('queue:7')).toBe(deaths);
    await close();
  }
});

test('killed -9, it has whom it said it had noted, and at most one more a connection', async () => {
  const program = new URL('./journal-process.mjs', import.meta.url).pathname;
  const file = join(path, 'said');
  const child = spawn(process.execPath, [program, join(path, 'journal'), file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  const [, signal] = await once(child, 'close');
  expect(signal).toBe('SIGKILL');
  const said = (await readFile(file, 'utf8')).split('\n').slice(0, -1).map(Number);
  expect(said.length).toBeGreaterThanOrEqual(500);
  const { journal, close } = await open();
  const noted = new Set(journal.acceptedOf('chunk'));
  expect(said.filter((number) => !noted.has(number))).toEqual([]);
  expect(noted.size - said.length).toBeLessThanOrEqual(CONNECTIONS);
  await close();
});
