/**
 * Connects to one MTA through nodemailer's `SMTPConnection`: SMTP, SMTP in TLS or LMTP, STARTTLS as
 * told, a login where there is one. What then goes over the connection is in `transact.ts`.
 */
import SMTPConnection, { type Options } from 'nodemailer/lib/smtp-connection';
import { MailError } from '../errors.ts';
import type { Smtp } from '../world.ts';
import { connectionOver } from './pipeline.ts';
import { putAwayWhenRefused } from './put-away.ts';
import { parseRouteUrl } from './route-url.ts';
import { offersOf } from './transact.ts';
import { takeOver } from './wire.ts';

/** All that comes before mail, together: TCP (Postfix's `smtp_connect_timeout`), the greeting, EHLO, STARTTLS and the login. */
const CONNECT_MS_MAX = 30_000;
/**
 * For the answer to a command. RFC 5321 §4.5.3.2 and Postfix have 300 s, for strangers' MTAs; a route is our own, who is given up on
 * before the dot may be sent to by another at once.
 */
const COMMAND_MS_MAX = 60_000;
/** For the answer to the final dot: who gives up earlier sends mail twice (RFC 5321 §4.5.3.2.6; Postfix's `smtp_data_done_timeout`). */
const DOT_MS_MAX = 10 * 60_000;
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
  readonly commandMsMax?: number;
  readonly dotMsMax?: number;
  readonly transactionsMax?: number;
};

/** An {@link Smtp} for one MTA. Throws an OperatorError when the URL is wrong. */
export function createSmtp(options: SmtpOptions): Smtp {
  const { protocol, host, port } = parseRouteUrl(options.url);
  const { ca, login } = options;
  const tls = login !== undefined && !isLoopback(host) ? safeFor(options.tls) : options.tls;
  const { commandMsMax = COMMAND_MS_MAX, dotMsMax = DOT_MS_MAX } = options;
  const connectMsMax = options.connectMsMax ?? Math.min(CONNECT_MS_MAX, commandMsMax);
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
    connectionTimeout: connectMsMax,
    greetingTimeout: connectMsMax,
    socketTimeout: dotMsMax,
    allowInternalNetworkInterfaces: true,
  };
  const transactionsMax = options.transactionsMax ?? TRANSACTIONS_PER_CONNECTION_MAX;
  return {
    async connect() {
      const deadline = AbortSignal.timeout(connectMsMax);
      try {
        const connection = await greeted(settings, tls === 'opportunistic', deadline);
        const offers = offersOf(String(connection.lastServerResponse));
        if (login !== undefined) {
          await finished(connection, deadline, (done) => connection.login(login, done));
        }
        const wire = takeOver(connection, { command: commandMsMax, dot: dotMsMax });
        const isLmtp = protocol === 'lmtp';
        return putAwayWhenRefused(connectionOver(wire, offers, isLmtp, transactionsMax));
      } catch (error) {
        throw cannotConnect(error);
      }
    },
  };
}

const isLoopback = (host: string): boolean =>
  /^(?:127(?:\.\d{1,3}){3}|\[?::1\]?|localhost)$/i.test(host);

const safeFor = (tls: SmtpOptions['tls']): SmtpOptions['tls'] =>
  tls === 'opportunistic' ? 'required' : tls;

/** Connects; where TLS is only an opportunity and fails, once more without it. */
async function greeted(
  settings: Options,
  mayFallBack: boolean,
  deadline: AbortSignal,
): Promise<SMTPConnection> {
  const connection = new SMTPConnection(settings);
  try {
    await finished(connection, deadline, (done) => connection.connect(done));
    // A refused STARTTLS leaves its own reply, and what the MTA can do is not known from it.
    if (/^2/.test(String(connection.lastServerResponse))) return connection;
    connection.close();
  } catch (error) {
    const isTls = error instanceof Error && 'code' in error && error.code === 'ETLS';
    if (!mayFallBack || !isTls) throw error;
  }
  return greeted({ ...settings, opportunisticTLS: false, ignoreTLS: true }, false, deadline);
}

/** Resolves when what begins is done; closes the connection when it fails, or is not done by the deadline. */
function finished(
  connection: SMTPConnection,
  deadline: AbortSignal,
  begin: (done: (error?: Error | null) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (error?: Error | null): void => {
      deadline.removeEventListener('abort', late);
      connection.removeAllListeners('error');
      connection.removeAllListeners('end');
      if (error) {
        connection.on('error', () => undefined); // Whatever comes while it closes.
        connection.close();
        reject(error);
      } else resolve();
    };
    const late = (): void =>
      end(Object.assign(new Error('it did not answer in time'), { code: 'ETIMEDOUT' }));
    deadline.addEventListener('abort', late);
    connection.once('error', end);
    connection.once('end', () => end(new Error('the connection was closed')));
    if (deadline.aborted) late();
    else begin(end);
  });
}

function cannotConnect(cause: unknown): MailError {
  return new MailError(451, '4.4.1', 'the outgoing mail server does not answer', cause);
}
