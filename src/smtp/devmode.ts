/**
 * `devmode`: every mail goes to one address, whoever it was for. From nobody, since a bounce of that address would else be
 * counted against the member that the return path names.
 */
import type { Address } from '../mail/address.ts';
import type { Smtp } from '../world.ts';

/** The same MTA, with one recipient. */
export function redirected(smtp: Smtp, to: Address): Smtp {
  return {
    async connect() {
      const connection = await smtp.connect();
      return {
        async send(transaction) {
          const replies = await connection.send({ ...transaction, sender: '', recipients: [to] });
          return transaction.recipients.flatMap(() => replies);
        },
        get isOpen() {
          return connection.isOpen;
        },
        close: () => connection.close(),
      };
    },
  };
}
