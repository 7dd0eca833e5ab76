/**
 * The connection to NATS: one a process, kept for ever.
 *
 * A lost connection is dialled again without end; meanwhile whoever publishes is told 451 at once
 * and mail waits where it is. The version of each server is checked, because an old one loses what
 * it acknowledged (`version-gate.ts`).
 */
import {
  connect as dial,
  type JetStreamClient,
  type JetStreamManager,
  type Msg,
  type NatsConnection,
} from 'nats';
import { systemClock } from '../clock.ts';
import { within } from '../ending.ts';
import { OperatorError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { NoLeaderError } from './leaders.ts';
import { REQUEST_MS_MAX } from './stored.ts';
import { checkVersion, refuseOldServers } from './version-gate.ts';
import { openWindow } from './window.ts';

/** Requests without an answer at once; more wait. */
const REQUESTS_MAX = 512;

/** What the server said of itself in INFO. */
export type ServerFacts = {
  readonly version: string;
  readonly name: string;
  /** Absent on a standalone server. */
  readonly cluster?: string;
};

export type Nats = {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly server: ServerFacts;
  readonly log: Log;
  isConnected(): boolean;
  /** Why the last server that answered is not used; null if it is. */
  refused(): string | null;
  /**
   * Runs `write` at the end of this turn of the event loop, after all that asked before: what they publish leaves in one
   * write to the socket, and the server reads it in one.
   */
  soon(write: () => void): void;
  /** One request and its answer. Throws MailError 451 4.3.0 when the connection is lost or nothing comes in time. */
  request(subject: string, data: string): Promise<Msg>;
  /** Calls `listener` with each change from here on; returns what ends that. */
  onChange(listener: (connected: boolean) => void): () => void;
  /** Sends what is waiting, then closes; twice is not an error. */
  close(): Promise<void>;
};

export type ConnectOptions = {
  /** `nats://host:port`, or several with commas between. */
  readonly url: string;
  readonly user?: string;
  readonly password?: string;
  /** Shown by the server's monitoring. */
  readonly name: string;
  readonly log: Log;
  /** Given: the server's version is checked before anything is asked of it ({@link checkVersion}). */
  readonly durability?: 'strict' | 'relaxed';
  /** How long the first connection may take, ms; default {@link FIRST_CONNECT_MS_MAX}. */
  readonly timeoutMs?: number;
  /** How long it waits for a leader of JetStream, ms; default what is left of `timeoutMs`. */
  readonly leaderMs?: number;
};

/** Embedded servers with much to recover need some seconds before they answer. */
export const FIRST_CONNECT_MS_MAX = 30_000;

const DIAL_MS_MAX = 5_000;
const FIRST_CONNECT_WAIT_MS = 100;
const RECONNECT_WAIT_MS = 100;
const RECONNECT_JITTER_MS = 150;
/** A silent network is noticed after two pings without an answer. */
const PING_MS = 5_000;
const PINGS_UNANSWERED_MAX = 2;
const CLOSE_MS_MAX = 1_000;
/** How long one look whether JetStream is there may take. */
const JETSTREAM_MS_MAX = 1_000;
/** The client's codes for no answer and for the server's "temporarily unavailable". */
const ELECTING = ['TIMEOUT', '10008'];
/** For nobody there: for good, or in a cluster until it has begun. */
const NO_RESPONDERS = '503';

/**
 * Connects, waiting at most `timeoutMs` for the first connection.
 * Throws OperatorError when nobody answers, the password is wrong, or the server has no JetStream;
 * NoLeaderError when it has not elected yet who leads that.
 */
export async function connect(options: ConnectOptions): Promise<Nats> {
  const deadline = performance.now() + (options.timeoutMs ?? FIRST_CONNECT_MS_MAX);
  const nc = await firstConnection(options, deadline);
  ignoreLateCloses(nc);
  const listeners = new Set<(connected: boolean) => void>();
  let connected = true;
  watch(nc, options.log, (now) => {
    if (now === connected) return;
    connected = now;
    for (const listener of [...listeners]) listener(now);
  });
  try {
    const refused = gate(nc, options);
    const { leaderMs } = options;
    const ledBy = leaderMs === undefined ? deadline : performance.now() + leaderMs;
    const jsm = await jetstreamManager(nc, ledBy);
    const { soon, flush } = createSoon();
    const nats: Omit<Nats, 'request'> = {
      nc,
      jsm,
      js: nc.jetstream(),
      log: options.log,
      server: factsOf(nc),
      isConnected: () => connected && !nc.isClosed(),
      refused,
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      soon,
      close: () => {
        flush(); // An ack may be among them.
        return nc.isClosed() || nc.isDraining() ? Promise.resolve() : closeSoon(nc);
      },
    };
    const requests = openWindow(nats, REQUESTS_MAX, REQUEST_MS_MAX);
    const request: Nats['request'] = (subject, data) =>
      requests.send((reply) => nc.publish(subject, data, { reply }));
    return { ...nats, request };
  } catch (error) {
    await nc.close();
    if (error instanceof OperatorError) throw error;
    throw new OperatorError(
      `the NATS server does not offer JetStream: ${textOf(error)}`,
      'Start nats-server with the nats.conf that comes with Troupe, which enables JetStream.',
      error,
    );
  }
}

/** Looks at the server that we are connected to, and at each to come. */
function gate(nc: NatsConnection, { durability, log }: ConnectOptions): Nats['refused'] {
  if (durability === undefined) return () => null;
  const { version, cluster } = factsOf(nc);
  checkVersion(version, { durability, isCluster: cluster !== undefined });
  return refuseOldServers(nc, durability, log);
}

/** Writes that wait for the end of this turn of the event loop; `flush` does them now. */
function createSoon(): { readonly soon: Nats['soon']; readonly flush: () => void } {
  let waiting: (() => void)[] = [];
  const flush = (): void => {
    const writes = waiting;
    waiting = [];
    for (const write of writes) write();
  };
  const soon = (write: () => void): void => {
    if (waiting.length === 0) setImmediate(flush);
    waiting.push(write);
  };
  return { soon, flush };
}

/** What of the client's inside (nats 2.29.3, protocol.js) the following needs. */
type Inside = {
  readonly protocol?: {
    connected: boolean;
    /** Null while nothing is being dialled. */
    readonly connectPromise: unknown;
    readonly transport: { readonly isClosed: boolean };
    disconnected(error?: Error): Promise<void>;
  };
};

/**
 * A dial that timed out is closed late, and the client then takes the connection that it has made
 * since for lost: it dials another, and both feed one parser. Every message comes twice, until bytes
 * of the two mix. So a close is only heeded while nothing else is connected or being dialled.
 */
function ignoreLateCloses(nc: NatsConnection): void {
  const { protocol } = nc as Inside;
  if (protocol === undefined) return;
  const disconnected = protocol.disconnected.bind(protocol);
  protocol.disconnected = async (error) => {
    const isAlive = protocol.connectPromise === null && !protocol.transport.isClosed;
    if (isAlive) protocol.connected = true;
    else await disconnected(error);
  };
}

async function firstConnection(options: ConnectOptions, deadline: number): Promise<NatsConnection> {
  for (;;) {
    try {
      return await dial({
        servers: options.url.split(',').map((server) => server.trim()),
        name: options.name,
        ...(options.user === undefined ? {} : { user: options.user }),
        ...(options.password === undefined ? {} : { pass: options.password }),
        timeout: DIAL_MS_MAX,
        maxReconnectAttempts: -1,
        reconnectTimeWait: RECONNECT_WAIT_MS,
        reconnectJitter: RECONNECT_JITTER_MS,
        pingInterval: PING_MS,
        maxPingOut: PINGS_UNANSWERED_MAX,
        ignoreAuthErrorAbort: true,
        noAsyncTraces: true,
      });
    } catch (error) {
      if (isRefusedLogin(error)) {
        throw new OperatorError(
          'the NATS server refused the user or the password',
          'Compare `nats.user` and `nats.password` with the authorization section of nats.conf.',
          error,
        );
      }
      if (performance.now() > deadline) {
        throw new OperatorError(
          `no NATS server answers at ${withoutPassword(options.url)}: ${textOf(error)}`,
          'Start nats-server, or correct `nats.url`; without it Troupe runs a server of its own.',
          error,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, FIRST_CONNECT_WAIT_MS));
    }
  }
}

/** A cluster that has just started answers nothing of JetStream until it has elected who leads it. */
async function jetstreamManager(nc: NatsConnection, deadline: number): Promise<JetStreamManager> {
  for (;;) {
    try {
      return await nc.jetstreamManager({ timeout: JETSTREAM_MS_MAX });
    } catch (error) {
      const code = String((error as { code?: unknown }).code);
      const isBeginning = code === NO_RESPONDERS && factsOf(nc).cluster !== undefined;
      if (!isBeginning && !ELECTING.includes(code)) throw error;
      if (performance.now() > deadline) throw new NoLeaderError(error);
      await new Promise((resolve) => setTimeout(resolve, FIRST_CONNECT_WAIT_MS));
    }
  }
}

function isRefusedLogin(error: unknown): boolean {
  return /authorization violation|authentication/i.test(textOf(error));
}

/** URLs may carry `user:password@`, which no log or terminal should show. */
function withoutPassword(url: string): string {
  return url.replaceAll(/\/\/[^@/]*@/g, '//');
}

function factsOf(nc: NatsConnection): ServerFacts {
  const cluster = nc.info?.cluster;
  return {
    version: nc.info?.version ?? '0.0.0',
    name: nc.info?.server_name ?? '',
    ...(cluster === undefined || cluster === '' ? {} : { cluster }),
  };
}

/** Follows the connection's own account of itself until it is closed; never throws. */
function watch(nc: NatsConnection, log: Log, tell: (connected: boolean) => void): void {
  const follow = async (): Promise<void> => {
    for await (const status of nc.status()) {
      if (status.type === 'disconnect') {
        log.warn({}, 'NATS is away; mail waits');
        tell(false);
      } else if (status.type === 'reconnect') {
        log.info({}, 'NATS is back');
        tell(true);
      } else if (status.type === 'error') {
        log.warn({ error: textOf(status.data) }, 'NATS reported an error');
      }
    }
    tell(false);
  };
  follow().catch((error: unknown) => {
    log.error({ error: textOf(error) }, 'the state of the NATS connection is no longer known');
    tell(false);
  });
}

/** A flush that cannot be answered (server gone) must not hold up the end. */
async function closeSoon(nc: NatsConnection): Promise<void> {
  await within(
    systemClock,
    CLOSE_MS_MAX,
    nc.flush().catch(() => undefined),
  );
  await nc.close();
}
