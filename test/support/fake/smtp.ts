/**
 * An MTA in memory, behind the same seam as the real one (`test/contract/smtp.ts` holds both to
 * it).
 */
import { MailError } from '../../../src/errors.ts';
import type { Address } from '../../../src/mail/address.ts';
import { wordOnLoss } from '../../../src/smtp/transact.ts';
import type { RecipientReply, Smtp, SmtpConnection, Transaction } from '../../../src/world.ts';

export type FakeAnswer = RecipientReply | 'lost before' | 'lost after' | null;

export type FakeMail = {
  readonly sender: string;
  readonly recipients: readonly Address[];
  readonly message: Uint8Array;
};

export type FakeSmtp = Smtp & {
  readonly mails: FakeMail[];
  /**
   * Null: accepted. A connection is lost for the whole transaction. `lost after`: the mail is
   * taken, and nothing said.
   */
  rule: (recipient: Address, transaction: Transaction) => FakeAnswer;
  /** Each transaction waits for it before it is begun. */
  pace: () => Promise<void>;
  /** While true, `connect` throws. */
  isDown: boolean;
  connections: number;
};

const TAKEN: RecipientReply = { code: 250, status: '2.0.0', reply: 'taken' };
const LOST_BEFORE = wordOnLoss('before', false);
const LOST_AFTER = wordOnLoss('in', false);

export function createFakeSmtp(): FakeSmtp {
  const fake: FakeSmtp = {
    mails: [],
    rule: () => null,
    pace: () => Promise.resolve(),
    isDown: false,
    connections: 0,
    async connect() {
      if (fake.isDown)
        throw new MailError(451, '4.4.1', 'the outgoing mail server does not answer');
      fake.connections += 1;
      return connection(fake);
    },
  };
  return fake;
}

function connection(fake: FakeSmtp): SmtpConnection {
  let isOpen = true;
  return {
    async send(transaction) {
      await fake.pace();
      if (!isOpen) return transaction.recipients.map(() => LOST_BEFORE);
      const answers = transaction.recipients.map((to) => fake.rule(to, transaction));
      if (answers.includes('lost before')) {
        isOpen = false;
        return answers.map(() => LOST_BEFORE);
      }
      const isTaken = (index: number): boolean => typeof (answers[index] ?? '') === 'string';
      const recipients = transaction.recipients.filter((_, index) => isTaken(index));
      const { sender, message } = transaction;
      if (recipients.length > 0) fake.mails.push({ sender, recipients, message });
      if (answers.includes('lost after')) isOpen = false;
      return answers.map((answer) => {
        if (typeof answer === 'object' && answer !== null) return answer;
        return isOpen ? TAKEN : LOST_AFTER;
      });
    },
    get isOpen() {
      return isOpen;
    },
    close() {
      isOpen = false;
    },
  };
}
