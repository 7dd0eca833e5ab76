/**
 * One transaction after another over a connection that is kept open.
 *
 * What the MTA said is told per recipient; what it did not say is told apart: a connection lost
 * before DATA was answered means that nothing was sent (421), lost after it that nobody knows (0,
 * RFC 1047).
 *
 * The library states SMTPUTF8 in MAIL only when an address needs it (not when only a header does).
 */
import type SMTPConnection from 'nodemailer/lib/smtp-connection';
import type { Envelope as Given, SentMessageInfo, SMTPError } from 'nodemailer/lib/smtp-connection';
import { textOf } from '../errors.ts';
import type { Address } from '../mail/address.ts';
import type { RecipientReply, SmtpConnection, Transaction } from '../world.ts';
import { parseReply } from './reply.ts';

/** For QUIT to be answered. */
export const QUIT_MS_MAX = 5_000;

export const LOST_BEFORE_DATA: RecipientReply = {
  code: 421,
  status: '4.4.2',
  reply: 'the connection was lost before the message was sent',
};
export const LOST_IN_DATA: RecipientReply = {
  code: 0,
  status: '',
  reply: 'the connection was lost before the message was answered',
};
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

/** What nodemailer notes on the envelope that it is given. */
type Envelope = Given & { accepted?: string[]; rejectedErrors?: SMTPError[] };
type Sent = { readonly error: SMTPError | null; readonly info?: SentMessageInfo };

/**
 * Wraps a connection whose EHLO or LHLO was just answered. Every `send` is answered, also when the
 * connection ends under it. It says that it is not open any more after `transactionsMax`.
 */
export function keptOpen(
  connection: SMTPConnection,
  offers: Offers,
  transactionsMax: number,
): SmtpConnection {
  const wire = createWire(connection);
  const heard = hearEach(connection);
  let sent = 0;
  /** A refused envelope leaves the MTA in a transaction that the next MAIL would be nested in. */
  let mustReset = false;

  async function transact(transaction: Transaction): Promise<readonly RecipientReply[]> {
    if (mustReset) await wire.reset();
    mustReset = false;
    if (wire.isBroken()) return all(transaction, LOST_BEFORE_DATA);
    sent += 1;
    const envelope = envelopeOf(transaction, offers);
    heard.clear();
    const { error, info } = await wire.send(envelope, transaction.message);
    mustReset = error !== null;
    const { recipients } = transaction;
    const reply = (rejected: readonly SMTPError[], others: RecipientReply) =>
      repliesOf(recipients, heard, rejected, others);
    if (info) return reply(info.rejectedErrors ?? [], wordOf(info));
    if (wire.isBroken() && parseReply(error?.response ?? '').code < 400) {
      if (!isInData(connection, envelope)) return all(transaction, LOST_BEFORE_DATA);
      return reply(envelope.rejectedErrors ?? [], LOST_IN_DATA);
    }
    // Pipelined RCPTs after a refused MAIL are refused for that alone (503): MAIL's is the word.
    const one = error?.command === 'MAIL FROM' ? [] : (envelope.rejectedErrors ?? []);
    return reply(one, wordOfError(error));
  }

  return {
    async send(transaction) {
      return (await refusedOutright(transaction, offers, transact)) ?? transact(transaction);
    },
    get isOpen() {
      return !wire.isBroken() && sent < transactionsMax;
    },
    close: wire.close,
  };
}

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
    isAscii(recipient) ? (next.next().value ?? LOST_BEFORE_DATA) : NO_SMTPUTF8,
  );
}

export const all = (transaction: Transaction, reply: RecipientReply): readonly RecipientReply[] =>
  transaction.recipients.map(() => reply);

export const isAscii = (address: Address | ''): boolean => !/[^ -~]/.test(address);

type Wire = {
  send(envelope: Envelope, message: Uint8Array): Promise<Sent>;
  /** RSET; the wire is broken if it is refused. */
  reset(): Promise<void>;
  isBroken(): boolean;
  close(): void;
};

/**
 * The library's callbacks as promises that always resolve: it forgets them when it closes by
 * itself.
 */
