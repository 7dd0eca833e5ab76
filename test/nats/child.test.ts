/** The embedded nats-server, with the real binary: started, adopted, stopped, refused. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StringCodec } from 'nats';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { OperatorError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import {
  type Child,
  type ChildOptions,
  checkConf,
  type Ended,
  readNote,
  startChild,
} from '../../src/nats/child.ts';
import { connect } from '../../src/nats/connect.ts';
import { SERVER_VERSION_MIN } from '../../src/nats/find-server.mjs';
import { freePort, infoAt, runningOn } from '../../src/nats/server-process.ts';
import type { Clock } from '../../src/world.ts';
import { findNatsServer } from '../support/nats.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const CONF = join(ROOT, 'nats.conf');
let base: string;
let directories = 0;
const children: Child[] = [];

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'troupe child ')); // A space: paths are quoted.
});
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop()));
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

/** A minute of patience is over in 60 ms. */
const hurried: Clock = {
  now: systemClock.now,
  monotonic: () => systemClock.monotonic() * 1_000,
  sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 10), signal),
};

const newData = (): string => join(base, `data ${directories++}`);

async function started(data: string, more: Partial<ChildOptions> = {}): Promise<Child> {
  const binary = more.binary ?? findNatsServer();
  const child = await startChild({ data, port: 0, log: silentLog, ...more, binary });
  children.push(child);
  return child;
}

/** A parent that starts a child and is killed by `kill -9`. */
async function orphan(data: string): Promise<number> {
  const script = `
    const { startChild } = await import(${JSON.stringify(join(ROOT, 'src/nats/child.ts'))});
    const { silentLog } = await import(${JSON.stringify(join(ROOT, 'src/log.ts'))});
    const child = await startChild({ binary: ${JSON.stringify(findNatsServer())},
      data: ${JSON.stringify(data)}, port: 0, log: silentLog });
    console.log(child.pid);
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = (await once(parent.stdout, 'data')) as [Buffer];
  const gone = once(parent, 'exit');
  parent.kill('SIGKILL');
  await gone;
  return Number(said.toString());
}

const nextEnd = (child: Child): Promise<Ended> =>
  new Promise((resolve) => {
    child.onExit(resolve);
  });

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe('starting', () => {
  test('nats.conf is in effect: durable, on loopback, with a password, bounded', async () => {
    const data = newData();
    const monitor = (await freePort(0)) ?? 0;
    const conf = join(base, 'monitored.conf');
    writeFileSync(conf, `${readFileSync(CONF, 'utf8')}\nhttp: 127.0.0.1:${monitor}\n`);
    const child = await started(data, { conf, storage: 500_000_000 });
    const answer = await fetch(`http://127.0.0.1:${monitor}/varz`);
    const { jetstream, ...varz } = (await answer.json()) as Record<string, unknown>;
    expect(varz).toMatchObject({ host: '127.0.0.1', auth_required: true, max_payload: 1_048_576 });
    const { config } = jetstream as { config: unknown };
    expect(config).toMatchObject({
      sync_always: true,
      max_storage: 500_000_000,
      store_dir: join(data, 'nats', 'jetstream'),
    });
    expect(child.maxFileStore).toBe(500_000_000);
    await expect(
      connect({ url: child.url, user: 'troupe', password: 'no', name: 't', log: silentLog }),
    ).rejects.toThrow(OperatorError);
  });

  test('the note says where it is and is readable by its owner only', async () => {
    const data = newData();
    expect(await readNote(data)).toBeNull();
    const child = await started(data);
    const { url, user, password, pid } = child;
    expect(await readNote(data)).toMatchObject({ url, user, password, pid, standalone: true });
    expect(statSync(join(data, 'nats.json')).mode & 0o777).toBe(0o600);
    expect(statSync(data).mode & 0o777).toBe(0o700);
  });

  test('the next start has the same port, password and size', async () => {
    const data = newData();
    const first = await started(data, { storage: 300_000_000 });
    const { url, password, maxFileStore } = first;
    await first.stop();
    expect((await readNote(data))?.pid).toBe(0);
    const options = { binary: findNatsServer(), data, log: silentLog, storage: 900_000_000 };
    const second = await startChild(options);
    children.push(second);
    expect(second).toMatchObject({ url, password, maxFileStore, isAdopted: false });
  });

  test('without a limit the store may take 60 % of what is free at first start', async () => {
    const child = await started(newData());
    expect(child.maxFileStore).toBeGreaterThan(256 * 1024 * 1024);
  });

  test('a remembered port that another has taken is replaced', async () => {
    const data = newData();
    const first = await started(data);
    const { url } = first;
    await first.stop();
    const squatter = createServer().listen({ port: Number(new URL(url).port), host: '127.0.0.1' });
    await once(squatter, 'listening');
    const options = { binary: findNatsServer(), data, log: silentLog };
    const second = await startChild(options);
    children.push(second);
    expect(second.url).not.toBe(url);
    squatter.close();
  });
});

