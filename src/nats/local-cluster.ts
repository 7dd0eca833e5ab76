/**
 * Three nats-servers on this machine, as one cluster: for trying a cluster out and for tests, never for mail that matters, since
 * they share one disk. Each has a store of its own in the given directory, which only they use.
 */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { systemClock } from '../clock.ts';
import { OperatorError } from '../errors.ts';
import {
  endServer,
  freePort,
  infoAt,
  lastWords,
  runningOn,
  spawnServer,
} from './server-process.ts';

const SERVERS = 3;
const READY_MS_MAX = 30_000;
const READY_POLL_MS = 20;
const STOP_MS_MAX = 10_000;
const CONF = resolve(import.meta.dirname, '..', '..', 'nats.conf');

export type LocalServer = {
  /** `nats-1` and so on. */
  readonly name: string;
  readonly port: number;
  /** Null while it does not run. */
  pid(): number | null;
  /** Starts it on its own store and port; resolves when it answers. Does nothing while it runs. */
  start(): Promise<void>;
  /** Asks it to end; resolves when it is gone. */
  stop(): Promise<void>;
};

export type LocalCluster = {
  readonly servers: readonly LocalServer[];
  /** All three, with commas between. */
  readonly url: string;
  /** Where each says how it is set (`nats.monitor`), with commas between. */
  readonly monitor: string;
  readonly user: string;
  readonly password: string;
  /** What the streams of a site may share, bytes. */
  readonly storage: number;
  stop(): Promise<void>;
};

type Ports = { readonly client: number; readonly route: number; readonly monitor: number };
/** Of one server. */
const PORTS = 3;

/** Starts all three at once; whoever ran on these stores before is ended first. Throws OperatorError if one does not start. */
export async function startLocalCluster(options: {
  readonly directory: string;
  readonly binary: string;
  readonly storage: number;
}): Promise<LocalCluster> {
  const { directory, binary, storage } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const ports = await pickPorts();
  const password = `p${randomBytes(16).toString('hex')}`;
  const login = { user: 'troupe', password };
  const servers = await Promise.all(
    ports.map((own, i) => openServer({ directory, binary, storage, password, ports, own, i })),
  );
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    await Promise.all(servers.map((server) => server.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    servers,
    url: ports.map(({ client }) => `nats://127.0.0.1:${client}`).join(','),
    monitor: ports.map(({ monitor }) => `http://127.0.0.1:${monitor}`).join(','),
    ...login,
    storage,
    stop,
  };
}

async function pickPorts(): Promise<readonly Ports[]> {
  const all = await Promise.all(Array.from({ length: PORTS * SERVERS }, () => freePort(0)));
  const free = all.filter((port) => port !== null);
  if (new Set(free).size < PORTS * SERVERS) {
    throw new OperatorError('not enough ports are free on 127.0.0.1', 'Try again.');
  }
  return Array.from({ length: SERVERS }, (_, i) => ({
    client: free[PORTS * i] ?? 0,
    route: free[PORTS * i + 1] ?? 0,
    monitor: free[PORTS * i + 2] ?? 0,
  }));
}

async function openServer(of: {
  readonly directory: string;
  readonly binary: string;
  readonly storage: number;
  readonly password: string;
  readonly ports: readonly Ports[];
  readonly own: Ports;
  readonly i: number;
}): Promise<LocalServer> {
  const name = `nats-${of.i + 1}`;
  const conf = join(of.directory, `${name}.conf`);
  const log = join(of.directory, `${name}.log`);
  const store = join(of.directory, name);
  await writeFile(conf, configuration(of.directory, of.ports, of.own), { mode: 0o600 });
  const orphan = await runningOn(log);
  if (orphan !== null) await endServer(orphan, log, STOP_MS_MAX, systemClock);
  let child: ChildProcess | null = null;
  const pid = (): number | null =>
    child === null || child.exitCode !== null || child.signalCode !== null
      ? null
      : (child.pid ?? null);
  return {
    name,
    port: of.own.client,
    pid,
    async start() {
      if (pid() !== null) return;
      child = spawnServer(of.binary, conf, log, {
        TROUPE_NATS_NAME: name,
        TROUPE_NATS_PORT: String(of.own.client),
        TROUPE_NATS_USER: 'troupe',
        TROUPE_NATS_PASSWORD: of.password,
        TROUPE_NATS_STORE: JSON.stringify(store),
        TROUPE_NATS_STORAGE: String(of.storage),
      });
      await answers(name, of.own.client, pid, log);
    },
    async stop() {
      const running = pid();
      if (running === null) return;
      await endServer(running, log, STOP_MS_MAX, systemClock);
      child = null; // Its `exit` may come later, and nothing waits for a child that is on its own.
    },
  };
}

/** The nats.conf that operators copy, and the part that it leaves to them. */
function configuration(directory: string, ports: readonly Ports[], own: Ports): string {
  const routes = ports
    .filter((other) => other !== own)
    .map(({ route }) => `"nats-route://127.0.0.1:${route}"`);
  return `include ${JSON.stringify(relative(directory, CONF))}
http: 127.0.0.1:${own.monitor}
cluster {
  name: troupe-local
  listen: 127.0.0.1:${own.route}
  routes: [${routes.join(', ')}]
}
`;
}

async function answers(
  name: string,
  port: number,
  pid: () => number | null,
  log: string,
): Promise<void> {
  const deadline = systemClock.monotonic() + READY_MS_MAX;
  while (systemClock.monotonic() < deadline && pid() !== null) {
    if ((await infoAt(port))?.server_name === name) return;
    await systemClock.sleep(READY_POLL_MS);
  }
  throw new OperatorError(
    `${name} does not start: ${await lastWords(log)}`,
    `The rest of its log is in ${log}.`,
  );
}
