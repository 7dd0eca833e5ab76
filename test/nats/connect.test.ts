import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OperatorError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import { connect } from '../../src/nats/connect.ts';
import { eventually } from '../support/eventually.ts';
import { connectTo, type NatsServer, startNats } from '../support/nats.ts';

const log = silentLog;

describe('connecting', () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await startNats();
  });
  afterAll(() => server.stop());

  test('it says what the server is', async () => {
    const nats = await connectTo(server);
    expect(nats.server.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(nats.server.cluster).toBeUndefined();
    expect(nats.isConnected()).toBe(true);
    await nats.close();
    await nats.close();
    expect(nats.isConnected()).toBe(false);
  });

  test('a lost connection is told, and dialled again until it is back', async () => {
    const nats = await connectTo(server);
    const changes: boolean[] = [];
    const forget = nats.onChange((connected) => changes.push(connected));
    await server.kill9();
    await eventually(() => changes).toEqual([false]);
    expect(nats.isConnected()).toBe(false);
    await server.restart();
    await eventually(() => changes).toEqual([false, true]);
    expect(nats.isConnected()).toBe(true);
    forget();
    await nats.close();
    expect(changes).toEqual([false, true]);
  });

  test('closing while the server is away does not hang', async () => {
    const nats = await connectTo(server);
    await server.kill9();
    await nats.close(); // Did it hang, this test would run out of its time.
    await server.restart();
  });

  test('the first connection waits for a server that is still starting', async () => {
    await server.kill9();
    const connecting = connect({ url: server.url, name: 'early', log, timeoutMs: 60_000 });
    await server.restart();
    const nats = await connecting;
    expect(nats.isConnected()).toBe(true);
    await nats.close();
  });

  test('where nobody answers, an operator is told where, without the password', async () => {
    const url = 'nats://user:secret@127.0.0.1:1';
    const failing = connect({ url, name: 'x', log, timeoutMs: 200 });
    await expect(failing).rejects.toBeInstanceOf(OperatorError);
    await expect(failing).rejects.toThrow('no NATS server answers at nats://127.0.0.1:1');
    await expect(failing).rejects.not.toThrow('secret');
  });
});

test('a wrong password is told at once', async () => {
  const server = await startNats({ more: 'authorization { user: troupe, password: right }' });
  const options = { url: server.url, user: 'troupe', name: 'x', log };
  await expect(connect({ ...options, password: 'wrong' })).rejects.toThrow('refused the user');
  const nats = await connect({ ...options, password: 'right' });
  expect(nats.isConnected()).toBe(true);
  await nats.close();
  await server.stop();
});

test('a server without JetStream is refused', async () => {
  const info = { server_id: 'x', version: '2.15.1', headers: true, max_payload: 1_048_576 };
  const bare = createServer((socket) => {
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const said = bytes.toString();
      if (said.includes('PING')) socket.write('PONG\r\n');
      // No responders: what a server without JetStream answers to its API.
      const asked = /PUB \$JS\S+ (\S+) \d+/.exec(said);
      if (asked !== null) {
        socket.write(`HMSG ${asked[1]} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n`);
      }
    });
  });
  await new Promise<void>((resolve) => bare.listen(0, '127.0.0.1', resolve));
  const address = bare.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const failing = connect({ url: `nats://127.0.0.1:${port}`, name: 'x', log });
  await expect(failing).rejects.toThrow('does not offer JetStream');
  bare.close();
});