describe('C1, C2: one server a store', () => {
  test('C2: a server that outlived its parent is adopted, and still ours to stop', async () => {
    const data = newData();
    const pid = await orphan(data);
    const child = await started(data);
    expect(child).toMatchObject({ pid, isAdopted: true });
    const nats = await connect({ ...child, name: 'test', log: silentLog });
    await nats.close();
    await child.stop();
    expect(await runningOn(join(data, 'nats.log'))).toBeNull();
  });

  test('C1: a server whose note is lost is ended before another is started', async () => {
    const data = newData();
    const pid = await orphan(data);
    rmSync(join(data, 'nats.json'));
    const child = await started(data);
    expect(child.isAdopted).toBe(false);
    expect(child.pid).not.toBe(pid);
    expect(await runningOn(join(data, 'nats.log'))).toBe(child.pid);
  });

  test('C2: a server of another configuration is not adopted', async () => {
    const data = newData();
    const pid = await orphan(data);
    const conf = join(base, 'changed.conf');
    writeFileSync(conf, `${readFileSync(CONF, 'utf8')}\nmax_subscriptions: 100000\n`);
    const child = await started(data, { conf });
    expect(child.isAdopted).toBe(false);
    expect(child.pid).not.toBe(pid);
  });

  test('C1: a server that hangs is given its time, then killed', async () => {
    const data = newData();
    const pid = await orphan(data);
    process.kill(pid, 'SIGSTOP'); // It takes connections and says nothing; SIGTERM waits too.
    const child = await started(data, { clock: hurried });
    expect(child.isAdopted).toBe(false);
    expect(child.pid).not.toBe(pid);
    expect(await runningOn(join(data, 'nats.log'))).toBe(child.pid);
  });
});

describe('C3: started again', () => {
  test('C3: a killed server comes back on its port with what it had acknowledged', async () => {
    const child = await started(newData());
    const nats = await connect({ ...child, name: 'test', log: silentLog });
    await nats.jsm.streams.add({ name: 'T', subjects: ['t'] });
    await nats.js.publish('t', StringCodec().encode('kept'));
    const ended = nextEnd(child);
    const killed = child.pid;
    process.kill(killed, 'SIGKILL');
    expect(await ended).toEqual({ code: null, signal: 'SIGKILL' });
    await until(() => child.pid !== 0 && nats.isConnected());
    expect(child.pid).not.toBe(killed);
    const kept = await nats.jsm.streams.getMessage('T', { seq: 1 });
    expect(StringCodec().decode(kept.data)).toBe('kept');
    await nats.close();
  });

  test('C3: one that is told to restart is another, on the same port', async () => {
    const child = await started(newData());
    const { pid, url } = child;
    await child.restart();
    await until(() => child.pid !== 0 && child.pid !== pid);
    expect(await infoAt(Number(new URL(url).port))).not.toBeNull();
    expect(await child.hasMetFullDisk()).toBe(false);
  });

  test('C3: an adopted server that is killed comes back too', async () => {
    const data = newData();
    await orphan(data);
    const child = await started(data);
    const ended = nextEnd(child);
    process.kill(child.pid, 'SIGKILL');
    expect(await ended).toEqual({ code: null, signal: null });
    const { url } = child;
    await until(async () => (await infoAt(Number(new URL(url).port))) !== null);
  });

  test('stopping while it is being started again leaves no server', async () => {
    const data = newData();
    const child = await started(data);
    const ended = nextEnd(child);
    process.kill(child.pid, 'SIGKILL');
    await ended;
    await child.stop();
    await child.stop();
    expect(child.pid).toBe(0);
    expect(await runningOn(join(data, 'nats.log'))).toBeNull();
  });
});

describe('refusing', () => {
  test('an old nats-server is refused with what to install', async () => {
    const binary = join(base, 'nats-server-old');
    writeFileSync(binary, '#!/bin/sh\necho "nats-server: v2.9.10"\n');
    chmodSync(binary, 0o755);
    const refused = await started(newData(), { binary }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(OperatorError);
    expect((refused as OperatorError).message).toContain('2.9.10 is too old');
    expect((refused as OperatorError).nextStep).toContain(SERVER_VERSION_MIN);
  });

  test('a binary that is none is refused', async () => {
    await expect(started(newData(), { binary: '/bin/true' })).rejects.toThrow(
      '/bin/true is not a nats-server that runs here',
    );
  });

  test('a configuration that the server refuses is told with its last words', async () => {
    const conf = join(base, 'wrong.conf');
    writeFileSync(conf, 'jetstream: {sync_intervall: always}\n');
    await expect(started(newData(), { conf })).rejects.toThrow(/unknown field "sync_intervall"/);
  });

  test('a port that was asked for and is taken is refused', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const address = squatter.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    await expect(started(newData(), { port })).rejects.toThrow(`port ${port} is in use`);
    squatter.close();
  });

  test.each([
    ['plain', 'cluster {\n name: c\n}'],
    ['with a colon', 'port: 1\ncluster: {name: c}'],
    ['in capitals', 'CLUSTER = { name: c }'],
    ['after another block', 'jetstream {} cluster {}'],
    ['in quotes', '"cluster": {}'],
  ])('a marked store is not started with a cluster section, %s', async (_, text) => {
    const data = newData();
    await (await started(data)).stop();
    const conf = join(base, 'cluster.conf');
    writeFileSync(conf, `${readFileSync(CONF, 'utf8')}\n${text}\n`);
    await expect(started(data, { conf })).rejects.toThrow(/belongs to a server that ran alone/);
    expect(existsSync(join(data, 'nats', 'standalone.json'))).toBe(true);
    expect(await runningOn(join(data, 'nats.log'))).toBeNull();
  });

  test('a cluster section in an included file is seen, one in a comment is not', async () => {
    const data = newData();
    writeFileSync(join(base, 'part.conf'), 'cluster { name: c }\n');
    const conf = join(base, 'including.conf');
    writeFileSync(conf, 'include ./part.conf\n');
    await expect(checkConf(conf, data)).rejects.toThrow(/the embedded nats-server runs alone/);
    writeFileSync(
      conf,
      '# include ./part.conf\n// cluster {}\n  # cluster {}\nserver_name: cluster\n',
    );
    await expect(checkConf(conf, data)).resolves.toBeUndefined();
    await expect(checkConf(CONF, data)).resolves.toBeUndefined();
  });
});
