/**
 * Text in the shape of a header: of a DSN, of its parts, of the groups of a delivery report (RFC
 * 3464 §2.1), of the message it returns. Kinder than header.ts, because software that reports
 * failures is often old; and lazy, because nearly all fields are never asked for.
 */

import { decodeCharset } from './encoded-words.ts';

/** What Japanese hosts write, in headers and bodies, often with no label (RFC 1468). */
export const ISO_2022_JP = 'iso-2022-jp';

/** Fields kept of one block; those after them are passed over. */
const FIELDS_MAX = 4_000;
/** Characters of a value; no honest one that matters here comes near. */
const VALUE_LENGTH_MAX = 4_096;

export type Fields = {
  /** The first field of this lower-case name, unfolded and trimmed; '' if there is none. */
  get(name: string): string;
  has(name: string): boolean;
  /** In order: lower-case names, and where each stands. */
  readonly spans: readonly Span[];
  /** The unfolded value of one of `spans`. */
  valueAt(span: Span): string;
  /** Offset of what follows the block: after its empty line, or the line that is no field. */
  readonly end: number;
};

export type Span = { readonly name: string; readonly from: number; readonly to: number };

const COLON = 58;
const EIGHT_BIT = /[\u0080-\u00ff]/;
const FOLD = /[\r\n]+[ \t]*/g;
const NOT_BYTES = /[\u0100-\uffff]/;

/** Reads a block of fields that begins at `from` of a text of one character a byte. */
export function readFields(text: string, from: number, to: number = text.length): Fields {
  const spans: Span[] = [];
  let at = text.startsWith('From ', from) || text.startsWith('>From ', from) ? next(from) : from;
  while (at < to) {
    if (isEmptyLine(text, at)) {
      at = next(at);
      break;
    }
    const colon = colonAfter(text, at);
    if (colon < 0) break;
    let end = next(at);
    while (end < to && isFold(text, end)) end = next(end);
    const name = text.slice(at, colon).trimEnd().toLowerCase();
    if (spans.length < FIELDS_MAX) spans.push({ name, from: colon + 1, to: end });
    at = end;
  }
  const valueAt = (span: Span): string => unfolded(text.slice(span.from, span.to));
  return {
    spans,
    valueAt,
    end: Math.min(at, to),
    has: (name) => spans.some((span) => span.name === name),
    get: (name) => {
      const span = spans.find((one) => one.name === name);
      return span === undefined ? '' : valueAt(span);
    },
  };

  function next(position: number): number {
    const lf = text.indexOf('\n', position);
    return lf < 0 || lf >= to ? to : lf + 1;
  }
}

function unfolded(folded: string): string {
  const cut = folded.slice(0, VALUE_LENGTH_MAX).trim();
  const line = cut.includes('\n') || cut.includes('\r') ? cut.replace(FOLD, ' ') : cut;
  if (isIso2022(line)) return decodeCharset(ISO_2022_JP, Buffer.from(line, 'latin1'));
  if (!EIGHT_BIT.test(line) || NOT_BYTES.test(line)) return line;
  return utf8OrLatin(line);
}

/** Text of one character a byte that no label tells of: UTF-8 if it is, else as old hosts write. */
export function utf8OrLatin(text: string): string {
  const utf8 = Buffer.from(text, 'latin1').toString('utf8');
  return utf8.includes('\ufffd') ? text : utf8;
}

/** True of text with the 7-bit escapes of ISO 2022 (RFC 1468, RFC 1557). */
export function isIso2022(text: string): boolean {
  return text.includes('\u001b$');
}

function isEmptyLine(text: string, at: number): boolean {
  const c = text.charCodeAt(at);
  return c === 10 || (c === 13 && text.charCodeAt(at + 1) === 10);
}

function isFold(text: string, at: number): boolean {
  const c = text.charCodeAt(at);
  return (c === 32 || c === 9) && !isEmptyLine(text, at);
}

/** Offset of the colon after a field name at `at`; -1 if there is none. */
function colonAfter(text: string, at: number): number {
  let i = at;
  let c = text.charCodeAt(i);
  while (c > 32 && c < 127 && c !== COLON) c = text.charCodeAt(++i);
  if (i === at) return -1;
  while (c === 32 || c === 9) c = text.charCodeAt(++i);
  return c === COLON ? i : -1;
}
