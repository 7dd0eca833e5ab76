/** What a list is told of a mail: small and plain, with the mail itself left where it is. */
import { createHash } from 'node:crypto';
import { type Address, addressKey, domainOf } from './address.ts';
import { parseAddressList } from './address-list.ts';
import { decodeWords } from './encoded-words.ts';
import type { Envelope, MailRef, ReversePath } from './envelope.ts';
import { EMPTY_HEADER, type Header, isProblem, parseHeader } from './header.ts';
import type { ListKey } from './list-key.ts';
import { isAutomatic } from './loops.ts';
import { messageIdFor, usableMessageId } from './message-id.ts';
import { scanMime } from './mime-scan.ts';
import { receivedOf } from './trace.ts';

/** Characters of a subject that a list is told. */
export const SUBJECT_LENGTH_MAX = 200;
/** Authors that a list is told; more of them are suspicious. */
export const AUTHORS_MAX = 20;

/** A mail as it was read once, for all the lists it went to. */
export type ReadMail = {
  readonly header: Header;
  readonly bytes: number;
  /** Each author once, at most {@link AUTHORS_MAX}. */
  readonly from: readonly Address[];
  /** Decoded, at most {@link SUBJECT_LENGTH_MAX} characters, without control characters. */
  readonly subject: string;
  /** Reasons to hold it whatever the list's rule says. */
  readonly problems: readonly 'suspicious-mime'[];
};

/** What the incoming runner knows of a post, small and plain: what the list actor is told (actors/protocol.ts). */
export type PostSummary = {
  /** sha256(envelope sender, key, raw bytes), hex: the command's id; the same mail sent again is the same post. */
  readonly id: string;
  /** Addresses of From (RFC 5322 §3.6.2), parsed; may be empty. Nothing vouches for them yet. */
  readonly from: readonly Address[];
  readonly sender: ReversePath;
  /** Decoded, at most {@link SUBJECT_LENGTH_MAX} characters, no control characters. */
  readonly subject: string;
  /** With angle brackets; one was made if the mail had none. */
  readonly messageId: string;
  /** True if the runner made the Message-ID: cooking adds it. */
  readonly messageIdIsOurs: boolean;
  readonly bytes: number;
  /** Auto-Submitted, bulk precedence or a null sender: never answered (RFC 3834). */
  readonly automatic: boolean;
  readonly smtputf8: boolean;
  /** What the runner found wrong: reasons to hold whatever the posting rule says. */
  readonly problems: ReadMail['problems'];
  readonly authentication: 'none';
  readonly mail: MailRef;
  readonly receivedAt: number;
  /** The value of our own Received field (RFC 5321 §4.4). */
  readonly received: string;
  readonly trace: string;
};

/**
 * Reads what a list needs to know of a raw mail. What cannot be read or is built to hurt, has
 * several From fields or very many authors, is not refused but marked, so that the list holds it.
 * Never throws.
 */
export function readMail(raw: Uint8Array): ReadMail {
  const parsed = parseHeader(raw);
  const header = isProblem(parsed) ? EMPTY_HEADER : parsed;
  const authors = authorsOf(header);
  const isSuspicious =
    isProblem(parsed) ||
    header.all('from').length > 1 ||
    authors.length > AUTHORS_MAX ||
    (isNested(header) && scanMime(raw).problem !== null);
  return {
    header,
    bytes: raw.byteLength,
    from: authors.slice(0, AUTHORS_MAX),
    subject: subjectOf(header),
    problems: isSuspicious ? ['suspicious-mime'] : [],
  };
}

/** What one list is told of the mail; `mail` says where it is kept. */
export function summarise(
  read: ReadMail,
  raw: Uint8Array,
  envelope: Envelope,
  mail: MailRef,
  list: { readonly key: ListKey; readonly address: Address },
): PostSummary {
  const id = postIdOf(envelope.sender, list.key, raw);
  const own = usableMessageId(read.header);
  return {
    id,
    from: read.from,
    sender: envelope.sender,
    subject: read.subject,
    messageId: own ?? messageIdFor(id, domainOf(list.address)),
    messageIdIsOurs: own === null,
    bytes: read.bytes,
    automatic: isAutomatic(read.header, envelope.sender),
    smtputf8: envelope.smtputf8,
    problems: read.problems,
    authentication: 'none',
    mail,
    receivedAt: envelope.receivedAt,
    received: receivedOf(envelope, list.address),
    trace: envelope.trace,
  };
}

/**
 * sha256(sender NUL key NUL raw), hex: a mail sent again after a lost 250 is the same post (design
 * §4).
 */
function postIdOf(sender: ReversePath, key: ListKey, raw: Uint8Array): string {
  return createHash('sha256').update(`${sender}\0${key}\0`).update(raw).digest('hex');
}

function authorsOf(header: Header): readonly Address[] {
  const authors = new Map<string, Address>();
  for (const value of header.all('from'))
    for (const { address } of parseAddressList(value)) {
      if (!authors.has(addressKey(address))) authors.set(addressKey(address), address);
    }
  return [...authors.values()];
}

function subjectOf(header: Header): string {
  const text = decodeWords(header.get('subject') ?? '')
    .replace(/\s+/g, ' ')
    .trim();
  return text.slice(0, SUBJECT_LENGTH_MAX).toWellFormed();
}

/** Only these can hold parts; all other mail is spared the scan. */
function isNested(header: Header): boolean {
  return header.all('content-type').some((value) => /^\s*(?:multipart|message)\//i.test(value));
}
