/**
 * A connection on which one recipient after another was refused is put away: Postfix answers ever more slowly after 10 errors
 * without a delivery (`smtpd_soft_error_limit`), a second each, and hangs up after 20. A new connection costs a few round trips.
 */
import type { SmtpConnection } from '../world.ts';

/** Refusals since the last delivery; fewer than any MTA we know of punishes. */
export const REFUSALS_MAX = 8;

export function putAwayWhenRefused(connection: SmtpConnection): SmtpConnection {
  let refusals = 0;
  return {
    async send(transaction, following) {
      const replies = await connection.send(transaction, following);
      const isDelivered = replies.some(({ code }) => code >= 200 && code < 300);
      refusals = isDelivered ? 0 : refusals + replies.length;
      return replies;
    },
    get isOpen() {
      return connection.isOpen && refusals < REFUSALS_MAX;
    },
    close: connection.close,
  };
}
