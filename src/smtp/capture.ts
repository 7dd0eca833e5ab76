/**
 * The route `capture`: with no MTA configured, mail is kept to be looked at, and goes nowhere
 * (design §10).
 */
import type { Clock, Smtp, Transaction } from '../world.ts';

/** Takes a mail; resolves when it would outlive the process. */
export type Keep = (mail: {
  readonly at: number;
  readonly sender: string;
  readonly recipients: readonly string[];
  readonly message: Uint8Array;
}) => Promise<void>;

const KEPT = { code: 250, status: '2.0.0', reply: 'kept, and sent nowhere' };
const NOT_KEPT = { code: 451, status: '4.3.0', reply: 'it could not be kept' };

/** An {@link Smtp} whose every connection hands what it is given to `keep`. */
export function createCapture(keep: Keep, clock: Clock): Smtp {
  return {
    async connect() {
      let isOpen = true;
      return {
        async send(transaction: Transaction) {
          const { sender, recipients, message } = transaction;
          if (!isOpen) return recipients.map(() => ({ ...NOT_KEPT, code: 421 }));
          const isKept = await keep({ at: clock.now(), sender, recipients, message }).then(
            () => true,
            () => false,
          );
          return recipients.map(() => (isKept ? KEPT : NOT_KEPT));
        },
        get isOpen() {
          return isOpen;
        },
        close() {
          isOpen = false;
        },
      };
    },
  };
}
