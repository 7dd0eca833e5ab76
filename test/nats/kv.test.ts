import { afterAll, beforeAll, expect, test } from 'vitest';
import { OperatorError } from '../../src/errors.ts';
import type { Nats } from '../../src/nats/connect.ts';
import { openKv } from '../../src/nats/kv.ts';
import type { BucketName } from '../../src/nats/streams.ts';
import type { Kv } from '../../src/world.ts';
import { told } from '../contract/kv.ts';
import { connectTo, type NatsServer, startNats } from '../support/nats.ts';
import { connectWithStreams, reconnected } from '../support/streams.ts';

let server: NatsServer;
let nats: Nats;

beforeAll(async () => {
  server = await startNats();
  nats = await connectWithStreams(server, 1024 ** 3);
});
afterAll(async () => {
  await nats?.close();
  await server?.stop();
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Writes until NATS takes it again. */
async function createPatiently(kv: Kv, key: string, value: string): Promise<void> {
  for (;;) {
    try {
      await kv.create(key, bytes(value));
      return;
    } catch (error) {
      expect(error).toMatchObject({ code: 451, status: '4.3.0' });
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

test('a watch goes on after nats-server was killed, without a row lost or told twice', async () => {
  const kv = await openKv(nats, 'troupe_slots');
  await kv.create('before', bytes('1'));
  const ending = new AbortController();
  const watch = kv.watch(ending.signal)[Symbol.asyncIterator]();
  expect(await told(watch, 2)).toEqual(['before=1', 'ready']);
  for (const round of [1, 2]) {
    await server.kill9();
    await server.restart();
    await createPatiently(kv, `after.${round}`, 'x');
    await createPatiently(kv, `more.${round}`, 'x');
    expect(await told(watch, 2)).toEqual([`after.${round}=x`, `more.${round}=x`]);
  }
  ending.abort();
});

test('while NATS is away reads and writes fail with 451 4.3.0', async () => {
  const other = await connectTo(server);
  const kv = await openKv(other, 'troupe_slots');
  const gone = new Promise<void>((resolve) => {
    other.onChange((connected) => {
      if (!connected) resolve();
    });
  });
  await server.kill9();
  await gone;
  const writing = kv.create('a', bytes('1'));
  await expect(writing).rejects.toMatchObject({ code: 451, status: '4.3.0' });
  await server.restart();
  await createPatiently(kv, 'again', '1');
  expect(await kv.get('again')).not.toBeNull();
  await reconnected(nats);
  await other.close();
});

test('a watcher of 5,000 rows that are still being written reads each once', async () => {
  const kv = await openKv(nats, 'troupe_directory');
  const all = Array.from({ length: 5_000 }, (_, i) => kv.create(`row.${i}`, bytes(String(i))));
  const ending = new AbortController();
  const seen: string[] = [];
  for await (const row of kv.watch(ending.signal)) {
    if (row === 'ready') continue;
    seen.push(row.key);
    if (seen.length === all.length) break;
  }
  await Promise.all(all);
  expect(new Set(seen).size).toBe(all.length);
});

test('a bucket that is full says 452 4.3.1 and keeps what it has', async () => {
  const kv = await openKv(nats, 'troupe_nodes');
  const row = new Uint8Array(8_000);
  let kept = 0;
  const filling = async (): Promise<never> => {
    for (;;) {
      await kv.create(`n${kept}`, row);
      kept += 1;
    }
  };
  await expect(filling()).rejects.toMatchObject({ code: 452, status: '4.3.1' });
  expect(kept).toBeGreaterThan(0);
  expect((await kv.get('n0'))?.value).toHaveLength(8_000);
});

test('rows of a bucket with a time to live are gone after it', async () => {
  const { config } = await nats.jsm.streams.info('KV_troupe_nodes');
  expect(config.max_age).toBe(15e9);
  expect(config.allow_direct).toBe(false);
});

test('what is no key is a bug, not a subject', async () => {
  const kv = await openKv(nats, 'troupe_slots');
  for (const key of ['', 'a b', 'a..b', '.a', '*', 'a.>', 'dev@example.org', 'a\r\nb']) {
    await expect(kv.get(key)).rejects.toThrow('not a key');
    await expect(kv.create(key, bytes('1'))).rejects.toThrow('not a key');
  }
});

test('a bucket that nobody made is told to the operator', async () => {
  const opening = openKv(nats, 'troupe_nothing' as BucketName);
  await expect(opening).rejects.toBeInstanceOf(OperatorError);
});
