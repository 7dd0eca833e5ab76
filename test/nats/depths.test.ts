/** What the doctor reads of streams, durables and servers, from a real server. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { consumerStates, streamStates } from '../../src/nats/depths.ts';
import { seenServers, syncAt } from '../../src/nats/servers.ts';
import { streamConfigs } from '../../src/nats/streams.ts';
import { freePort } from '../support/free-port.ts';
import { type Site, startNats, startSite } from '../support/nats.ts';

let site: Site;
const options = { outgoingAckWaitMs: 120_000 };

beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site?.stop());

test('a site that was just made drifts nowhere and is nowhere full', async () => {
  expect(await consumerStates(site.nats, options)).toEqual({ full: [], drift: [] });
  const { streams, drift } = await streamStates(site.nats);
  expect(drift).toEqual([]);
  expect(streams).toHaveLength(streamConfigs({ replicas: 1, maxFileStore: 0 }).length);
  expect(streams[0]).toMatchObject({ replicas: 1, sick: [] });
});

test('a durable that somebody changed or deleted is told, with its stream', async () => {
  const { jsm } = site.nats;
  const { config } = await jsm.consumers.info('TROUPE_MAIL', 'mail_post');
  await jsm.consumers.update('TROUPE_MAIL', 'mail_post', { ...config, max_ack_pending: 1 });
  await jsm.consumers.delete('TROUPE_LATER', 'due');
  expect((await consumerStates(site.nats, options)).drift).toEqual([
    {
      stream: 'TROUPE_MAIL',
      consumer: 'mail_post',
      setting: 'max_ack_pending',
      stated: 1_024,
      is: 1,
    },
    {
      stream: 'TROUPE_LATER',
      consumer: 'due',
      setting: 'stream',
      stated: 'present',
      is: undefined,
    },
  ]);
});

test('a durable with all in hand that it may have is told as full', async () => {
  await site.publisher.publish('troupe.mail.post', Buffer.from('one'));
  await site.publisher.publish('troupe.mail.post', Buffer.from('two'));
  const consumer = await site.nats.js.consumers.get('TROUPE_MAIL', 'mail_post');
  expect(await consumer.next({ expires: 5_000 })).not.toBeNull();
  expect((await consumerStates(site.nats, options)).full).toEqual([
    { stream: 'TROUPE_MAIL', consumer: 'mail_post', inHand: 1 },
  ]);
});

test('every server is seen once, and one that does not answer is said to be silent', async () => {
  const seen = await seenServers(site.nats, `${site.server.url},nats://127.0.0.1:1`);
  expect(seen).toHaveLength(2);
  expect(seen.find(({ version }) => version === null)).toMatchObject({ at: '127.0.0.1:1' });
  expect(seen.find(({ version }) => version !== null)).toMatchObject({
    version: site.nats.server.version,
    cluster: null,
  });
});

test.each([
  ['always', true],
  ['2m', false],
])('a server with sync_interval %s says so at its monitoring port', async (interval, isAlways) => {
  const port = await freePort();
  const more = `http: "127.0.0.1:${port}"\nserver_name: "nats-1"\njetstream { sync_interval: ${interval} }`;
  const server = await startNats({ more });
  expect(await syncAt(`http://127.0.0.1:${port}`)).toEqual({ name: 'nats-1', isAlways });
  await server.stop();
  expect(await syncAt(`http://127.0.0.1:${port}`)).toBeNull();
});
