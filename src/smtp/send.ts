/**
 * Connects to one MTA through nodemailer's `SMTPConnection`: SMTP, SMTP in TLS or LMTP, STARTTLS as
 * told, a login where there is one. What then goes over the connection is in `transact.ts`.
 */
import SMTPConnection, { type Options } from 'nodemailer/lib/smtp-connection';
import { MailError } from '../errors.ts';
import type { Smtp } from '../world.ts';
import { pipelined, socketOf } from './pipeline.ts';
import { putAwayWhenRefused } from './put-away.ts';
import { parseRouteUrl } from './route-url.ts';
import { keptOpen, offersOf } from './transact.ts';

/** To a TCP connection, the greeting, the answer to EHLO and the end of a TLS handshake. */
export const CONNECT_MS_MAX = 30_000;
/**
 * Without a byte from the MTA: what RFC 5321 §4.5.3.2.6 asks after the final dot, the longest of
 * its times.
 */
export const REPLY_MS_MAX = 10 * 60_000;
/**
 * Transactions on one connection; many MTAs count, and a reconnect spreads load over their
 * addresses.
 */
export const TRANSACTIONS_PER_CONNECTION_MAX = 1_000;

export type SmtpOptions = {
  /** As {@link parseRouteUrl} reads it. */
  readonly url: string;
  /** What we say in EHLO: a name that others can look up. */
  readonly name: string;
  /**
   * `opportunistic`: STARTTLS where offered, any certificate; `required`: with a good one; `off`:
   * never. With a login, `opportunistic` is `required` but to loopback: a password goes to whom it is for.
   */
  readonly tls: 'opportunistic' | 'required' | 'off';
  /** PEM of whom a certificate is checked against, in place of the system's. */
  readonly ca?: string | undefined;
  readonly login?: { readonly user: string; readonly pass: string } | undefined;
  readonly connectMsMax?: number;
  readonly replyMsMax?: number;
  readonly transactionsMax?: number;
};

/** An {@link Smtp} for one MTA. Throws an OperatorError when the URL is wrong. */
export function createSmtp(options: SmtpOptions): Smtp {
  const { protocol, host, port } = parseRouteUrl(options.url);
  const { ca, login } = options;
  const tls = login !== undefined && !isLoopback(host) ? safeFor(options.tls) : options.tls;
  const settings: Options = {
    host,
    port,
    name: options.name,
    lmtp: protocol === 'lmtp',
    secure: protocol === 'smtps',
    requireTLS: tls === 'required' && protocol !== 'smtps',
    opportunisticTLS: tls === 'opportunistic',
    ignoreTLS: tls === 'off',
    tls: {
      rejectUnauthorized: tls !== 'opportunistic' || ca !== undefined,
      ...(ca !== undefined && { ca }),
    },
    connectionTimeout: options.connectMsMax ?? CONNECT_MS_MAX,
    greetingTimeout: options.connectMsMax ?? CONNECT_MS_MAX,
    socketTimeout: options.replyMsMax ?? REPLY_MS_MAX,
    allowInternalNetworkInterfaces: true,
  };
  const transactionsMax = options.transactionsMax ?? TRANSACTIONS_PER_CONNECTION_MAX;
  return {
    async connect() {
      const connection = await openConnection(settings, tls === 'opportunistic');
      const offers = offersOf(String(connection.lastServerResponse));
      if (login !== undefined) await logIn(connection, login);
      const socket = protocol === 'lmtp' || !offers.pipelining ? null : socketOf(connection);
      return putAwayWhenRefused(
        socket === null
          ? keptOpen(connection, offers, transactionsMax)
          : pipelined(connection, socket, offers, transactionsMax),
      );
    },
  };
}

const isLoopback = (host: string): boolean =>
  /^(?:127(?:\.\d{1,3}){3}|\[?::1\]?|localhost)$/i.test(host);

const safeFor = (tls: SmtpOptions['tls']): SmtpOptions['tls'] =>
  tls === 'opportunistic' ? 'required' : tls;

/** Connects; where TLS is only an opportunity and fails, once more without it. */
async function openConnection(settings: Options, mayFallBack: boolean): Promise<SMTPConnection> {
  try {
    const connection = await greeted(settings);
    // A refused STARTTLS leaves its own reply, and what the MTA can do is not known from it.
    if (/^2/.test(String(connection.lastServerResponse))) return connection;
    connection.close();
  } catch (error) {
    const isTls = error instanceof Error && 'code' in error && error.code === 'ETLS';
    if (!mayFallBack || !isTls) throw cannotConnect(error);
  }
  try {
    return await greeted({ ...settings, opportunisticTLS: false, ignoreTLS: true });
  } catch (error) {
    throw cannotConnect(error);
  }
}

/** Resolves when EHLO is answered. */
function greeted(settings: Options): Promise<SMTPConnection> {
  return new Promise((resolve, reject) => {
    const connection = new SMTPConnection(settings);
    const failed = (error: unknown): void => {
      reject(error);
      connection.close();
    };
    connection.once('error', failed);
    connection.once('end', () => reject(new Error('the connection was closed')));
    connection.connect((error) => {
      if (error) return failed(error);
      connection.removeAllListeners('error');
      connection.removeAllListeners('end');
      resolve(connection);
    });
  });
}

function logIn(
  connection: SMTPConnection,
  login: { readonly user: string; readonly pass: string },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: unknown): void => {
      connection.close();
      reject(cannotConnect(error));
    };
    connection.once('error', failed);
    connection.login(login, (error) => {
      if (error) return failed(error);
      connection.removeAllListeners('error');
      resolve();
    });
  });
}

function cannotConnect(cause: unknown): MailError {
  return new MailError(451, '4.4.1', 'the outgoing mail server does not answer', cause);
}
