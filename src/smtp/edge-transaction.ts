/**
 * A mail transaction at the edge, up to DATA: what is answered to MAIL and to each RCPT.
 *
 * What can be refused is refused here, by a reply: an address that is none, a list that is not
 * there, a size that was declared too large. Nothing is accepted that would have to be bounced for
 * it later.
 */
import type { SMTPServerAddress, SMTPServerError } from 'smtp-server';
import { MailError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Address, isSmtputf8, parseAddress } from '../mail/address.ts';
import type { MailKind, ReversePath } from '../mail/envelope.ts';
import type { Clock, MailStore, Meter, Random } from '../world.ts';
import { receivingTooMuch } from './edge-body.ts';
import type { EdgeConnection } from './edge-connection.ts';
import { type Budget, type EdgeLimits, ENVELOPE_BYTES_MAX, type WrongMacs } from './edge-limits.ts';

/**
 * What the site says of a recipient; `isWrongMac` tells a guessed machine address from a mistyped
 * one.
 */
export type RcptAnswer =
  | { readonly kind: MailKind; readonly maxMessageBytes: number }
  | { readonly refuse: MailError; readonly isWrongMac?: boolean };

export type EdgeNeeds = {
  /** May throw a MailError, which is answered; anything else thrown is a bug, answered 451. */
  readonly resolve: (address: Address) => RcptAnswer | Promise<RcptAnswer>;
  readonly accept: MailStore['accept'];
  /** False while mail cannot be kept: MAIL is answered 451 4.3.0. */
  readonly isReady: () => boolean;
  /** True of an envelope sender whose posts and commands are refused: RCPT is answered 550 5.7.1. */
  readonly isBanned: (sender: Address) => boolean;
  /** What MAIL is answered with 451 4.3.2 while the site takes no mail; null: it does. */
  readonly closed: string | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly meter: Meter;
  readonly log: Log;
};

/** One of the edge's two servers: what it is given, and what both share. */
export type Door = {
  readonly protocol: 'smtp' | 'lmtp';
  readonly limits: EdgeLimits;
  readonly spoolDir: string;
  readonly budget: Budget;
  readonly wrongMacs: WrongMacs;
  readonly needs: EdgeNeeds;
};

export type Recipient = {
  readonly address: Address;
  readonly kind: MailKind;
  readonly maxMessageBytes: number;
};

export type EdgeTransaction = {
  readonly sender: ReversePath;
  /** SIZE= of MAIL (RFC 1870), 0 if it was not said. */
  readonly declared: number;
  readonly smtputf8: boolean;
  readonly eightBit: boolean;
  readonly trace: string;
  /** One for each RCPT that was answered 250, repeated ones too: LMTP owes each its reply. */
  readonly recipients: Recipient[];
  envelopeBytes: number;
};

const TRACE_BYTES = 8;
const MAIL_PARAMETERS: ReadonlySet<string> = new Set(['SIZE', 'BODY', 'SMTPUTF8']);

/** A new transaction, or why MAIL is refused. */
export function begin(given: SMTPServerAddress, door: Door): EdgeTransaction | MailError {
  const { needs, budget } = door;
  const parameters = given.args === false ? {} : given.args;
  const sender = given.address === '' ? '' : parseAddress(given.address);
  const smtputf8 = parameters.SMTPUTF8 === true;
  const declared = typeof parameters.SIZE === 'string' ? Number(parameters.SIZE) : 0;
  if (needs.closed !== null) return new MailError(451, '4.3.2', needs.closed);
  if (!needs.isReady()) return new MailError(451, '4.3.0', 'Not ready, try again later');
  if (Object.keys(parameters).some((key) => !MAIL_PARAMETERS.has(key))) return notAParameter();
  if (sender === null) return new MailError(501, '5.1.7', 'Bad sender address');
  if (needsUtf8(given.address) && !smtputf8) return notUtf8();
  if (!budget.hasRoom(declared)) return receivingTooMuch();
  return {
    sender,
    declared,
    smtputf8,
    eightBit: String(parameters.BODY).toUpperCase() === '8BITMIME',
    trace: Buffer.from(needs.random.bytes(TRACE_BYTES)).toString('hex'),
    recipients: [],
    envelopeBytes: 0,
  };
}

/**
 * Adds a recipient (null), or says why not. At once wherever the answer is known at once; never
 * rejects.
 */
