/** Servers that lose or double what they acknowledged are refused before anything is asked of them. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OperatorError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import type { Nats } from '../../src/nats/connect.ts';
import { connect } from '../../src/nats/connect.ts';
import { ensureStreams } from '../../src/nats/ensure.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLog } from '../support/keeping-log.ts';
import { startNats } from '../support/nats.ts';
import { newPlace, runTroupe } from '../support/site.ts';

/** Says INFO as nats-server 2.9.10 of Debian 12 does in a cluster, and answers PING; `heard` is told what it is asked. */
function oldServer(heard: (text: string) => void = () => {}): Server {
  const info = {
    server_id: 'NOLD',
    server_name: 'old-1',
    version: '2.9.10',
    proto: 1,
    headers: true,
    max_payload: 1_048_576,
    jetstream: true,
    cluster: 'mail',
  };
  const made = createServer((socket) => {
    dials.set(made, dialsOf(made) + 1);
    socket.on('error', () => {});
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on('data', (bytes) => {
      heard(bytes.toString('latin1'));
      for (const _ of bytes.toString('latin1').matchAll(/^PING\r$/gm)) socket.write('PONG\r\n');
    });
  });
  return made;
}

const dials = new WeakMap<Server, number>();
const dialsOf = (of: Server): number => dials.get(of) ?? 0;

let server: Server;
let url = '';

beforeAll(async () => {
  server = oldServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `nats://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
});

test.each(['strict', 'relaxed'] as const)(
  "Debian's nats-server 2.9 is refused in a cluster, with durability %s",
  async (durability) => {
    const connecting = connect({ url, name: 'test', log: silentLog, durability });
    await expect(connecting).rejects.toThrow(OperatorError);
    await expect(connecting).rejects.toThrow('nats-server 2.9.10 is too old');
  },
);

test('a node says so, with the next step, and ends with 1', async () => {
  const { env } = newPlace({ env: { TROUPE_NATS_URL: url } });
  const { TROUPE_NATS_SERVER: _, TROUPE_NATS_PORT: __, ...given } = env;
  const { code, stdout, stderr } = await runTroupe(given, ['serve']);
  expect(code).toBe(1);
  expect(stdout + stderr).toContain('nats-server 2.9.10 is too old');
  expect(stdout + stderr).toContain('on every node');
});

test('one that is dialled later is left before anything is said to it, until a newer one answers', async () => {
  const newer = await startNats();
  const { log, said } = keepingLog();
  const nats = await connect({ url: newer.url, name: 'test', log, durability: 'strict' });
  await newer.kill9();
  const heard: string[] = [];
  const older = oldServer((text) => heard.push(text)).listen(newer.port, '127.0.0.1');
  try {
    await eventually(nats.refused).toMatch(/^nats-server 2\.9\.10 is too old/);
    nats.nc.publish('a.post', 'kept here');
    await eventually(() => dialsOf(older)).toBeGreaterThan(2);
    expect({ heard, isConnected: nats.isConnected() }).toEqual({ heard: [], isConnected: false });
    expect(said('error')).toHaveLength(1);
  } finally {
    older.close();
    await newer.restart();
  }
  await eventually(nats.isConnected).toBe(true);
  expect(nats.refused()).toBeNull();
  await nats.close();
  await newer.stop();
});

/** A server that makes what it is told, but drops the settings that it does not know. */
function forgetful(...fields: readonly string[]): Nats {
  const request = async (subject: string, body: string) => {
    const asked = JSON.parse(body) as Record<string, unknown>;
    const known = Object.entries(asked).filter(([name]) => !fields.includes(name));
    const answer = subject.includes('.LIST')
      ? { total: 0, streams: [], consumers: [] }
      : { config: Object.fromEntries(known) };
    return { data: new TextEncoder().encode(JSON.stringify(answer)) };
  };
  const fake = { request, isConnected: () => true, onChange: () => () => {} };
  return fake as unknown as Nats;
}

test.each(['allow_atomic', 'allow_msg_schedules'])(
  'a server that drops %s is refused, whatever its version',
  async (field) => {
    const options = { replicas: 3, maxFileStore: 1024 ** 3, log: silentLog };
    await expect(ensureStreams(forgetful(field), options)).rejects.toThrow(OperatorError);
    await expect(ensureStreams(forgetful(field), options)).rejects.toThrow(field);
    await ensureStreams(forgetful(), options);
  },
);