function createWire(connection: SMTPConnection): Wire {
  let isBroken = false;
  let answer: ((sent: Sent) => void) | null = null;
  const lost = (error: SMTPError | null): void => {
    isBroken = true;
    settle({ error: error ?? new Error('the connection was closed') });
  };
  const settle = (sent: Sent): void => {
    const waiting = answer;
    answer = null;
    waiting?.(sent);
  };
  connection.on('error', lost);
  connection.on('end', () => lost(null));
  return {
    send: (envelope, message) =>
      new Promise((resolve) => {
        answer = resolve;
        const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
        connection.send(envelope, bytes, (error, info) => {
          settle(error === null ? { error, info } : { error });
        });
      }),
    reset: () =>
      new Promise((resolve) => {
        answer = () => resolve();
        connection.reset((error) => {
          if (error !== null) connection.close();
          settle({ error });
        });
      }),
    isBroken: () => isBroken || connection.destroyed,
    close() {
      if (isBroken || answer !== null) return connection.close();
      isBroken = true;
      connection.quit();
      setTimeout(() => connection.close(), QUIT_MS_MAX).unref();
    },
  };
}

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

/**
 * RET and ENVID, and ORCPT for a single recipient: the library has one an envelope (RFC 3461 §4).
 */
function envelopeOf(transaction: Transaction, offers: Offers): Envelope {
  const [first, second] = transaction.recipients;
  const orcpt = first !== undefined && second === undefined && isAscii(first) ? first : undefined;
  return {
    from: transaction.sender === '' ? false : transaction.sender,
    to: [...transaction.recipients],
    size: transaction.message.byteLength,
    use8BitMime: transaction.eightBit,
    ...(offers.dsn && { dsn: { ret: 'HDRS', envid: transaction.envid, orcpt } }),
  };
}

/**
 * Over LMTP each recipient is answered after the dot (RFC 2033 §4.2), of which the library keeps the refusals and the last: here are
 * all of them, by recipient, as they come.
 */
function hearEach(connection: SMTPConnection): Map<string, string> {
  const heard = new Map<string, string>();
  type Action = (recipient: string, isLast: boolean, said: string, callback: unknown) => void;
  const own = connection as unknown as { _actionLMTPStream?: Action };
  const action = own._actionLMTPStream;
  own._actionLMTPStream = (recipient, isLast, said, callback) => {
    heard.set(recipient, said);
    action?.call(connection, recipient, isLast, said, callback);
  };
  return heard;
}

/** The MTA's word on those whom it did not refuse one by one. */
function wordOf(info: SentMessageInfo): RecipientReply {
  const reply = parseReply(info.response);
  // LMTP answers once a recipient, and the library hands over the last answer: it may be a refusal.
  return reply.code >= 200 && reply.code < 300 ? reply : { code: 250, status: '', reply: '' };
}

function wordOfError(error: SMTPError | null): RecipientReply {
  const reply = parseReply(error?.response ?? '');
  if (reply.code >= 400) return reply;
  if (error?.code === 'EMESSAGE') return TOO_LARGE;
  return { code: 553, status: '5.1.3', reply: textOf(error).slice(0, 100) };
}

/**
 * Whether a lost connection may have carried the whole message: DATA was answered, or, over LMTP,
 * perhaps.
 */
function isInData(connection: SMTPConnection, envelope: Envelope): boolean {
  if (String(connection.lastServerResponse).startsWith('3')) return true;
  const answered = (envelope.accepted?.length ?? 0) + (envelope.rejectedErrors?.length ?? 0);
  return connection.options.lmtp === true && answered >= [envelope.to].flat().length;
}

/** `heard` is what LMTP answered to the message, `rejected` who was refused one by one. */
function repliesOf(
  recipients: readonly Address[],
  heard: ReadonlyMap<string, string>,
  rejected: readonly SMTPError[],
  others: RecipientReply,
): readonly RecipientReply[] {
  if (rejected.length === 0 && heard.size === 0) return recipients.map(() => others);
  const words = new Map<string | undefined, RecipientReply>();
  for (const error of rejected) words.set(error.recipient, parseReply(error.response ?? ''));
  for (const [recipient, said] of heard) words.set(recipient, parseReply(said));
  return recipients.map((recipient) => words.get(recipient) ?? others);
}
