/** How an MTA failed us, told from what the client library threw or from what the MTA said (actors/route.ts). */
import type { Trouble } from '../../actors/route.ts';
import { MailError } from '../errors.ts';
import type { RecipientReply } from '../world.ts';
import { lossIn } from './transact.ts';

/** Node's and OpenSSL's: a handshake that failed, a certificate that does not hold. */
const OF_TLS = /SSL|TLS|CERT|SIGNATURE/;

/** Of a connection that could not be made. */
export function troubleOf(error: unknown): Trouble {
  const cause = error instanceof MailError && error.cause !== undefined ? error.cause : error;
  if (typeof cause !== 'object' || cause === null) return 'refused';
  const { code, originalCode, responseCode, command, message } = cause as {
    readonly code?: unknown;
    readonly originalCode?: unknown;
    readonly responseCode?: unknown;
    readonly command?: unknown;
    readonly message?: unknown;
  };
  if (responseCode === 421) return '421';
  if (code === 'EAUTH') return 'login';
  if (code === 'ETLS' || command === 'STARTTLS' || OF_TLS.test(String(originalCode))) return 'tls';
  if (code === 'ETIMEDOUT') return 'timeout';
  // What answered and is no MTA, or one that hung up before it said its name.
  if (code === 'EPROTOCOL' || String(message).includes('closed')) return 'greeting';
  return 'refused';
}

/**
 * Of a transaction; null where the MTA answered it, whatever it said. A recipient may have been refused before the connection was
 * lost: it was lost all the same.
 */
export function troubleIn(replies: readonly RecipientReply[]): Trouble | null {
  const own = replies.find((reply) => lossIn(reply) !== null);
  const isGoodbye = replies.some((reply) => reply.code === 421 && lossIn(reply) === null);
  if (own !== undefined) return isGoodbye ? '421' : lossIn(own);
  const isAllGoodbye = isGoodbye && replies.every(({ code }) => code === 421);
  return isAllGoodbye ? '421' : null;
}

/** The MTA said nothing at all about it. */
export const isLost = (replies: readonly RecipientReply[]): boolean =>
  replies.every((reply) => lossIn(reply) !== null);