export function addRecipient(
  given: SMTPServerAddress,
  transaction: EdgeTransaction,
  connection: EdgeConnection,
  door: Door,
): (MailError | null) | Promise<MailError | null> {
  const address = parseAddress(given.address);
  if (given.args !== false) return notAParameter();
  if (address === null) return new MailError(501, '5.1.3', 'Bad recipient address');
  if (needsUtf8(given.address) && !transaction.smtputf8) return notUtf8();
  if (isFull(transaction, door.limits)) return new MailError(452, '4.5.3', 'Too many recipients');
  const settle = (answer: RcptAnswer): MailError | null =>
    judge(answer, transaction, address, connection, door);
  try {
    const answer = door.needs.resolve(address);
    if (!(answer instanceof Promise)) return settle(answer);
    return answer.then(settle).catch((error: unknown) => failureOf(error, door.needs.log));
  } catch (error) {
    return failureOf(error, door.needs.log);
  }
}

function isFull({ recipients, envelopeBytes }: EdgeTransaction, limits: EdgeLimits): boolean {
  return recipients.length >= limits.recipientsMax || envelopeBytes >= ENVELOPE_BYTES_MAX;
}

function judge(
  answer: RcptAnswer,
  transaction: EdgeTransaction,
  address: Address,
  connection: EdgeConnection,
  { wrongMacs, needs }: Door,
): MailError | null {
  if ('refuse' in answer) {
    if (answer.isWrongMac !== true || connection.isTrusted) return answer.refuse;
    wrongMacs.count(connection.peer);
    return wrongMacs.isOver(connection.peer) ? tooManyGuesses() : answer.refuse;
  }
  if (isBanned(transaction, answer.kind, needs)) return banned();
  if (transaction.declared > answer.maxMessageBytes) return tooLarge();
  transaction.recipients.push({ address, ...answer });
  // As JSON in ASCII: a character beyond it is six, and the quotes and comma are three.
  transaction.envelopeBytes += (isSmtputf8(address) ? 6 : 1) * address.length + 3;
  return null;
}

/**
 * A ban is for lists and their robots: who is banned may still write to the owners, as with Mailman, and no bounce is refused for
 * who sent it.
 */
function isBanned({ sender }: EdgeTransaction, kind: MailKind, needs: EdgeNeeds): boolean {
  return (kind === 'post' || kind === 'command') && sender !== '' && needs.isBanned(sender);
}

/**
 * We keep domains as A-labels, but a client that writes U-labels has to have said SMTPUTF8 too (RFC
 * 6531 §3.4).
 */
function needsUtf8(written: string): boolean {
  return /[^\x20-\x7e]/.test(written);
}

// ── Refusals ──────────────────────────────────────────────────────────────

/**
 * As the library wants it; the text begins with the enhanced status, which `EdgeConnection` then
 * keeps.
 */
export function rejection({ code, status, message }: MailError): SMTPServerError {
  return Object.assign(new Error(`${status} ${message}`), { responseCode: code });
}

/** 552 5.3.4 (RFC 1870 §6). */
export function tooLarge(): MailError {
  return new MailError(552, '5.3.4', 'The message is larger than is taken here');
}

/** 421 4.7.0: told at RCPT, and to whoever connects again within the minute. */
export function tooManyGuesses(): MailError {
  return new MailError(421, '4.7.0', 'Too many unknown addresses, try again later');
}

function banned(): MailError {
  return new MailError(550, '5.7.1', 'This sender may not write here');
}

function notAParameter(): MailError {
  return new MailError(555, '5.5.4', 'Parameter not known');
}

function notUtf8(): MailError {
  return new MailError(553, '5.6.7', 'An address that is not ASCII needs SMTPUTF8');
}

/**
 * What a stranger is told of a failure. What is no MailError is a bug: logged here, once, and
 * answered 451, so that the client keeps the mail.
 */
export function failureOf(error: unknown, log: Log): MailError {
  const known = error instanceof MailError;
  const cause = known && error.cause !== undefined ? error.cause : error;
  if (!known) log.error({ error: textOf(error) }, 'a bug at the edge; the client will try again');
  else if (error.isTransient) log.warn({ code: error.code, error: textOf(cause) }, 'put off');
  return known ? error : new MailError(451, '4.3.0', 'Try again later', error);
}
