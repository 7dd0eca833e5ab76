import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OperatorError } from '../../src/errors.ts';
import { type Log, silentLog } from '../../src/log.ts';
import { ensureStreams, streamConfigs } from '../../src/nats/streams.ts';
import { connectTo, type Site, startNats, startSite } from '../support/nats.ts';

type Warning = { fields: Readonly<Record<string, unknown>>; text: string };

/** A log that keeps what it is warned of. */
function keepingLog(): { log: Log; warnings: Warning[] } {
  const warnings: Warning[] = [];
  const log: Log = {
    ...silentLog,
    debug: () => {},
    info: () => {},
    warn: (fields, text) => warnings.push({ fields, text }),
    error: () => {},
    fatal: () => {},
    child: () => log,
  };
  return { log, warnings };
}

const GIB = 1024 ** 3;
const options = { replicas: 1, maxFileStore: GIB, log: silentLog };

describe('on a server', () => {
  let site: Site;
  beforeAll(async () => {
    site = await startSite();
  });
  afterAll(() => site.stop());

  test('all streams, buckets and durables are made', async () => {
    const names: string[] = [];
    for await (const { config } of site.nats.jsm.streams.list()) names.push(config.name);
    expect(names).toHaveLength(15);
    const consumers: Record<string, number> = {};
    for (const name of names) {
      const { state } = await site.nats.jsm.streams.info(name);
      if (state.consumer_count > 0) consumers[name] = state.consumer_count;
    }
    expect(consumers).toEqual({
      TROUPE_MAIL: 4,
      TROUPE_MAILBOX: 64,
      TROUPE_OUTGOING: 4,
      TROUPE_LATER: 1,
    });
  });

  test('doing it again changes nothing, says nothing and asks little', async () => {
    const { log, warnings } = keepingLog();
    const before = site.nats.nc.stats().outMsgs;
    await ensureStreams(site.nats, { ...options, log });
    // Pages of names, not a request for each of the streams and consumers.
    expect(site.nats.nc.stats().outMsgs - before).toBeLessThan(20);
    expect(warnings).toEqual([]);
  });

  test('several nodes that start at once do not hinder each other', async () => {
    const fresh = await startNats();
    const nodes = await Promise.all([connectTo(fresh), connectTo(fresh), connectTo(fresh)]);
    await Promise.all(nodes.map((nats) => ensureStreams(nats, options)));
    await Promise.all(nodes.map((nats) => nats.close()));
    await fresh.stop();
  });

  test('a setting that an operator changed is told as drift and left alone', async () => {
    const { jsm } = site.nats;
    const { config } = await jsm.streams.info('TROUPE_PARKED');
    await jsm.streams.update('TROUPE_PARKED', { ...config, max_age: 1e15 });
    const consumer = await jsm.consumers.info('TROUPE_MAILBOX', 'mailbox_3');
    await jsm.consumers.update('TROUPE_MAILBOX', 'mailbox_3', {
      ...consumer.config,
      max_ack_pending: 7,
    });
    const { log, warnings } = keepingLog();
    await ensureStreams(site.nats, { ...options, log });
    expect(warnings.map(({ fields }) => fields)).toEqual([
      { stream: 'TROUPE_PARKED', drift: { max_age: { stated: 7_776e12, is: 1e15 } } },
      {
        stream: 'TROUPE_MAILBOX',
        consumer: 'mailbox_3',
        drift: { max_ack_pending: { stated: 1_024, is: 7 } },
      },
    ]);
    expect((await jsm.streams.info('TROUPE_PARKED')).config.max_age).toBe(1e15);
  });

  test('what is missing is made again beside what is there', async () => {
    await site.nats.jsm.consumers.delete('TROUPE_OUTGOING', 'outgoing_bulk');
    await site.nats.jsm.streams.delete('TROUPE_BOUNCES');
    await ensureStreams(site.nats, options);
    const { config } = await site.nats.jsm.consumers.info('TROUPE_OUTGOING', 'outgoing_bulk');
    expect(config.ack_wait).toBe(120e9);
    expect((await site.nats.jsm.streams.info('TROUPE_BOUNCES')).state.messages).toBe(0);
  });

  test('of short results the oldest go before their subjects fill the server’s memory', async () => {
    const small = await startNats();
    const nats = await connectTo(small);
    await ensureStreams(nats, { ...options, maxFileStore: 20 * 1024 * 100 });
    const tell = (post: number) => nats.js.publish(`troupe.results.0.k.${post}.0.0`, '{}');
    for (let post = 1; post <= 130; post += 1) await tell(post);
    const { state } = await nats.jsm.streams.info('TROUPE_RESULTS');
    expect([state.first_seq, state.messages]).toEqual([31, 100]);
    await nats.close();
    await small.stop();
  });

  test('a record of the ledger cannot be deleted', async () => {
    const { seq } = await site.publisher.publish(`troupe.ledger.0.${'a'.repeat(26)}`, Buffer.of(1));
    await expect(site.nats.jsm.streams.deleteMessage('TROUPE_LEDGER', seq)).rejects.toThrow();
  });
});

test('a server without room is told to the operator', async () => {
  const server = await startNats({ maxFileStore: 100_000_000 });
  const nats = await connectTo(server);
  const failing = ensureStreams(nats, options);
  await expect(failing).rejects.toBeInstanceOf(OperatorError);
  await expect(failing).rejects.toThrow('has no room for the stream');
  await nats.close();
  await server.stop();
});

describe('what is stated', () => {
  const configs = streamConfigs({ replicas: 3, maxFileStore: GIB });

  test('the shares leave room', () => {
    const bytes = configs.reduce((sum, { max_bytes }) => sum + Number(max_bytes), 0);
    expect(bytes / GIB).toBeGreaterThan(0.98);
    expect(bytes / GIB).toBeLessThan(0.995);
  });

  test('every stream is on disk, replicated, bounded, and read from its leader', () => {
    for (const config of configs) {
      expect(config).toMatchObject({ storage: 'file', num_replicas: 3, allow_direct: false });
      expect(Number(config.max_bytes)).toBeGreaterThan(0);
      expect(Number(config.max_msg_size)).toBeGreaterThanOrEqual(768 * 1024);
    }
  });

  test('only LATER, PARKED and RESULTS lose the oldest when full', () => {
    const losing = configs.filter((config) => config.discard === 'old');
    expect(losing.map(({ name }) => name)).toEqual([
      'TROUPE_LATER',
      'TROUPE_RESULTS',
      'TROUPE_PARKED',
    ]);
  });
});
