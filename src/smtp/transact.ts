/** What an MTA offers, what is answered in its place because it lacks something, and our own words for a connection that was lost. */
import type { Address } from '../mail/address.ts';
import type { RecipientReply, Transaction } from '../world.ts';

type Loss = 'before' | 'in';

const LOST: Readonly<Record<Loss, RecipientReply>> = {
  before: {
    code: 421,
    status: '4.4.2',
    reply: 'the connection was lost before the message was sent',
  },
  in: { code: 0, status: '', reply: 'the connection was lost before the message was answered' },
};
const TIMED_OUT: typeof LOST = {
  before: { code: 421, status: '4.4.2', reply: 'no answer in time, before the message was sent' },
  in: { code: 0, status: '', reply: 'the message was not answered in time' },
};

/** Our own word, `before` DATA was answered or `in` the message. */
export const wordOnLoss = (when: Loss, isTimedOut: boolean): RecipientReply =>
  (isTimedOut ? TIMED_OUT : LOST)[when];

/** How a connection was lost, if this is our own word for it; null where the MTA said it. */
export function lossIn({ code, reply }: RecipientReply): 'lost' | 'timeout' | null {
  if (code !== 0 && code !== 421) return null;
  if (Object.values(TIMED_OUT).some((own) => own.reply === reply)) return 'timeout';
  return Object.values(LOST).some((own) => own.reply === reply) ? 'lost' : null;
}

/** RFC 6531 §3.4 and §3.6, RFC 6152 §3, RFC 1870 §6.1. */
const NO_SMTPUTF8: RecipientReply = {
  code: 550,
  status: '5.6.7',
  reply: 'the next server does not take SMTPUTF8 mail',
};
const NO_8BIT: RecipientReply = {
  code: 554,
  status: '5.6.3',
  reply: 'the next server does not take 8-bit mail',
};
export const TOO_LARGE: RecipientReply = {
  code: 552,
  status: '5.3.4',
  reply: 'the message is larger than the next server takes',
};

/** Whether the MTA has each extension that this transaction needs. */
export const suits = ({ smtputf8, eightBit, recipients }: Transaction, offers: Offers): boolean =>
  (!smtputf8 || offers.smtputf8) &&
  (!eightBit || offers.eightBit) &&
  (offers.smtputf8 || recipients.every(isAscii));

/**
 * What is answered without asking, or asking for some only, because the MTA lacks an extension; null where it lacks none
 * that this transaction needs.
 */
export async function refusedOutright(
  transaction: Transaction,
  offers: Offers,
  transact: (some: Transaction) => Promise<readonly RecipientReply[]>,
): Promise<readonly RecipientReply[] | null> {
  if (suits(transaction, offers)) return null;
  if (transaction.smtputf8 && !offers.smtputf8) return all(transaction, NO_SMTPUTF8);
  if (transaction.eightBit && !offers.eightBit) return all(transaction, NO_8BIT);
  const recipients = transaction.recipients.filter(isAscii);
  const replies = recipients.length > 0 ? await transact({ ...transaction, recipients }) : [];
  const next = replies[Symbol.iterator]();
  return transaction.recipients.map((recipient) =>
    isAscii(recipient) ? (next.next().value ?? LOST.before) : NO_SMTPUTF8,
  );
}

export const all = (transaction: Transaction, reply: RecipientReply): readonly RecipientReply[] =>
  transaction.recipients.map(() => reply);

export const isAscii = (address: Address | ''): boolean => !/[^ -~]/.test(address);

export type Offers = {
  readonly pipelining: boolean;
  readonly eightBit: boolean;
  readonly smtputf8: boolean;
  readonly dsn: boolean;
  /** The most bytes of a message, 0 for no bound that is told; null where SIZE is not offered. */
  readonly size: number | null;
};

/** The extensions we care for, from the answer to EHLO or LHLO. */
export function offersOf(ehlo: string): Offers {
  const [, size] = /^250[ -]SIZE(?: (\d+))?\b/im.exec(ehlo) ?? [];
  return {
    pipelining: /^250[ -]PIPELINING\b/im.test(ehlo),
    size: /^250[ -]SIZE\b/im.test(ehlo) ? Number(size ?? 0) : null,
    eightBit: /^(250[ -])?8BITMIME\b/im.test(ehlo),
    smtputf8: /^(250[ -])?SMTPUTF8\b/im.test(ehlo),
    dsn: /^(250[ -])?DSN\b/im.test(ehlo),
  };
}
