/**
 * Transactions over a kept-open connection to an MTA that announced PIPELINING (RFC 2920): sender, recipients and DATA leave
 * in one write and the message in the next. Where it is known what follows, its envelope leaves with the message
 * before it (RFC 2920 §3.1 lets a message begin a group), so a transaction is one round trip and one write.
 *
 * nodemailer connects, greets, does TLS and logs in; then its socket is read here. It still watches over time and the
 * connection's end. A message is sent with CRLF ends and dots doubled (RFC 5321 §4.5.2, §2.3.8), whatever it came with.
 */
import type { Socket } from 'node:net';
import type SMTPConnection from 'nodemailer/lib/smtp-connection';
import { isAsSent, latin1 } from '../mail/lines.ts';
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
  suits,
  TOO_LARGE,
} from './transact.ts';

/** What an MTA may say before a reply is whole. */
const REPLY_BYTES_MAX = 64 * 1024;
/** What is written at once is copied together up to this size, which costs less than a write of several parts. */
const JOINED_BYTES_MAX = 64 * 1024;
/** The commands of an envelope beside its RCPTs. */
const MAIL_AND_DATA = 2;
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

/** The envelope that has been sent, of a transaction whose turn it will be. */
type Begun = {
  readonly transaction: Transaction;
  /** Its message can be sent as it is. */
  readonly isPlain: boolean;
  readonly said: Promise<readonly string[]>;
};

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
  let ahead: Begun | null = null;

  async function transact(
    transaction: Transaction,
    following?: Transaction,
  ): Promise<readonly RecipientReply[]> {
    const begun = ahead?.transaction === transaction ? ahead : null;
    if (ahead !== null && begun === null) connection.close();
    ahead = null;
    const message = begun?.isPlain === true ? transaction.message : wireForm(transaction);
    const commands = begun === null ? envelopeOf(transaction, message.byteLength, offers) : [];
    if (begun === null) {
      const lost = wire.isBroken() ? LOST_BEFORE_DATA : null;
      const outright = outrightReply(commands, message, offers) ?? lost;
      if (outright !== null) return all(transaction, outright);
    }
    const reset = mustReset ? ['RSET'] : [];
    const said = await (begun?.said ?? askEnvelope([...reset, ...commands]));
    const isWhole = said.length === reset.length + MAIL_AND_DATA + transaction.recipients.length;
    const [mail, ...answers] = said.slice(reset.length);
    if (mustReset && isRefusal(said[0])) {
      connection.close(); // What it says now is about the transaction before.
      return all(transaction, LOST_BEFORE_DATA);
    }
    mustReset = false;
    if (mail === undefined) return all(transaction, LOST_BEFORE_DATA);
    if (isRefusal(mail)) {
      if (isWhole) await leaveData(answers.at(-1));
      return all(transaction, parseReply(mail));
    }
    const refused = transaction.recipients.map((_, i) => isRefusal(answers[i]));
    // Who was refused before the connection was lost was refused all the same.
    const isLost = !isWhole || wire.isBroken();
    const outcome = isLost ? LOST_BEFORE_DATA : await finish(refused, answers, message, following);
    return refused.map((isRefused, i) => (isRefused ? parseReply(answers[i] ?? '') : outcome));
  }

  async function askEnvelope(commands: readonly string[]): Promise<readonly string[]> {
    sent += 1;
    const [said] = wire.ask([bytesOf(commands)], [commands.length]);
    return (await said) ?? [];
  }

  /** The word on all whom the MTA did not refuse one by one. */
  async function finish(
    refused: readonly boolean[],
    answers: readonly string[],
    message: Uint8Array,
    following: Transaction | undefined,
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
    const next = following === undefined ? null : commandsAhead(following);
    const end = endOf(message);
    const [word, said] =
      next === null
        ? wire.ask([message, end], [1])
        : wire.ask(
            [message, Buffer.concat([end, bytesOf(next.commands)])],
            [1, next.commands.length],
          );
    if (next !== null && following !== undefined && said !== undefined) {
      sent += 1;
      ahead = { transaction: following, isPlain: next.isPlain, said };
    }
    const [reply] = (await word) ?? [];
    return reply === undefined ? LOST_IN_DATA : parseReply(reply);
  }

  /** The envelope that may leave together with the message before it; null if it must wait. */
  function commandsAhead(following: Transaction) {
    if (sent >= transactionsMax || !suits(following, offers)) return null;
    const message = wireForm(following);
    const commands = envelopeOf(following, message.byteLength, offers);
    if (outrightReply(commands, message, offers) !== null) return null;
    return { commands, isPlain: message === following.message };
  }

  /** DATA was taken although there is nobody to send to: an empty message ends it (RFC 2920 §3.1). */
  async function leaveData(answer: string | undefined): Promise<void> {
    if (answer?.startsWith('3') === true) await wire.ask([END_AFTER_LINE], [1])[0];
  }

  return {
    async send(transaction, following) {
      const some = (part: Transaction) => transact(part);
      return (await refusedOutright(transaction, offers, some)) ?? transact(transaction, following);
    },
    get isOpen() {
      return !wire.isBroken() && (ahead !== null || sent < transactionsMax);
    },
    close: () => (ahead === null ? wire.close() : connection.close()),
  };
}

