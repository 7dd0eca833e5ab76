import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { APPEND_BYTES_MAX } from '../../src/store/append-file.ts';
import { type JournalStore, openJournal } from '../../src/store/journal.ts';
import { createFakeClock } from '../support/fake/clock.ts';

let path = '';
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'troupe-journal-'));
});
afterEach(() => rm(path, { recursive: true }));

const clock = createFakeClock();

const BY = { route: 'mta', at: 1_790_000_000_000 };
const by = (...numbers: readonly number[]) => new Map(numbers.map((number) => [number, BY]));

const open = (): Promise<JournalStore> =>
  openJournal(join(path, 'chunks'), { clock, log: silentLog });

test('a process that comes back finds what its predecessor held open, and only that', async () => {
  const before = await open();
  before.journal.open('open', 'token', new Uint8Array([9, 8]));
  before.journal.open('closed', '', new Uint8Array([1]));
  before.journal.accepted('open', [4, 5], BY);
  before.journal.accepted('closed', [6], BY);
  before.journal.close('closed');
  before.journal.open('later', '', new Uint8Array([2]));
  before.journal.accepted('later', [7], BY);
  before.close();
  const after = await open();
  expect(after.journal.held()).toMatchObject([
    { name: 'open', ackToken: 'token', accepted: by(4, 5) },
    { name: 'later', accepted: by(7) },
  ]);
  expect([...(after.journal.held()[0]?.data ?? [])]).toEqual([9, 8]);
  after.journal.accepted('open', [10], BY);
  expect(after.journal.acceptedOf('open')).toEqual(by(4, 5, 10));
  after.close();
});

test('nothing of a closed chunk is left in the store', async () => {
  const first = await open();
  first.journal.open('a', '', new Uint8Array([1]));
  for (let number = 0; number < 20; number += 1) first.journal.accepted('a', [number], BY);
  first.journal.close('a');
  first.close();
  const second = await open();
  // What the old one was called is free again, and nothing of it is taken for the new one's.
  second.journal.open('b', '', new Uint8Array([1]));
  second.close();
  const third = await open();
  expect(third.journal.held()).toMatchObject([{ name: 'b', accepted: by() }]);
  third.close();
});

test('a suspect whose process died is counted by the next', async () => {
  for (const deaths of [0, 1, 2]) {
    const { suspects, close } = await open();
    expect(suspects.begin('queue:7')).toBe(deaths);
    close();
  }
});

test('killed -9, it has whom it said it had noted, and at most one more', async () => {
  const program = new URL('./journal-process.mjs', import.meta.url).pathname;
  const file = join(path, 'said');
  const child = spawn(process.execPath, [program, join(path, 'chunks'), file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  const [, signal] = await once(child, 'close');
  expect(signal).toBe('SIGKILL');
  const said = (await readFile(file, 'utf8')).split('\n').slice(0, -1).map(Number);
  expect(said.length).toBeGreaterThanOrEqual(500);
  const { journal, close } = await open();
  const noted = new Set(journal.acceptedOf('chunk').keys());
  expect(said.filter((number) => !noted.has(number))).toEqual([]);
  expect(noted.size - said.length).toBeLessThanOrEqual(1);
  close();
});

test('a file that has grown is begun again with what is open', async () => {
  const { journal, close } = await open();
  journal.open('open', 'token', new Uint8Array([1]));
  journal.accepted('open', [1, 2], BY);
  const large = new Uint8Array(APPEND_BYTES_MAX / 8);
  for (let n = 0; n < 12; n += 1) {
    journal.open(`large ${n}`, '', large);
    journal.close(`large ${n}`);
  }
  journal.accepted('open', [3], { ...BY, route: 'other' });
  close();
  expect((await stat(join(path, 'chunks'))).size).toBeLessThan(APPEND_BYTES_MAX);
  const after = await open();
  expect(after.journal.held()).toMatchObject([
    { name: 'open', accepted: by(1, 2).set(3, { ...BY, route: 'other' }) },
  ]);
  after.close();
});

test('a line that was torn spoils nothing but itself', async () => {
  const before = await open();
  before.journal.open('one', 'token', new Uint8Array([1]));
  await writeFile(join(path, 'chunks'), '\n["accepted",1,1', { flag: 'a' });
  before.journal.accepted('one', [2], BY);
  const after = await open();
  expect(after.journal.held()).toMatchObject([{ name: 'one', accepted: by(2) }]);
  after.close();
});

test('whom an older version noted is noted, though not by which route', async () => {
  const before = await open();
  before.journal.open('one', 'token', new Uint8Array([1]));
  await writeFile(join(path, 'chunks'), '\n["accepted",1,7,8]\n', { flag: 'a' });
  const after = await open();
  const unknown = { route: '', at: clock.now() };
  expect([...after.journal.acceptedOf('one')]).toEqual([
    [7, unknown],
    [8, unknown],
  ]);
  after.close();
});

test('what was open when the machine went down is moved aside, what was closed before is not', async () => {
  const closed = await open();
  closed.journal.open('one', '', new Uint8Array([1]));
  closed.close();
  await rebooted();
  const left = await open();
  expect(left.journal.held()).toMatchObject([{ name: 'one' }]);
  await rebooted();
  const after = await open();
  expect(after.journal.held()).toEqual([]);
  after.close();
  expect((await readdir(path)).filter((name) => name.includes('.damaged-'))).toHaveLength(1);
});

/** As if another boot of the machine had written it. */
async function rebooted(): Promise<void> {
  const file = join(path, 'chunks');
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace(/\["began","[^"]+"\]/, '["began","another boot"]'));
}
