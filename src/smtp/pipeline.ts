/**
 * Transactions over a kept-open connection, SMTP or LMTP. Where the MTA announced PIPELINING (RFC 2920; RFC 2033 §5 demands it of
 * LMTP) sender, recipients and DATA leave in one write and the message in the next; where it is known what follows, its envelope
 * leaves with the message before it (RFC 2920 §3.1 lets a message begin a group), so a transaction is one round trip and one
 * write. Without it each command waits for the answer to the one before.
 *
 * A message is sent with CRLF ends and dots doubled (RFC 5321 §4.5.2, §2.3.8), whatever it came with. What the MTA said is told per
 * recipient; what it did not say is told apart: a connection lost before DATA was answered means that nothing was sent (421), lost
 * after it that nobody knows (0, RFC 1047).
 */
import { isAsSent, latin1 } from '../mail/lines.ts';
import type { RecipientReply, SmtpConnection, Transaction } from '../world.ts';
import { parseReply } from './reply.ts';
import {
  all,
  isAscii,
  type Offers,
  refusedOutright,
  suits,
  TOO_LARGE,
  wordOnLoss,
} from './transact.ts';
import type { Said, Wire } from './wire.ts';

/** The commands of an envelope beside its RCPTs. */
const MAIL_AND_DATA = 2;
/** In place of the answer to a DATA that was not sent, as there is nobody to send to. */
const NOBODY = '503 5.5.1 no valid recipients';
const END = Buffer.from('\r\n.\r\n');
const END_AFTER_LINE = Buffer.from('.\r\n');
const [LF, CR] = [10, 13];

/** The envelope that has been sent, of a transaction whose turn it will be. */
type Begun = {
  readonly transaction: Transaction;
  /** Its message can be sent as it is. */
  readonly isPlain: boolean;
  readonly said: Promise<Said>;
};

/**
 * Over a wire whose EHLO or LHLO was just answered. Every `send` is answered, also when the connection ends under it. It says that
 * it is not open any more after `transactionsMax`.
 */
