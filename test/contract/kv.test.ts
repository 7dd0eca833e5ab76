import { afterAll, beforeAll } from 'vitest';
import type { Nats } from '../../src/nats/connect.ts';
import { openKv } from '../../src/nats/kv.ts';
import { bucketStream } from '../../src/nats/streams.ts';
import { createFakeKv } from '../support/fake/kv.ts';
import { type NatsServer, startNats } from '../support/nats.ts';
import { connectWithStreams } from '../support/streams.ts';
import { kvContract } from './kv.ts';

let server: NatsServer;
let nats: Nats;

beforeAll(async () => {
  server = await startNats();
  nats = await connectWithStreams(server);
});
afterAll(async () => {
  await nats?.close();
  await server?.stop();
});

kvContract('nats-server', async () => {
  await nats.jsm.streams.purge(bucketStream('troupe_slots'));
  return openKv(nats, 'troupe_slots');
});
kvContract('simulated', async () => createFakeKv());
