/**
 * The edge: mail comes in over SMTP (RFC 5321) and LMTP (RFC 2033), and is durable before it is
 * answered 250.
 *
 *   takes   MAIL, RCPT, DATA        from MTAs; every limit is in edge-limits.ts
 *   asks    resolve(address)        its kind of mail and size limit, or why it is refused
 *   gives   accept(raw, envelopes)  the message as received, one envelope a kind; see edge-data.ts
 *
 * Listed hosts may say for whom they connect: proxies by a PROXY header, which is read before anything else, and others by
 * XCLIENT. Every limit an address, and the trace, then go by the client.
 *
 * It announces PIPELINING, 8BITMIME, SMTPUTF8, ENHANCEDSTATUSCODES, SIZE, and STARTTLS if it has a
 * certificate. Not CHUNKING (a second way to end a message is a way to smuggle one), not DSN, not
 * AUTH: it takes mail for lists only.
 */
import { SMTPServer, type SMTPServerOptions, type SMTPServerSession } from 'smtp-server';
import { assert } from '../assert.ts';
import { within } from '../ending.ts';
import { textOf } from '../errors.ts';
import { createArrivals } from './edge-arrivals.ts';
import { EdgeConnection } from './edge-connection.ts';
import { handlersOf } from './edge-handlers.ts';
import {
  COMMAND_BYTES_MAX,
  createBudget,
  createSeats,
  createWrongMacs,
  type EdgeLimits,
  type IsTrusted,
  REFUSED_CONNECTIONS_MAX,
  type Seats,
  trustedPeers,
} from './edge-limits.ts';
import { listenOn, portOf } from './edge-listen.ts';
import type { Door, EdgeNeeds } from './edge-transaction.ts';

export type EdgeOptions = {
  /** The IP address to listen on. */
  readonly listen: string;
  /** 0: any free one. */
  readonly smtpPort: number;
  /** A port (0: any free one), or the path of a Unix socket. */
  readonly lmtp: { readonly port: number } | { readonly socket: string };
  /** What we call ourselves in the greeting and to EHLO. */
  readonly name: string;
  /** A directory that exists, for messages over 512 KiB while they are received. */
  readonly spoolDir: string;
  readonly limits: EdgeLimits;
  /** Addresses and CIDRs of our own MTAs: no limit an address, no delay before the greeting. */
  readonly trusted: readonly string[];
  /** Whose connections to the SMTP port begin with a PROXY header; addresses and CIDRs, as the next. */
  readonly proxies: readonly string[];
  /** Who may say XCLIENT on the SMTP port. */
  readonly xclient: readonly string[];
  /** PEM texts for STARTTLS; null: not offered. */
  readonly tls: { readonly key: string | Buffer; readonly cert: string | Buffer } | null;
};

export type Edge = {
  readonly smtpPort: number;
  /** Null with a Unix socket. */
  readonly lmtpPort: number | null;
  /** Messages that are being received or kept now. */
  inFlight(): number;
  /**
   * Takes nothing new, lets the messages in hand finish for at most `stopMs`, then closes what is
   * left.
   */
  stop(): Promise<void>;
};

/** How often deadlines are looked at; a quarter of the shortest limit if that is less. */
const SWEEP_MS_MAX = 1_000;

/** All that is going on at both servers. */
type Traffic = {
  readonly connections: Set<EdgeConnection>;
  readonly stopping: AbortController;
  inFlight: number;
  /** Called whenever a connection or a message is done with. */
  onLess: () => void;
};

/** Listens on both. Throws OperatorError if it cannot, with nothing left listening. */
export async function startEdge(options: EdgeOptions, needs: EdgeNeeds): Promise<Edge> {
  const { limits, spoolDir } = options;
  const isTrusted = trustedPeers(options.trusted);
  const traffic: Traffic = {
    connections: new Set(),
    stopping: new AbortController(),
    inFlight: 0,
    onLess: () => undefined,
  };
  const shared = {
    limits,
    needs,
    spoolDir,
    budget: createBudget(limits.inFlightBytesMax),
    wrongMacs: createWrongMacs(limits.wrongMacsPerMinuteMax, () => needs.clock.monotonic()),
  };
  const seats = createSeats(limits, isTrusted);
  const [smtp, lmtp] = (['smtp', 'lmtp'] as const).map((protocol) =>
    createServer({ ...shared, protocol }, options, seats, isTrusted, traffic),
  );
  assert(smtp !== undefined && lmtp !== undefined, 'two servers');
  const stop = (): Promise<void> => stopBoth([smtp, lmtp], traffic, limits, needs);
  try {
    await listenOn(smtp.server, { host: options.listen, port: options.smtpPort }, 'smtp.port');
    await listenOn(lmtp.server, lmtpAddress(options), lmtpKey(options));
  } catch (error) {
    await stop();
    throw error;
  }
  void sweep(traffic, limits, needs);
  return {
    smtpPort: portOf(smtp.server) ?? 0,
    lmtpPort: portOf(lmtp.server),
    inFlight: () => traffic.inFlight,
    stop,
  };
}

