/**
 * What a message of MAIL is: one mail, its bytes as payload and its envelope as a header; or, of bounces that came at once, several
 * small ones, their bytes one after the other, and a header that tells how many each has, with its envelope (decision 0020).
 */
import { MailError } from '../errors.ts';
import type { Envelope, MailRef } from '../mail/envelope.ts';
import type { Message } from '../world.ts';
import type { BatchMessage } from './publisher.ts';

const ENVELOPE = 'Troupe-Envelope';
const MAILS = 'Troupe-Mails';
const PARTS = 'Troupe-Parts';
/** Of copies in HELD and ARCHIVE. */
export const ID = 'Troupe-Id';
export const NOTE = 'Troupe-Note';
export const PART_OF = 'Troupe-Part-Of';
/** All that stands beside the bytes of a mail. */
export const MAIL_HEADERS: readonly string[] = [ENVELOPE, MAILS, PARTS, ID, NOTE, PART_OF];

/** The stream takes 768 KiB a message: a full piece, and this much of headers. */
const HEADERS_BYTES_MAX = 192 * 1024;
/** Parts of one mail: 256 MiB, far above any size limit; more is a bug or a rogue client. */
export const PARTS_MAX = 512;
/** Mails of one message. */
export const MAILS_MAX = 100;

/** What a consumer of MAIL has in hand: the envelope, and the raw bytes or where they are. */
export type IncomingMail = {
  readonly envelope: Envelope;
  /** The whole mail when there are no parts, else what follows them. */
  readonly lastPiece: Uint8Array;
  /** Sequences in MAIL. */
  readonly parts: readonly number[];
};

/** A mail of a message, which may have others. */
export type MailOfMessage = IncomingMail & {
  /** Which of them it is, from 0; null where it has the message to itself, and so can be read by its {@link MailRef}. */
  readonly place: number | null;
  /** The message that it would have to itself: to be set aside. */
  readonly alone: Message;
};

/** Reads a message of one mail. Throws an Error that says what is wrong with one that we did not write. */
export function decodeMail(message: Pick<Message, 'data' | 'header'>): IncomingMail {
  const parts = partsOf(message);
  const envelope = envelopeOf(parseJson(ENVELOPE, message.header(ENVELOPE)));
  return { envelope, lastPiece: message.data, parts };
}

/** The mails of a message, in their order, at least one. Throws as {@link decodeMail}. */
export function mailsOf(message: Message): readonly MailOfMessage[] {
  const text = message.header(MAILS);
  if (text === '') return [{ ...decodeMail(message), place: null, alone: message }];
  const { subject, seq, data } = message;
  let end = 0;
  const mails = listed(text).map(([bytes, value], place): MailOfMessage => {
    const envelope = envelopeOf(value);
    const lastPiece = data.subarray(end, end + bytes);
    end += bytes;
    const header = (name: string) => (name === ENVELOPE ? asciiJson(envelope) : '');
    const alone = { subject, seq, data: lastPiece, header };
    return { envelope, lastPiece, parts: [], place, alone };
  });
  if (end !== data.byteLength) throw new Error(`${MAILS} tells of ${end} bytes`);
  return mails;
}

/** The number of bytes of each mail, and what is to be its envelope. */
function listed(text: string): readonly (readonly [number, unknown])[] {
  const value = parseJson(MAILS, text);
  const isValid =
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= MAILS_MAX &&
    value.every((one) => Array.isArray(one) && Number.isSafeInteger(one[0]) && one[0] >= 0);
  if (!isValid) throw new Error(`${MAILS} is not a list of mails`);
  return value as readonly (readonly [number, unknown])[];
}

/**
 * The headers of a message of one mail. Throws MailError 452 4.5.3 where so many recipients cannot
 * stand in one envelope.
 */
export function encodeMail(
  envelope: Envelope,
  parts: readonly number[],
): Readonly<Record<string, string>> {
  const text = asciiJson(envelope);
  if (text.length > HEADERS_BYTES_MAX) throw new MailError(452, '4.5.3', 'Too many recipients');
  return { [ENVELOPE]: text, ...partsHeader(parts) };
}

/** Messages of one mail each, none of which has parts, as one. */
export function joinMails(
  messages: readonly BatchMessage[],
): Pick<BatchMessage, 'data' | 'headers'> {
  const mails = messages.map(({ data, headers }) => `[${data.byteLength},${headers?.[ENVELOPE]}]`);
  return {
    data: Buffer.concat(messages.map(({ data }) => data)),
    headers: { [MAILS]: `[${mails.join(',')}]` },
  };
}

/** Where the mail of a message of one mail is. */
export function mailRefOf(message: Pick<Message, 'seq' | 'header'>): MailRef {
  return refOf('mail', message.seq, partsOf(message));
}

export function refOf(where: MailRef['in'], seq: number, parts: readonly number[]): MailRef {
  return parts.length === 0 ? { in: where, seq } : { in: where, seq, parts };
}

/**
 * JSON in ASCII, for headers: neither NATS nor a reader of it should have to guess at an encoding.
 */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value ?? null).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export function partsHeader(parts: readonly number[]): Readonly<Record<string, string>> {
  return parts.length === 0 ? {} : { [PARTS]: JSON.stringify(parts) };
}

/** The sequences of the parts of a mail, or of a copy. */
export function partsOf(message: Pick<Message, 'header'>): readonly number[] {
  const text = message.header(PARTS);
  if (text === '') return [];
  const parts: unknown = parseJson(PARTS, text);
  const isValid =
    Array.isArray(parts) &&
    parts.length <= PARTS_MAX &&
    parts.every((seq) => Number.isSafeInteger(seq) && seq > 0);
  if (!isValid) throw new Error(`${PARTS} is not a list of sequences`);
  return parts as readonly number[];
}

function envelopeOf(json: unknown): Envelope {
  const value = json as Partial<Record<keyof Envelope, unknown>> | null;
  const isText = (field: keyof Envelope): boolean => typeof value?.[field] === 'string';
  const isValid =
    (['sender', 'peer', 'helo', 'trace'] as const).every(isText) &&
    Array.isArray(value?.recipients) &&
    value.recipients.length > 0 &&
    value.recipients.every((recipient) => typeof recipient === 'string') &&
    Number.isSafeInteger(value.receivedAt) &&
    (value.again === undefined || Number.isSafeInteger(value.again));
  if (!isValid) throw new Error(`${ENVELOPE} is not an envelope`);
  return value as Envelope;
}

function parseJson(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${name} is not JSON`, { cause: error });
  }
}
