/**
 * Transactions over a kept-open connection to an MTA that announced PIPELINING (RFC 2920): sender, recipients and DATA leave
 * in one write and the message in the next, so a transaction is two round trips, and the message is not copied.
 *
 * nodemailer connects, greets, does TLS and logs in; then its socket is read here. It still watches over time and the
 * connection's end. A message is sent with CRLF ends and dots doubled (RFC 5321 §4.5.2, §2.3.8), whatever it came with.
 */
import type { Socket } from 'node:net';
import type SMTPConnection from 'nodemailer/lib/smtp-connection';
import type { RecipientReply, SmtpConnection, Transaction } from '../world.ts';
import { parseReply } from './reply.ts';
import {
  all,
  isAscii,
  LOST_BEFORE_DATA,
  LOST_IN_DATA,
  type Offers,
  QUIT_MS_MAX,
  refusedOutright,
  TOO_LARGE,
} from './transact.ts';

/** What an MTA may say before a reply is whole. */
const REPLY_BYTES_MAX = 64 * 1024;
const END = Buffer.from('\r\n.\r\n');
const END_AFTER_LINE = Buffer.from('.\r\n');
const [LF, CR] = [10, 13];

/** The socket and the reader that nodemailer keeps to itself; null if another version keeps them elsewhere. */
export function socketOf(connection: SMTPConnection): Socket | null {
  const { _socket: socket, _onSocketData: reader } = connection as unknown as {
    readonly _socket?: Socket;
    readonly _onSocketData?: (...args: unknown[]) => void;
  };
  if (socket === undefined || reader === undefined) return null;
  if (!socket.listeners('data').includes(reader)) return null;
  socket.removeListener('data', reader);
  return socket;
}