const lmtpAddress = ({ lmtp, listen }: EdgeOptions) =>
  'socket' in lmtp ? { path: lmtp.socket } : { host: listen, port: lmtp.port };
const lmtpKey = ({ lmtp }: EdgeOptions): string => ('socket' in lmtp ? 'lmtp.socket' : 'lmtp.port');

// ── A server ──────────────────────────────────────────────────────────────

function createServer(
  door: Door,
  options: EdgeOptions,
  seats: Seats,
  isTrusted: IsTrusted,
  traffic: Traffic,
): SMTPServer {
  const { limits, needs } = door;
  const arrivals = createArrivals(door, options, seats, isTrusted, traffic.stopping.signal);
  const bySession = new WeakMap<SMTPServerSession, EdgeConnection>();
  const handlers = handlersOf(door, traffic, (session) => bySession.get(session));
  const server = new SMTPServer({ ...libraryOptions(door, options), ...handlers });
  server.onClose = (session) => {
    const connection = bySession.get(session);
    if (connection === undefined || !traffic.connections.delete(connection)) return;
    arrivals.leave(connection.peer);
    traffic.onLess();
  };
  server.connect = (socket, given) => {
    if (socket.destroyed) return;
    arrivals.meet(socket, (peer) => {
      const { mayNameClient, onClient } = arrivals;
      const handed = { limits, clock: needs.clock, peer, isTrusted, mayNameClient, onClient };
      const socketOptions = { ...given, remoteAddress: peer };
      const connection = new EdgeConnection(server, socket, socketOptions, handed);
      bySession.set(connection.session, connection);
      traffic.connections.add(connection);
      server.connections.add(connection);
      connection.on('error', (error: Error) => server.emit('error', error));
      connection.init();
    });
  };
  server.on('error', (error) => needs.log.debug({ error: textOf(error) }, 'a connection failed'));
  server.server.maxConnections = 2 * limits.connectionsMax + REFUSED_CONNECTIONS_MAX;
  // The library listens for a socket's errors one turn of the event loop after it was accepted.
  server.server.on('connection', (socket) => socket.on('error', () => undefined));
  return server;
}

function libraryOptions(door: Door, options: EdgeOptions): SMTPServerOptions {
  const { name, tls, limits, xclient } = options;
  const never = ['AUTH', 'XFORWARD', 'WIZ', 'SHELL', 'KILL'];
  if (door.protocol === 'lmtp' || xclient.length === 0) never.push('XCLIENT');
  return {
    name,
    lmtp: door.protocol === 'lmtp',
    size: limits.sizeMax,
    maxCommandLength: COMMAND_BYTES_MAX,
    hideENHANCEDSTATUSCODES: false,
    heloResponse: '%s',
    disableReverseLookup: true,
    logger: false,
    disabledCommands: tls === null ? [...never, 'STARTTLS'] : never,
    ...(tls === null ? {} : { key: tls.key, cert: tls.cert }),
    // Ours are shorter and say why; these are what is left if one of ours were forgotten.
    socketTimeout: 2 * Math.max(limits.commandIdleMs, limits.dataIdleMs),
    closeTimeout: limits.stopMs,
  };
}

// ── Time, and the end ─────────────────────────────────────────────────────

/**
 * Closes connections whose time is over. One loop for all: a deadline is then no more than a
 * number.
 */
async function sweep(traffic: Traffic, limits: EdgeLimits, { clock }: EdgeNeeds): Promise<void> {
  const shortest = Math.min(limits.commandIdleMs, limits.dataIdleMs, limits.dataTotalMs);
  const everyMs = Math.min(SWEEP_MS_MAX, Math.max(1, shortest / 4));
  const { signal } = traffic.stopping;
  for (;;) {
    await clock.sleep(everyMs, signal);
    if (signal.aborted) return;
    const now = clock.monotonic();
    for (const connection of traffic.connections) connection.checkDeadline(now);
  }
}

async function stopBoth(
  servers: readonly SMTPServer[],
  traffic: Traffic,
  limits: EdgeLimits,
  { clock, log }: EdgeNeeds,
): Promise<void> {
  if (traffic.stopping.signal.aborted) return;
  traffic.stopping.abort();
  for (const server of servers) server.close();
  for (const connection of traffic.connections) {
    if (!connection.isReceiving) connection.sayGoodbye();
  }
  const isIdle = (): boolean => traffic.connections.size === 0 && traffic.inFlight === 0;
  const idle = new Promise<void>((resolve) => {
    traffic.onLess = () => isIdle() && resolve();
    traffic.onLess();
  });
  await within(clock, limits.stopMs, idle);
  if (isIdle()) return;
  log.warn({ connections: traffic.connections.size, messages: traffic.inFlight }, 'edge cut short');
  for (const connection of traffic.connections) connection.cut();
}
