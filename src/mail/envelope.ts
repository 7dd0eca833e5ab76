/** What travels with a mail but is not in it: the envelope (RFC 5321 §2.3.1), and where the raw bytes are kept. */
import type { Address } from './address.ts';

/** What a recipient address means; each kind has its own subject and consumer, so DSNs never stand before posts. */
export type MailKind = 'post' | 'command' | 'owner' | 'bounce';
export const MAIL_KINDS: readonly MailKind[] = ['post', 'command', 'owner', 'bounce'];

/** The sender of a mail: an address, or '' for the null reverse-path (RFC 5321 §4.5.5). */
export type ReversePath = Address | '';

export type Envelope = {
  readonly sender: ReversePath;
  /** As given at RCPT, parsed; all of one kind. */
  readonly recipients: readonly Address[];
  /** The client's SMTPUTF8 (RFC 6531) and BODY=8BITMIME (RFC 6152) parameters. */
  readonly smtputf8: boolean;
  readonly eightBit: boolean;
  /** Milliseconds since the epoch, when the final dot came. */
  readonly receivedAt: number;
  /** The client, for the trace: address, HELO name. */
  readonly peer: string;
  readonly helo: string;
  /** One id from the edge to the MTA, in every log line. */
  readonly trace: string;
  /** How often a list could not do what the mail asked and set it aside: it is new to the list when it is replayed. Absent: never. */
  readonly again?: number;
};

/** Where raw mail is: a stream, the sequence of the last message, and the sequences of the parts before it. */
export type MailRef = {
  readonly in: 'mail' | 'held' | 'archive';
  readonly seq: number;
  readonly parts?: readonly number[];
};

/** The largest piece of raw mail in one stored message; larger mail is stored in parts. */
export const MAIL_PIECE_BYTES_MAX = 512 * 1024;

/** Raw mail that may be too large for memory: pieces of at most {@link MAIL_PIECE_BYTES_MAX}, in order. */
export type RawMail = {
  readonly size: number;
  pieces(): AsyncIterable<Uint8Array>;
};