export function connectionOver(
  wire: Wire,
  offers: Offers,
  isLmtp: boolean,
  transactionsMax: number,
): SmtpConnection {
  let sent = 0;
  /** A refused envelope leaves the MTA in a transaction that the next MAIL would be nested in. */
  let mustReset = false;
  let ahead: Begun | null = null;
  const lostBeforeData = (): RecipientReply => wordOnLoss('before', wire.isTimedOut());
  const lostInData = (): RecipientReply => wordOnLoss('in', wire.isTimedOut());

  async function transact(
    transaction: Transaction,
    following?: Transaction,
  ): Promise<readonly RecipientReply[]> {
    const begun = ahead?.transaction === transaction ? ahead : null;
    if (ahead !== null && begun === null) wire.cut();
    ahead = null;
    const message = begun?.isPlain === true ? transaction.message : wireForm(transaction);
    const commands = begun === null ? envelopeOf(transaction, offers) : [];
    if (begun === null) {
      const lost = wire.isBroken() ? lostBeforeData() : null;
      const outright = outrightReply(commands, message, offers) ?? lost;
      if (outright !== null) return all(transaction, outright);
    }
    const reset = mustReset ? ['RSET'] : [];
    const said = await (begun?.said ?? askEnvelope(reset, commands));
    const isWhole = said.length === reset.length + MAIL_AND_DATA + transaction.recipients.length;
    const [mail, ...answers] = said.slice(reset.length);
    if (mustReset && isRefusal(said[0])) {
      wire.cut(); // What it says now is about the transaction before.
      return all(transaction, lostBeforeData());
    }
    mustReset = false;
    if (mail === undefined) return all(transaction, lostBeforeData());
    if (isRefusal(mail)) {
      if (isWhole) await leaveData(answers.at(-1));
      return all(transaction, parseReply(mail));
    }
    const refused = transaction.recipients.map((_, i) => isRefusal(answers[i]));
    // Who was refused before the connection was lost was refused all the same.
    const isGoodbye = answers.at(-1)?.startsWith('421') === true; // To DATA: its word on all.
    const isLost = !isWhole || (wire.isBroken() && !isGoodbye);
    const words = isLost ? [] : await finish(refused, answers, message, following);
    const word = words[Symbol.iterator]();
    return refused.map((isRefused, i) =>
      isRefused ? parseReply(answers[i] ?? '') : (word.next().value ?? lostBeforeData()),
    );
  }

  async function askEnvelope(reset: readonly string[], commands: readonly string[]): Promise<Said> {
    sent += 1;
    if (!offers.pipelining) return askInTurn(reset, commands);
    const group = [...reset, ...commands];
    const [said] = wire.ask([bytesOf(group)], [{ replies: group.length, after: 'command' }]);
    return (await said) ?? [];
  }

  /** Each command when the one before was answered, and none that cannot succeed any more. */
  async function askInTurn(reset: readonly string[], commands: readonly string[]): Promise<Said> {
    const said: string[] = [];
    const mustSucceed = reset.length + 1; // RSET and MAIL.
    for (const command of [...reset, ...commands]) {
      const isNobodyLeft = said.slice(mustSucceed).every(isRefusal);
      if (command === 'DATA' && isNobodyLeft) return [...said, NOBODY];
      const [answer] = wire.ask([bytesOf([command])], [{ replies: 1, after: 'command' }]);
      const [reply] = (await answer) ?? [];
      if (reply === undefined) return said;
      said.push(reply);
      if (said.length <= mustSucceed && isRefusal(reply)) return said;
    }
    return said;
  }

  /** A word on each whom the MTA did not refuse before, in order: over SMTP the same for all, over LMTP one each (RFC 2033 §4.2). */
  async function finish(
    refused: readonly boolean[],
    answers: readonly string[],
    message: Uint8Array,
    following: Transaction | undefined,
  ): Promise<readonly RecipientReply[]> {
    const data = answers[refused.length] ?? '';
    const count = refused.filter((isRefused) => !isRefused).length;
    const forAll = (reply: RecipientReply) => Array.from({ length: count }, () => reply);
    if (count === 0 || isRefusal(data)) {
      mustReset = true;
      await leaveData(data);
      return forAll(parseReply(data));
    }
    if (!data.startsWith('3')) {
      wire.cut();
      return forAll(lostBeforeData());
    }
    const replies = await askMessage(message, isLmtp ? count : 1, following);
    const wordAt = (i: number): RecipientReply => {
      const reply = replies[i];
      return reply === undefined ? lostInData() : parseReply(reply);
    };
    return isLmtp ? Array.from({ length: count }, (_, i) => wordAt(i)) : forAll(wordAt(0));
  }

  /** The message, and the envelope that may leave with it. */
  async function askMessage(
    message: Uint8Array,
    replies: number,
    following: Transaction | undefined,
  ): Promise<Said> {
    const next = following === undefined ? null : commandsAhead(following);
    const end = endOf(message);
    const dot = { replies, after: 'dot' } as const;
    const [word, said] =
      next === null
        ? wire.ask([message, end], [dot])
        : wire.ask(
            [message, Buffer.concat([end, bytesOf(next.commands)])],
            [dot, { replies: next.commands.length, after: 'command' }],
          );
    if (next !== null && following !== undefined && said !== undefined) {
      sent += 1;
      ahead = { transaction: following, isPlain: next.isPlain, said };
    }
    return (await word) ?? [];
  }

  /** The envelope that may leave together with the message before it; null if it must wait. */
  function commandsAhead(following: Transaction) {
    if (!offers.pipelining || sent >= transactionsMax || !suits(following, offers)) return null;
    const message = wireForm(following);
    const commands = envelopeOf(following, offers);
    if (outrightReply(commands, message, offers) !== null) return null;
    return { commands, isPlain: message === following.message };
  }

  /** DATA was taken although there is nobody to send to: an empty message ends it (RFC 2920 §3.1). */
  async function leaveData(answer: string | undefined): Promise<void> {
    if (answer?.startsWith('3') !== true) return;
    await wire.ask([END_AFTER_LINE], [{ replies: 1, after: 'dot' }])[0];
  }

  return {
    async send(transaction, following) {
      const some = (part: Transaction) => transact(part);
      return (await refusedOutright(transaction, offers, some)) ?? transact(transaction, following);
    },
    get isOpen() {
      return !wire.isBroken() && (ahead !== null || sent < transactionsMax);
    },
    close: () => (ahead === null ? wire.close() : wire.cut()),
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

// ── What is written ───────────────────────────────────────────────────────

/** MAIL with SIZE, BODY, SMTPUTF8, RET and ENVID where they are offered; RCPT with ORCPT; DATA. */
function envelopeOf(transaction: Transaction, offers: Offers): readonly string[] {
  const { sender, recipients, eightBit, smtputf8, envid } = transaction;
  const needsUtf8 = smtputf8 || !isAscii(sender) || !recipients.every(isAscii);
  const mail = [
    `MAIL FROM:<${sender}>`,
    ...(eightBit && offers.eightBit ? ['BODY=8BITMIME'] : []),
    ...(needsUtf8 && offers.smtputf8 ? ['SMTPUTF8'] : []),
    // Without the dots that are doubled (RFC 1870 §4).
    ...(offers.size === null ? [] : [`SIZE=${transaction.message.byteLength}`]),
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
