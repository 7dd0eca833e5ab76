/**
 * A connection on which one recipient after another was refused is put away: after 10 errors without a delivery
 * (`smtpd_soft_error_limit`) Postfix takes a second for each answer, good ones too, and hangs up after 20. A new connection costs
 * a few round trips.
 */
import type { SmtpConnection } from '../world.ts';

/** Errors since the last delivery; fewer than any MTA we know of punishes. */
export const ERRORS_MAX = 8;

/** As it was, but not open any more when it has had so many errors in a row. */
export function putAwayWhenRefused(connection: SmtpConnection): SmtpConnection {
  let errors = 0;
  return {
    async send(transaction, following) {
      const replies = await connection.send(transaction, following);
      const isDelivered = replies.some(({ code }) => code >= 200 && code < 300);
      // Where nobody was accepted, DATA was an error as well.
      errors = isDelivered ? 0 : errors + replies.length + 1;
      return replies;
    },
    get isOpen() {
      return connection.isOpen && errors < ERRORS_MAX;
    },
    close: connection.close,
  };
}
