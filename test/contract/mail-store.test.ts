import { afterAll, beforeAll } from 'vitest';
import type { Nats } from '../../src/nats/connect.ts';
import { createMailStore } from '../../src/nats/mail-store.ts';
import { createPublisher } from '../../src/nats/publisher.ts';
import { mail } from '../../src/nats/subjects.ts';
import { createFakeMailStore } from '../support/fake/mail-store.ts';
import { type NatsServer, startNats } from '../support/nats.ts';
import { storedOn } from '../support/stored.ts';
import { connectWithStreams } from '../support/streams.ts';
import { mailStoreContract } from './mail-store.ts';

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

mailStoreContract('nats-server', async () => {
  await Promise.all(
    ['TROUPE_MAIL', 'TROUPE_HELD', 'TROUPE_ARCHIVE'].map((stream) =>
      nats.jsm.streams.purge(stream),
    ),
  );
  return {
    store: createMailStore(nats, createPublisher(nats)),
    stored: (kind) => storedOn(nats, 'TROUPE_MAIL', mail(kind)),
  };
});
mailStoreContract('simulated', async () => {
  const store = createFakeMailStore();
  return { store, stored: async (kind) => store.accepted().filter((one) => one.kind === kind) };
});
