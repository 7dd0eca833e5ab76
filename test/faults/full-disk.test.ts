/** A nats-server that met a full disk answers nothing that is to be stored until it is restarted: who restarts it, and when. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { watchFullDisk } from '../../src/full-disk.ts';
import { silentLog } from '../../src/log.ts';
import { hasMetFullDisk } from '../../src/nats/server-process.ts';
import { DISK_FREE_BYTES_MIN } from '../../src/store/open.ts';
import { createFakeClock } from '../support/fake/clock.ts';

/** A site that looks; what its server and disk are like can be changed. */
function looking(options: { readonly isOurs: boolean }) {
  const clock = createFakeClock();
  const stopping = new AbortController();
  const lines: string[] = [];
  const state = { silent: ['mail'] as string[], hasMetFullDisk: true, free: 0, restarts: 0 };
  const child = {
    hasMetFullDisk: async () => state.hasMetFullDisk,
    restart: async () => {
      state.restarts += 1;
    },
  };
  const say = (_: unknown, text: string): void => void lines.push(text);
  const log = { ...silentLog, warn: say, error: say };
  const watching = watchFullDisk(
    {
      ...{ silent: () => state.silent, clock, log, child: options.isOurs ? child : null },
      disk: { freeBytes: async () => state.free },
    },
    stopping.signal,
  );
  const stop = async (): Promise<void> => {
    stopping.abort();
    await watching;
  };
  return { state, lines, clock, stop };
}

test('our server is restarted once there is room, and not before', async () => {
  const { state, lines, clock, stop } = looking({ isOurs: true });
  await clock.advance(60_000);
  expect(state.restarts).toBe(0);
  expect(new Set(lines)).toEqual(
    new Set(['the disk of nats-server is full: make room; it is restarted then']),
  );
  state.free = DISK_FREE_BYTES_MIN + 1;
  await clock.advance(10_000);
  expect(state.restarts).toBe(1);
  await stop();
});

test('one that is silent for another reason is not restarted, nor one that stores', async () => {
  const { state, lines, clock, stop } = looking({ isOurs: true });
  state.free = 10 * DISK_FREE_BYTES_MIN;
  state.hasMetFullDisk = false;
  await clock.advance(120_000);
  expect(lines.every((line) => line.includes('see its log'))).toBe(true);
  lines.length = 0;
  state.hasMetFullDisk = true;
  state.silent = [];
  await clock.advance(600_000);
  expect({ lines, restarts: state.restarts }).toEqual({ lines: [], restarts: 0 });
  await stop();
});

test('one that does not come right is restarted once a minute at most', async () => {
  const { state, clock, stop } = looking({ isOurs: true });
  state.free = 10 * DISK_FREE_BYTES_MIN;
  await clock.advance(10 * 60_000);
  expect(state.restarts).toBeGreaterThan(1);
  expect(state.restarts).toBeLessThanOrEqual(10);
  await stop();
});

test('a server that is not ours is told of, once a minute', async () => {
  const { state, lines, clock, stop } = looking({ isOurs: false });
  state.free = 10 * DISK_FREE_BYTES_MIN;
  await clock.advance(5 * 60_000);
  expect(state.restarts).toBe(0);
  expect(lines.length).toBeGreaterThan(1);
  expect(lines.length).toBeLessThanOrEqual(5);
  await stop();
});

test('only what the server has said since it was started counts', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-full-'));
  const log = join(directory, 'log');
  const start = '[7] 2026/11/21 23:28:18.280421 [INF] Starting nats-server\n';
  const full =
    "[7] 2026/11/21 23:27:37.646046 [ERR] JetStream stream '$G > A' critical write error: write 1.blk: no space left on device\n";
  const off = '[7] 2026/11/21 23:27:37.646046 [ERR] JetStream out of resources, will be DISABLED\n';
  const told: [string, boolean][] = [
    [start, false],
    [start + full, true],
    [start + off, true],
    [start + full + start, false],
    [start + full + 'x'.repeat(20_000), true],
    [full.repeat(3_000), true],
  ];
  for (const [text, isFull] of told) {
    writeFileSync(log, text);
    expect(await hasMetFullDisk(log)).toBe(isFull);
  }
  rmSync(directory, { recursive: true });
});
