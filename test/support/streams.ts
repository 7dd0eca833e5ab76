/** A connection to a test server on which all streams and buckets stand. */
import { silentLog } from '../../src/log.ts';
import type { Nats } from '../../src/nats/connect.ts';
import { ensureStreams } from '../../src/nats/ensure.ts';
import { connectTo, type NatsServer } from './nats.ts';

/** What the test server allows at most; only what is written is taken. */
const MAX_FILE_STORE = 4 * 1024 ** 3;

export async function connectWithStreams(
  server: NatsServer,
  maxFileStore = MAX_FILE_STORE,
): Promise<Nats> {
  const nats = await connectTo(server);
  await ensureStreams(nats, { replicas: 1, maxFileStore, log: silentLog });
  return nats;
}

/** Resolves when the connection stands and JetStream answers again, after a server was killed. */
export async function reconnected(nats: Nats): Promise<void> {
  for (;;) {
    try {
      await nats.jsm.getAccountInfo();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
