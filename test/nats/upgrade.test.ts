/** A site that an earlier version made is brought to what this one states: once, and nothing else is touched. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { type Log, silentLog } from '../../src/log.ts';
import { ensureStreams } from '../../src/nats/ensure.ts';
import { openKv } from '../../src/nats/kv.ts';
import { readSite, replaceSite, type Site as SiteRow } from '../../src/nats/site-row.ts';
import { apiRequest } from '../../src/nats/stored.ts';
import { type Change, consumerConfigs, SCHEMA, streamConfigs } from '../../src/nats/streams.ts';
import { upgradeSite } from '../../src/nats/upgrade.ts';
import type { Kv } from '../../src/world.ts';
import { keepingLog } from '../support/keeping-log.ts';
import { connectTo, type Site, startSite } from '../support/nats.ts';

const GIB = 1024 ** 3;
const options = { replicas: 1, maxFileStore: GIB };
const EARLIER: SiteRow = { clusterId: 'c0ffee', slots: 64, schema: 1 };

let site: Site;
let rows: Kv;

beforeAll(async () => {
  site = await startSite();
  rows = await openKv(site.nats, 'troupe_site');
});
afterAll(() => site?.stop());
beforeEach(async () => {
  await write(EARLIER);
  await set('TROUPE_RESULTS', { max_age: 2_592e12, max_msgs: -1 });
  await set('TROUPE_BOUNCES', { allow_atomic: false });
});

async function write(row: SiteRow): Promise<void> {
  const { revision } = (await readSite(rows, Number.POSITIVE_INFINITY)) ?? { revision: 0 };
  expect(await replaceSite(rows, row, revision)).not.toBeNull();
}

const configOf = async (stream: string) => (await site.nats.jsm.streams.info(stream)).config;

/** As an operator does by hand. */
async function set(stream: string, settings: Readonly<Record<string, unknown>>): Promise<void> {
  const config = { ...(await configOf(stream)), ...settings };
  const { error } = await apiRequest(site.nats, `$JS.API.STREAM.UPDATE.${stream}`, config);
  expect(error).toBeUndefined();
}

const isBatched = async (): Promise<unknown> =>
  ((await configOf('TROUPE_BOUNCES')) as { readonly allow_atomic?: boolean }).allow_atomic;

/** A version of ours that states what this one does, and once stated `changes`. */
function upgradeTo(schema: number, changes: readonly Change[], log: Log = silentLog) {
  const streams = streamConfigs(options);
  const consumers = consumerConfigs({});
  const { signal } = new AbortController();
  const stated = (stream: string, consumer: string | undefined) =>
    consumer === undefined
      ? streams.find(({ name }) => name === stream)
      : consumers.find(([, { durable_name }]) => durable_name === consumer)?.[1];
  const { nats } = site;
  return upgradeSite({
    ...{ nats, rows, log, signal, schema, changes, stated },
    clock: systemClock,
  });
}

test('what an earlier version stated is changed, and said', async () => {
  const { log, said } = keepingLog();
  await ensureStreams(site.nats, { ...options, log });
  expect(await isBatched()).toBe(true);
  expect(said('info')).toEqual([
    { stream: 'TROUPE_BOUNCES', setting: 'allow_atomic', from: undefined, to: true },
    { stream: 'TROUPE_RESULTS', setting: 'max_msgs', from: -1, to: expect.any(Number) },
    { from: 1, to: SCHEMA },
  ]);
  expect(said('warn')).toEqual([]);
  expect((await readSite(rows))?.site).toEqual({ ...EARLIER, schema: SCHEMA });
});

test('what an operator changed by hand is left alone, before an upgrade and after it', async () => {
  await set('TROUPE_RESULTS', { max_age: 7e15 });
  await ensureStreams(site.nats, { ...options, log: silentLog });
  await set('TROUPE_BOUNCES', { allow_atomic: false });
  const { log, said } = keepingLog();
  await ensureStreams(site.nats, { ...options, log });
  expect(await isBatched()).toBeFalsy();
  expect((await configOf('TROUPE_RESULTS')).max_age).toBe(7e15);
  expect(said('info')).toEqual([]);
  expect(said('warn')).toMatchObject([
    { stream: 'TROUPE_RESULTS', setting: 'max_age', is: 7e15 },
    { stream: 'TROUPE_BOUNCES', setting: 'allow_atomic', is: undefined },
  ]);
});

