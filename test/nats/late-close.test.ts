/**
 * A fault of the client library that crashlab found: a connection that is closed late must not cost
 * the one that has been made since, nor be joined by a second.
 */
import { expect, test } from 'vitest';
import { connectTo, startNats } from '../support/nats.ts';

type Inside = { readonly protocol: { disconnected(error?: Error): Promise<void> } };

test('the close of a dial that timed out leaves the connection as it is', async () => {
  const server = await startNats();
  const nats = await connectTo(server);
  try {
    const came: string[] = [];
    nats.nc.subscribe('twice', { callback: (_, msg) => void came.push(msg.string()) });
    await nats.nc.flush();
    const { protocol } = nats.nc as unknown as Inside;
    await protocol.disconnected(new Error('late'));
    nats.nc.publish('twice', 'once');
    for (let i = 0; i < 3; i++) await nats.nc.flush();
    expect(came).toEqual(['once']);
    expect(nats.isConnected()).toBe(true);
  } finally {
    await nats.close();
    await server.stop();
  }
});

test('a connection that is really lost is dialled again', async () => {
  const server = await startNats();
  const nats = await connectTo(server);
  try {
    const back = Promise.withResolvers<void>();
    nats.onChange((isConnected) => {
      if (isConnected) back.resolve();
    });
    await server.restart();
    await back.promise;
    await nats.nc.flush();
    expect(nats.isConnected()).toBe(true);
  } finally {
    await nats.close();
    await server.stop();
  }
});