/** Takes over a connection whose EHLO was just answered, and its socket; as `keptOpen` otherwise. */
export function pipelined(
  connection: SMTPConnection,
  socket: Socket,
  offers: Offers,
  transactionsMax: number,
): SmtpConnection {
  const wire = createWire(connection, socket);
  let sent = 0;
  /** A refused envelope leaves the MTA in a transaction that the next MAIL would be nested in. */
  let mustReset = false;

  async function transact(transaction: Transaction): Promise<readonly RecipientReply[]> {
    const message = wireForm(transaction.message);
    if (offers.size !== null && offers.size > 0 && message.byteLength > offers.size)
      return all(transaction, TOO_LARGE);
    const reset = mustReset ? ['RSET'] : [];
    const commands = [...reset, ...envelopeOf(transaction, message.byteLength, offers)];
    if (!commands.every(isOneLine)) return all(transaction, NOT_AN_ADDRESS);
    if (wire.isBroken()) return all(transaction, LOST_BEFORE_DATA);
    sent += 1;
    const said = await wire.ask(Buffer.from(`${commands.join('\r\n')}\r\n`), commands.length);
    const isWhole = said.length === commands.length;
    const [mail, ...answers] = said.slice(reset.length);
    if (mustReset && isRefusal(said[0])) {
      connection.close(); // What it says now is about the transaction before.
      return all(transaction, LOST_BEFORE_DATA);
    }
    mustReset = false;
    if (wire.isBroken() && !isRefusal(mail)) return all(transaction, LOST_BEFORE_DATA);
    if (mail !== undefined && isRefusal(mail)) {
      if (isWhole) await leaveData(answers.at(-1));
      return all(transaction, parseReply(mail));
    }
    const refused = transaction.recipients.map((_, i) => isRefusal(answers[i]));
    const outcome = isWhole ? await finish(refused, answers, message) : LOST_BEFORE_DATA;
    return refused.map((isRefused, i) => (isRefused ? parseReply(answers[i] ?? '') : outcome));
  }

  /** The word on all whom the MTA did not refuse one by one. */
  async function finish(
    refused: readonly boolean[],
    answers: readonly string[],
    message: Uint8Array,
  ): Promise<RecipientReply> {
    const data = answers[refused.length] ?? '';
    if (!refused.includes(false) || isRefusal(data)) {
      mustReset = true;
      await leaveData(data);
      return parseReply(data);
    }
    if (!data.startsWith('3')) {
      connection.close();
      return LOST_BEFORE_DATA;
    }
    const [word] = await wire.ask(message, 1, endOf(message));
    return word === undefined ? LOST_IN_DATA : parseReply(word);
  }

  /** DATA was taken although there is nobody to send to: an empty message ends it (RFC 2920 §3.1). */
  async function leaveData(answer: string | undefined): Promise<void> {
    if (answer?.startsWith('3') === true) await wire.ask(END_AFTER_LINE, 1);
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

const NOT_AN_ADDRESS: RecipientReply = { code: 553, status: '5.1.3', reply: 'not an address' };
/** What would be a command of its own is never sent; the parser at the door lets no such address in. */
const isOneLine = (command: string): boolean => !/[\r\n]/.test(command);
/** What is no yes is a no; what did not come is neither. */
const isRefusal = (reply: string | undefined): boolean =>
  reply !== undefined && !/^[23]/.test(reply);

// ── The wire ──────────────────────────────────────────────────────────────

type Wire = {
  /** Writes, and resolves with so many replies; with fewer when the connection is lost before. */
  ask(bytes: Uint8Array, replies: number, end?: Uint8Array): Promise<readonly string[]>;
  isBroken(): boolean;
  close(): void;
};

function createWire(connection: SMTPConnection, socket: Socket): Wire {
  let isBroken = false;
  let text = '';
  let wanted = 0;
  let replies: string[] = [];
  let answer: ((replies: readonly string[]) => void) | null = null;

  function settle(): void {
    const waiting = answer;
    answer = null;
    waiting?.(replies);
  }
  function lost(): void {
    isBroken = true;
    settle();
  }
  /** Lines of one reply are joined by LF (RFC 5321 §4.2.1). */
  function take(): void {
    for (let from = 0; ; ) {
      const end = text.indexOf('\n', from);
      if (end < 0) {
        if (text.length > REPLY_BYTES_MAX) connection.close();
        return;
      }
      from = end + 1;
      if (text[text.lastIndexOf('\n', end - 1) + 4] === '-') continue;
      const reply = text.slice(0, end).replaceAll('\r', '');
      replies.push(reply);
      if (reply.startsWith('421')) isBroken = true; // It is about to close (RFC 5321 §3.8).
      text = text.slice(from);
      from = 0;
    }
  }
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
    take();
    if (replies.length < wanted) return;
    // Nobody asked: it says goodbye, or it is out of step.
    if (answer === null || replies.length > wanted) isBroken = true;
    settle();
  });
  connection.on('error', lost);
  connection.on('end', lost);
  return {
    ask: (bytes, count, end) =>
      new Promise((resolve) => {
        wanted = count;
        replies = [];
        answer = resolve;
        if (isBroken) return settle();
        if (end !== undefined) socket.cork();
        socket.write(bytes);
        if (end === undefined) return;
        socket.write(end);
        socket.uncork();
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

// ── What is written ───────────────────────────────────────────────────────

/** MAIL with SIZE, BODY, SMTPUTF8, RET and ENVID where they are offered; RCPT with ORCPT; DATA. */
function envelopeOf(transaction: Transaction, size: number, offers: Offers): readonly string[] {
  const { sender, recipients, eightBit, smtputf8, envid } = transaction;
  const needsUtf8 = smtputf8 || !isAscii(sender) || !recipients.every(isAscii);
  const mail = [
    `MAIL FROM:<${sender}>`,
    ...(eightBit && offers.eightBit ? ['BODY=8BITMIME'] : []),
    ...(needsUtf8 && offers.smtputf8 ? ['SMTPUTF8'] : []),
    ...(offers.size === null ? [] : [`SIZE=${size}`]),
    ...(offers.dsn ? ['RET=HDRS', ...(envid === undefined ? [] : [`ENVID=${xtext(envid)}`])] : []),
  ];
  const rcpt = recipients.map((recipient) =>
    offers.dsn && isAscii(recipient)
      ? `RCPT TO:<${recipient}> ORCPT=rfc822;${xtext(recipient)}`
      : `RCPT TO:<${recipient}>`,
  );
  return [mail.join(' '), ...rcpt, 'DATA'];
}

/** RFC 3461 §4: what is not printable, `+` and `=` as `+` and two hex digits. */
function xtext(text: string): string {
  return text.replace(/[^!-*,-<>-~]/g, (char) => {
    return `+${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

function endOf(message: Uint8Array): Uint8Array {
  return message.at(-1) === LF && message.at(-2) === CR ? END_AFTER_LINE : END;
}

/** A CR or LF alone, or a dot that begins a line. */
const ODD = /\r(?!\n)|(?<!\r)\n|\n\.|^\./;

/** The same bytes where they can be sent as they are, which is nearly always. */
function wireForm(message: Uint8Array): Uint8Array {
  const { buffer, byteOffset, byteLength } = message;
  const text = Buffer.from(buffer, byteOffset, byteLength).toString('latin1');
  return ODD.test(text) ? mended(text) : message;
}

function mended(text: string): Uint8Array {
  const lines = text.replace(/\r\n|\r|\n/g, '\r\n').replace(/^\./gm, '..');
  return Buffer.from(lines, 'latin1');
}