test('nodes that start at once upgrade once, and all wait until it is done', async () => {
  const nodes = await Promise.all([1, 2, 3].map(() => connectTo(site.server)));
  const logs = nodes.map(() => keepingLog());
  await Promise.all(
    nodes.map(async (nats, i) => {
      await ensureStreams(nats, { ...options, log: logs[i]?.log ?? silentLog });
      expect(await isBatched()).toBe(true);
    }),
  );
  expect(logs.flatMap(({ said }) => said('info'))).toHaveLength(3);
  await Promise.all(nodes.map((nats) => nats.close()));
});

test('what a node that died began is done by the next', async () => {
  await write({ ...EARLIER, isUpgrading: true });
  let now = 0;
  const sleep = async (ms: number) => {
    now += ms;
  };
  const clock = { ...systemClock, sleep, monotonic: () => now };
  await ensureStreams(site.nats, { ...options, clock, log: silentLog });
  expect(await isBatched()).toBe(true);
  expect(now).toBeGreaterThanOrEqual(10_000);
  expect((await readSite(rows))?.site.isUpgrading).toBeUndefined();
});

test('a durable is changed too; settings of several versions in one go', async () => {
  await set('TROUPE_RESULTS', { max_age: 6e15, duplicate_window: 60e9 });
  const consumer = await site.nats.jsm.consumers.info('TROUPE_MAILBOX', 'mailbox_3');
  const config = { ...consumer.config, max_ack_pending: 256 };
  await site.nats.jsm.consumers.update('TROUPE_MAILBOX', 'mailbox_3', config);
  const of = { stream: 'TROUPE_MAILBOX', consumer: 'mailbox_3' };
  const { log, said } = keepingLog();
  await upgradeTo(
    5,
    [
      { schema: 1, stream: 'TROUPE_RESULTS', setting: 'duplicate_window', was: 60e9 },
      { schema: 3, stream: 'TROUPE_RESULTS', setting: 'max_age', was: 5e15 },
      { schema: 4, stream: 'TROUPE_RESULTS', setting: 'max_age', was: 6e15 },
      { schema: 4, ...of, setting: 'max_ack_pending', was: 256 },
      { schema: 5, stream: 'TROUPE_GONE', setting: 'max_age', was: 1 },
    ],
    log,
  );
  // Of version 1 it has been since long: what it is now, somebody wanted.
  expect(await configOf('TROUPE_RESULTS')).toMatchObject({
    ...{ max_age: 2_592e12, duplicate_window: 60e9 },
  });
  const changed = await site.nats.jsm.consumers.info('TROUPE_MAILBOX', 'mailbox_3');
  expect(changed.config.max_ack_pending).toBe(1_024);
  expect(said('info')).toHaveLength(3);
});

test('a node of an earlier version does not start, and makes nothing', async () => {
  await site.nats.jsm.streams.delete('TROUPE_PARKED');
  await write({ ...EARLIER, schema: SCHEMA + 1 });
  const starting = ensureStreams(site.nats, { ...options, log: silentLog });
  await expect(starting).rejects.toThrow(
    `by a later version (schema ${SCHEMA + 1}, not ${SCHEMA})`,
  );
  await expect(configOf('TROUPE_PARKED')).rejects.toThrow('stream not found');
});

test('what the server cannot change in place is told, and the site stays of its version', async () => {
  await site.nats.jsm.streams.delete('TROUPE_ARCHIVE');
  const archive = streamConfigs(options).find(({ name }) => name === 'TROUPE_ARCHIVE');
  const { error } = await apiRequest(site.nats, '$JS.API.STREAM.CREATE.TROUPE_ARCHIVE', {
    ...archive,
    storage: 'memory',
  });
  expect(error).toBeUndefined();
  const changes = [{ schema: 3, stream: 'TROUPE_ARCHIVE', setting: 'storage', was: 'memory' }];
  await expect(upgradeTo(3, changes)).rejects.toMatchObject({
    name: 'OperatorError',
    message: expect.stringMatching(
      /cannot change `storage` of TROUPE_ARCHIVE from memory to file: .*can not change storage type/,
    ),
    nextStep: expect.stringContaining('version of Troupe that ran here before'),
  });
  expect((await readSite(rows))?.site).toEqual(EARLIER);
});
