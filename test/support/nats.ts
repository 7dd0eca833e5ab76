/** A real nats-server for tests: its own store and port, durable settings, and a way to kill it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../src/log.ts';
import { connect, type Nats } from '../../src/nats/connect.ts';
import { ensureStreams } from '../../src/nats/ensure.ts';
import { findServer } from '../../src/nats/find-server.mjs';
import { createPublisher, type Publisher } from '../../src/nats/publisher.ts';
import { freePort } from './free-port.ts';

export type NatsServer = {
  readonly url: string;
  readonly port: number;
  readonly store: string;
  pid(): number;
  /** SIGSTOP; resolves when every thread of it stands still: the signal alone is only on its way. */
  pause(): Promise<void>;
  /** Ends it as a power button would; resolves when the process is gone. */
  kill9(): Promise<void>;
  /** Starts it again on the same store and port; resolves when it listens. */
  restart(): Promise<void>;
  /** Ends it and removes its store. */
  stop(): Promise<void>;
};

/** The nats-server that the program itself would run. */
export function findNatsServer(): string {
  const { found } = findServer(join(import.meta.dirname, '..', '..'), process.env);
  if (found !== null) return found.binary;
  throw new Error('no nats-server: run `npm start` once, or set TROUPE_NATS_SERVER to one');
}

export type NatsServerOptions = {
  /** Bytes JetStream may use; default 4 GiB (only what is written is taken). */
  readonly maxFileStore?: number;
  /** Where JetStream keeps what it has; default a directory of its own, which goes with it. */
  readonly storeDir?: string;
  /** Lines added to the configuration. */
  readonly more?: string;
};

/** Starts a server; stop it in `afterAll`. */
export async function startNats(options: NatsServerOptions = {}): Promise<NatsServer> {
  const store = mkdtempSync(join(tmpdir(), 'troupe-nats-'));
  const port = await freePort();
  const config = join(store, 'nats.conf');
  writeFileSync(config, configuration(store, port, options));
  let child = await start(config);
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  const orphaned = (): void => {
    child.kill('SIGKILL');
    rmSync(store, { recursive: true, force: true });
  };
  process.once('exit', orphaned);
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    store,
    pid: () => child.pid ?? 0,
    pause: () => pause(child.pid ?? 0),
    kill9: end,
    async restart() {
      await end();
      child = await start(config);
    },
    async stop() {
      process.off('exit', orphaned);
      await end();
      rmSync(store, { recursive: true, force: true });
    },
  };
}

/** A connection to the server that says nothing. */
export function connectTo(server: NatsServer, name = 'test'): Promise<Nats> {
  return connect({ url: server.url, name, log: silentLog });
}

export type Site = {
  readonly server: NatsServer;
  readonly nats: Nats;
  readonly publisher: Publisher;
  stop(): Promise<void>;
};

export type SiteOptions = {
  /** Bytes of which each stream has its share; default 1 GiB. */
  readonly maxFileStore?: number;
  readonly outgoingAckWaitMs?: number;
};

/** A server with all streams, connected to. */
export async function startSite(options: SiteOptions = {}): Promise<Site> {
  const server = await startNats();
  const nats = await connectTo(server);
  const publisher = createPublisher(nats);
  await ensureStreams(nats, {
    replicas: 1,
    maxFileStore: 1024 ** 3,
    log: silentLog,
    ...options,
  });
  return {
    server,
    nats,
    publisher,
    async stop() {
      publisher.close();
      await nats.close();
      await server.stop();
    },
  };
}

function configuration(store: string, port: number, options: NatsServerOptions): string {
  return `
listen: 127.0.0.1:${port}
jetstream {
  store_dir: ${JSON.stringify(options.storeDir ?? join(store, 'store'))}
  max_file_store: ${options.maxFileStore ?? 4 * 1024 ** 3}
  sync_interval: always
}
${options.more ?? ''}
`;
}

/** Resolves when the server says that it is ready; its own log is shown only if it fails. */
async function start(config: string): Promise<ChildProcess> {
  const child = spawn(findNatsServer(), ['-c', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`nats-server ended:\n${said}`)));
    child.stderr?.on('data', (bytes: Buffer) => {
      if (said.length < 64_000) said += bytes.toString();
      if (said.includes('Server is ready')) resolve();
    });
  });
  child.removeAllListeners('exit');
  return child;
}

async function pause(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const threads = (): string[] =>
    readdirSync(`/proc/${pid}/task`).map((id) =>
      readFileSync(`/proc/${pid}/task/${id}/stat`, 'utf8'),
    );
  // The state stands after the name, which is in parentheses.
  while (!threads().every((stat) => /\) [Tt] /.test(stat))) await new Promise(setImmediate);
}