/** What is answered without asking the MTA; null if it is to be asked. */
function outrightReply(
  commands: readonly string[],
  message: Uint8Array,
  { size }: Offers,
): RecipientReply | null {
  if (size !== null && size > 0 && message.byteLength > size) return TOO_LARGE;
  return commands.every(isOneLine) ? null : NOT_AN_ADDRESS;
}

const bytesOf = (commands: readonly string[]): Uint8Array =>
  Buffer.from(`${commands.join('\r\n')}\r\n`);

const NOT_AN_ADDRESS: RecipientReply = { code: 553, status: '5.1.3', reply: 'not an address' };
/** What would be a command of its own is never sent; the parser at the door lets no such address in. */
const isOneLine = (command: string): boolean => !/[\r\n]/.test(command);
/** What is no yes is a no; what did not come is neither. */
const isRefusal = (reply: string | undefined): boolean =>
  reply !== undefined && !/^[23]/.test(reply);

// ── The wire ──────────────────────────────────────────────────────────────

type Wire = {
  /**
   * Writes all parts at once; resolves, for each of `counts`, with so many replies, in order; with fewer when the connection is
   * lost before.
   */
  ask(parts: readonly Uint8Array[], counts: readonly number[]): readonly Promise<Said>[];
  isBroken(): boolean;
  close(): void;
};
type Said = readonly string[];
type Waiting = {
  readonly count: number;
  readonly replies: string[];
  readonly resolve: (said: Said) => void;
};

function createWire(connection: SMTPConnection, socket: Socket): Wire {
  let isBroken = false;
  let text = '';
  let waiting: Waiting[] = [];

  function lost(): void {
    isBroken = true;
    const all = waiting;
    waiting = [];
    for (const { replies, resolve } of all) resolve(replies);
  }
  function heard(reply: string): void {
    const [first] = waiting;
    // Nobody asked: it says goodbye, or it is out of step.
    if (first === undefined || reply.startsWith('421')) isBroken = true; // RFC 5321 §3.8.
    if (first === undefined) return;
    first.replies.push(reply);
    if (first.replies.length < first.count) return;
    waiting.shift();
    first.resolve(first.replies);
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
      const line = text.slice(0, text.charCodeAt(end - 1) === CR ? end - 1 : end);
      const reply = line.includes('\r') ? line.replaceAll('\r', '') : line;
      text = text.slice(from);
      from = 0;
      heard(reply);
    }
  }
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
    take();
  });
  function write(parts: readonly Uint8Array[]): void {
    const size = parts.reduce((sum, part) => sum + part.byteLength, 0);
    if (size <= JOINED_BYTES_MAX) return void socket.write(Buffer.concat(parts, size));
    socket.cork();
    for (const part of parts) socket.write(part);
    socket.uncork();
  }
  connection.on('error', lost);
  connection.on('end', lost);
  return {
    ask(parts, counts) {
      const asked = counts.map(
        (count) =>
          new Promise<Said>((resolve) => {
            if (isBroken) resolve([]);
            else waiting.push({ count, replies: [], resolve });
          }),
      );
      if (isBroken) return asked;
      write(parts);
      return asked;
    },
    isBroken: () => isBroken || connection.destroyed,
    close() {
      if (isBroken || waiting.length > 0) return connection.close();
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

/** The same bytes where they can be sent as they are, which is nearly always. */
function wireForm({ message, asSent }: Transaction): Uint8Array {
  return asSent === true || isAsSent(message) ? message : mended(latin1(message));
}

function mended(text: string): Uint8Array {
  const lines = text.replace(/\r\n|\r|\n/g, '\r\n').replace(/^\./gm, '..');
  return Buffer.from(lines, 'latin1');
}
