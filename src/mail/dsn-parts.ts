/**
 * A message that may report a failure, taken apart: what its writer says, what a machine is to
 * read, and what was returned. No MIME parser: a few parts near the front are wanted, of mail that
 * is often broken, and what it costs is bounded by the limits below whatever the bytes say.
 */
import { type ContentType, PLAIN_TEXT, parseContentType } from './content-type.ts';
import { type Fields, ISO_2022_JP, isIso2022, readFields, utf8OrLatin } from './dsn-fields.ts';
import { plainOfHtml } from './dsn-html.ts';
import { decodeCharset } from './encoded-words.ts';

/** Bytes of a message that are read: reports stand in front of what they return. */
export const DSN_BYTES_MAX = 256 * 1024;
const PARTS_MAX = 40;
/** Multiparts inside each other: each is searched once for each around it. */
const DEPTH_MAX = 6;
/** Encoded characters of one part that are decoded. */
const PART_LENGTH_MAX = 96 * 1024;

/** What stores and gateways put before a header: empty lines, lines of an mbox. */
const START = /^(?:[ \t]*\r?\n|>?From [^\n]*\n)*/;

export type Parts = {
  readonly header: Fields;
  readonly type: ContentType;
  /** What people are to read, decoded, until the returned message. */
  readonly notice: string;
  /** Delivery reports (RFC 3464, 6533), and what only looks like one; '' if there is none. */
  readonly status: string;
  /** A feedback report (RFC 5965); '' if there is none. */
  readonly feedback: string;
  /** A disposition notification (RFC 8098); '' if there is none. */
  readonly disposition: string;
  /** The returned message or its header, one character a byte; '' if there is none. */
  readonly original: string;
};

type Kind = 'notice' | 'html' | 'status' | 'feedback' | 'disposition' | 'original';
type Found = Record<Kind, string> & { parts: number };

/** Takes a raw message apart. Linear in {@link DSN_BYTES_MAX}; never throws. */
export function partsOf(raw: Uint8Array): Parts {
  const length = Math.min(raw.byteLength, DSN_BYTES_MAX);
  const text = Buffer.from(raw.buffer, raw.byteOffset, length).toString('latin1');
  const header = readFields(text, START.exec(text)?.[0].length ?? 0);
  const found: Found = {
    notice: '',
    html: '',
    status: '',
    feedback: '',
    disposition: '',
    original: '',
    parts: 0,
  };
  const type = typeOf(header);
  takeBody(found, text, header, header.end, text.length, 0);
  // Text that names nobody may only say that the HTML beside it is to be read.
  const isMute = !found.notice.includes('@') && found.html.includes('@');
  const isHtml = isMute || found.notice.trim() === '';
  const notice = isHtml ? plainOfHtml(found.html) : found.notice;
  return { ...found, header, type, notice };
}

function typeOf(header: Fields): ContentType {
  return parseContentType(header.get('content-type')) ?? PLAIN_TEXT;
}

function takeBody(
  found: Found,
  text: string,
  header: Fields,
  from: number,
  to: number,
  depth: number,
): void {
  const type = typeOf(header);
  const boundary = type.type.startsWith('multipart/') ? type.parameters.get('boundary') : undefined;
  if (boundary && depth < DEPTH_MAX && takeParts(found, text, boundary, from, to, depth)) return;
  const kind = kindOf(type.type, found);
  if (kind === null) return;
  if (kind === 'original' && found.original !== '') return;
  const body = decoded(text.slice(from, Math.min(to, from + PART_LENGTH_MAX)), header, type);
  found[kind] += found[kind] === '' ? body : `\n\n${body}`;
}

/** The parts between delimiters (RFC 2046 §5.1); false if not one is there. */
function takeParts(
  found: Found,
  text: string,
  boundary: string,
  from: number,
  to: number,
  depth: number,
): boolean {
  const delimiter = `--${boundary.trimEnd()}`;
  let at = nextDelimiter(text, delimiter, from, to);
  if (at < 0) return false;
  while (at >= 0 && ++found.parts <= PARTS_MAX) {
    const lf = text.indexOf('\n', at);
    if (lf < 0 || text.startsWith('--', at + delimiter.length)) break;
    const next = nextDelimiter(text, delimiter, lf, to);
    const end = next < 0 ? to : next;
    const header = readFields(text, lf + 1, end);
    takeBody(found, text, header, header.end, end, depth + 1);
    at = next;
  }
  return true;
}

function nextDelimiter(text: string, delimiter: string, from: number, to: number): number {
  let at = text.indexOf(delimiter, from);
  while (at > 0 && text.charCodeAt(at - 1) !== 10) at = text.indexOf(delimiter, at + 1);
  return at < 0 || at >= to ? -1 : at;
}

/** What a leaf is for; null for what is passed over. */
function kindOf(type: string, found: Found): Kind | null {
  if (/^(?:message|text)\/(?:x-?)?(?:global-)?delivery-status$/.test(type)) return 'status';
  if (type === 'message/feedback-report') return 'feedback';
  if (/^message\/(?:global-)?disposition-notification$/.test(type)) return 'disposition';
  if (/^message\/|^text\/rfc822/.test(type)) return 'original';
  // What comes after the returned message is a footer of a list or a gateway, not of the report.
  if (found.original !== '') return null;
  if (type === 'text/html') return 'html';
  return type.startsWith('text/') || type.startsWith('multipart/') ? 'notice' : null;
}

function decoded(body: string, header: Fields, { type, parameters }: ContentType): string {
  const encoding = header.get('content-transfer-encoding').toLowerCase();
  const plain = encoding.startsWith('quoted')
    ? unquoted(body)
    : encoding.startsWith('base64')
      ? Buffer.from(body, 'base64').toString('latin1')
      : body;
  const charset = parameters.get('charset')?.toLowerCase() ?? '';
  if (type === 'message/rfc822' || type === 'text/rfc822-headers') return plain;
  const isEightBit = /[\u0080-\u00ff]/.test(plain);
  const isEscaped = isIso2022(plain);
  if (!isEightBit && !isEscaped && charset !== 'utf-16') return plain;
  // Its letters stand behind escapes, whether a label says so or not.
  const isUnlabelled = isEscaped && !isEightBit && !charset.startsWith('iso-2022');
  if (charset === '' && !isUnlabelled) return utf8OrLatin(plain);
  return decodeCharset(isUnlabelled ? ISO_2022_JP : charset, Buffer.from(plain, 'latin1'));
}

/** Quoted-printable undone (RFC 2045 §6.7). */
function unquoted(text: string): string {
  return text
    .replace(/=[ \t]*\r?\n/g, '')
    .replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
}
