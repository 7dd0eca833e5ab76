/**
 * A list's footer on a post, without breaking it.
 *
 *   signed, encrypted, a report, another message   never touched
 *   text/plain                                     appended, if its charset and encoding can take
 * it
 *   multipart/mixed                                one more part, before the closing delimiter
 *   anything else                                  becomes the first part of a multipart/mixed
 *   malformed                                      left as it is, without a footer
 *
 * The author's body keeps its bytes in every case: nothing is decoded and encoded again.
 */
import { createHash } from 'node:crypto';
import type { Recipe } from './chunk.ts';
import { type ContentType, PLAIN_TEXT, parseContentType } from './content-type.ts';
import { asFlowed, asPart, fitsLines, footerText, inCharset, isAscii } from './footer-text.ts';
import type { Field, Header } from './header.ts';
import { isEightBit, isLineStart, lineEnd } from './lines.ts';
import type { Piece } from './pieces.ts';
import { quotedPrintable } from './quoted-printable.ts';

/**
 * Where the footer goes. `wrap`: all `fields` move into the first part, and `header` takes their
 * place.
 */
export type FooterPlan =
  | { readonly kind: 'none' }
  | { readonly kind: 'insert'; readonly at: number; readonly pieces: readonly Piece[] }
  | {
      readonly kind: 'wrap';
      readonly fields: readonly Field[];
      readonly header: string;
      readonly before: string;
      readonly after: readonly Piece[];
    };

const NONE: FooterPlan = { kind: 'none' };
/** RFC 2046 §5.1.1 says 70; a few programs write more. */
const BOUNDARY_LENGTH_MAX = 200;
/**
 * Changing one of these breaks what it is: a signature, a ciphertext, a report, a piece of
 * another message.
 */
const NEVER = new RegExp(
  '^(?:multipart/(?:signed|encrypted|report)' +
    '|application/(?:(?:x-)?pkcs7-mime|pgp-encrypted)|message/.*)$',
);
const IDENTITY = /^(?:7bit|8bit|binary)$/;

/** Decides. `message` has CRLF ends and `header` is its own. Pure; never throws; linear. */
export function planFooter(message: Uint8Array, header: Header, recipe: Recipe): FooterPlan {
  const text = footerText(recipe);
  const type = contentTypeOf(header);
  const encoding = encodingOf(header);
  if (text.length === 0 || type === null || encoding === null || NEVER.test(type.type)) return NONE;
  if (type.type.startsWith('multipart/')) {
    const boundary = boundaryOf(type);
    if (boundary === null || !IDENTITY.test(encoding)) return NONE;
    const at = closingDelimiter(message, header.bodyStart, boundary);
    if (at === null) return NONE;
    if (type.type === 'multipart/mixed') {
      return { kind: 'insert', at, pieces: [`--${boundary}\r\n`, ...asPart(text)] };
    }
  } else if (type.type === 'text/plain' && !isAttachment(header)) {
    const pieces = appended(message, header, type, encoding, text);
    if (pieces !== null) return { kind: 'insert', at: message.length, pieces };
  }
  return wrapped(message, header, encoding, text);
}

/** Null if it is malformed or there are two. */
function contentTypeOf(header: Header): ContentType | null {
  const [value, second] = header.all('content-type');
  if (second !== undefined) return null;
  return value === undefined ? PLAIN_TEXT : parseContentType(value);
}

function encodingOf(header: Header): string | null {
  const [value = '7bit', second] = header.all('content-transfer-encoding');
  return second === undefined ? value.toLowerCase() : null;
}

function isAttachment(header: Header): boolean {
  return /^attachment/i.test(header.get('content-disposition') ?? '');
}

function boundaryOf(type: ContentType): string | null {
  const boundary = type.parameters.get('boundary')?.trimEnd() ?? '';
  const isUsable = /^[\x20-\x7e]+$/.test(boundary) && boundary.length <= BOUNDARY_LENGTH_MAX;
  return isUsable ? boundary : null;
}

/**
 * The start of the line that closes a multipart, if some line has opened it (RFC 2046 §5.1.1).
 * Null as well where two lines could be it, as in a multipart whose own part has the same
 * boundary: readers differ about what it holds.
 */
function closingDelimiter(message: Uint8Array, from: number, boundary: string): number | null {
  const delimiter = Buffer.from(`--${boundary}`, 'latin1');
  const body = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  let isOpen = false;
  let closing: number | null = null;
  for (let at = body.indexOf(delimiter, from); at >= 0; ) {
    const rest = body.toString('latin1', at + delimiter.length, lineEnd(body, at));
    if (at === from || isLineStart(body, at)) {
      if (/^[ \t]*\r\n$/.test(rest)) isOpen = true;
      else if (isOpen && /^--[ \t]*(?:\r\n)?$/.test(rest)) {
        if (closing !== null) return null;
        closing = at;
      }
    }
    at = body.indexOf(delimiter, at + delimiter.length);
  }
  return closing;
}

/** The footer as it can stand at the end of this very body, or null. */
function appended(
  message: Uint8Array,
  header: Header,
  type: ContentType,
  encoding: string,
  text: readonly Piece[],
): readonly Piece[] | null {
  const isFlowed = type.parameters.get('format')?.toLowerCase() === 'flowed';
  const encoded = inCharset(
    isFlowed ? asFlowed(text) : text,
    type.parameters.get('charset') ?? 'us-ascii',
  );
  if (encoded === null) return null;
  const gap = gapAfter(message, header.bodyStart, encoding, isFlowed);
  if (encoding === 'quoted-printable') return [gap, ...quotedPrintable(encoded)];
  if (!IDENTITY.test(encoding) || !fitsLines(encoded)) return null;
  return encoding === '7bit' && !isAscii(encoded) ? null : [gap, ...encoded];
}

/** What ends the author's last line: a soft break or a flowed line would run on into ours. */
function gapAfter(message: Uint8Array, from: number, encoding: string, isFlowed: boolean): string {
  if (message.length <= from) return '';
  const tail = Buffer.from(message.subarray(Math.max(from, message.length - 200))).toString(
    'latin1',
  );
  const ends = tail.endsWith('\r\n');
  const lastLine =
    tail
      .slice(0, ends ? -2 : undefined)
      .split('\r\n')
      .at(-1) ?? '';
  const runsOn =
    encoding === 'quoted-printable'
      ? /=[ \t]*$/.test(lastLine)
      : isFlowed && lastLine.endsWith(' ') && lastLine !== '-- ';
  return (ends ? '' : '\r\n') + (runsOn ? '\r\n' : '');
}

function wrapped(
  message: Uint8Array,
  header: Header,
  encoding: string,
  text: readonly Piece[],
): FooterPlan {
  const digest = createHash('sha256').update(message).digest('hex').slice(0, 32);
  const boundary = `=_${digest}`; // `=_` is in no quoted-printable or base64 text.
  const isEight =
    encoding === 'binary' || encoding === '8bit' || isEightBit(message.subarray(header.bodyStart));
  const outer = encoding === 'binary' ? 'binary' : '8bit';
  return {
    kind: 'wrap',
    fields: header.fields.filter((field) => field.name.startsWith('content-')),
    header:
      (header.get('mime-version') === null ? 'MIME-Version: 1.0\r\n' : '') +
      `Content-Type: multipart/mixed;\r\n boundary="${boundary}"\r\n` +
      (isEight ? `Content-Transfer-Encoding: ${outer}\r\n` : ''),
    before: `--${boundary}\r\n`,
    after: [`\r\n--${boundary}\r\n`, ...asPart(text), `--${boundary}--\r\n`],
  };
}
