/** What this machine would do at most, measured in the same run: the least that each promise costs without the program. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { createPublisher } from '../../src/nats/publisher.ts';
import { startNats } from '../support/nats.ts';
import { rssMbOf } from './processes.ts';
import type { Scene } from './scene.ts';
import type { BenchSite } from './site.ts';

const STREAM = 'BENCH_LIMIT';
const SUBJECT = 'bench.limit';
/** Of what the site's own streams leave of the store. */
const STREAM_BYTES_MAX = 100 * 1024 * 1024;

/** Appends raw records to a file stream of the site's own server, each synced before it is acknowledged; records a second. */
export async function appendRate(
  bench: BenchSite,
  records: readonly Uint8Array[],
  inFlight: number,
): Promise<number> {
  const nats = bench.nats();
  const { streams } = nats.jsm;
  await streams.add({ name: STREAM, subjects: [SUBJECT], max_bytes: STREAM_BYTES_MAX });
  const publisher = createPublisher(nats);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let record = records[next++]; record !== undefined; record = records[next++]) {
      await publisher.publish(SUBJECT, record);
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: inFlight }, work));
  const ms = performance.now() - startedAt;
  publisher.close();
  await streams.delete(STREAM);
  return (records.length * 1_000) / ms;
}

/**
 * What a thing has stored on its way, message after message, each kind in a stream of its own and synced before it is acknowledged;
 * so many things a second the site's own server stores if nobody does anything else, `inFlight` at once.
 */
export async function storeRate(
  bench: BenchSite,
  bytesOfEach: readonly number[],
  count: number,
  inFlight: number,
): Promise<number> {
  const nats = bench.nats();
  const { streams } = nats.jsm;
  const kinds = bytesOfEach.map((bytes, i) => ({ data: Buffer.alloc(bytes, 'x'), i }));
  for (const { i } of kinds) {
    const limits = { max_bytes: STREAM_BYTES_MAX / kinds.length };
    await streams.add({ name: `${STREAM}_${i}`, subjects: [`${SUBJECT}.${i}`], ...limits });
  }
  const publisher = createPublisher(nats);
  let begun = 0;
  const work = async (): Promise<void> => {
    while (begun++ < count) {
      for (const { data, i } of kinds) await publisher.publish(`${SUBJECT}.${i}`, data);
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: inFlight }, work));
  const ms = performance.now() - startedAt;
  publisher.close();
  for (const { i } of kinds) await streams.delete(`${STREAM}_${i}`);
  return (count * 1_000) / ms;
}

/** The resident set of a nats-server on this store and of a Node that does nothing, after so long, MiB. */
export async function bareRssMb(data: string, restMs: number, scene: Scene): Promise<number> {
  const server = await startNats({ storeDir: join(data, 'nats') });
  scene.closing(server.stop);
  const node = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e9)'], { stdio: 'ignore' });
  scene.closing(() => node.kill('SIGKILL'));
  await pause(restMs);
  const mb = rssMbOf(server.pid()) + rssMbOf(node.pid ?? 0);
  node.kill('SIGKILL');
  await once(node, 'exit');
  await server.stop();
  return mb;
}
