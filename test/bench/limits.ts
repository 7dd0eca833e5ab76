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
/** Of what the site's own streams leave of the store. */
const STREAM_BYTES_MAX = 100 * 1024 * 1024;

/**
 * Things a second that the site's own server stores if nobody does anything else, `inFlight` at once: each thing's messages one after
 * the other, the i-th of each in the i-th stream, synced before it is acknowledged.
 */
export async function storeRate(
  bench: BenchSite,
  things: readonly (readonly Uint8Array[])[],
  inFlight: number,
): Promise<number> {
  const nats = bench.nats();
  const names = (things[0] ?? []).map((_, i) => ({
    stream: `${STREAM}_${i}`,
    subject: subjectOf(i),
  }));
  for (const { stream: name, subject } of names) {
    const max_bytes = STREAM_BYTES_MAX / names.length;
    await nats.jsm.streams.add({ name, subjects: [subject], max_bytes });
  }
  const publisher = createPublisher(nats);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let thing = things[next++]; thing !== undefined; thing = things[next++]) {
      for (const [i, message] of thing.entries()) await publisher.publish(subjectOf(i), message);
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: inFlight }, work));
  const ms = performance.now() - startedAt;
  publisher.close();
  for (const { stream } of names) await nats.jsm.streams.delete(stream);
  return (things.length * 1_000) / ms;
}

const subjectOf = (i: number): string => `bench.limit.${i}`;

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
