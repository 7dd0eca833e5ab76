/**
 * The header of a message (RFC 5322 §2.2), read with bounds and without touching the body.
 *
 * Each field keeps where it stands in the raw bytes, so that cooking can splice instead of
 * composing anew. Tolerant where mail is: LF ends, an mbox `From ` line, obsolete space before the
 * colon, raw 8-bit.
 */

/** A larger header is refused at SMTP with 552, and held where it came in another way. */
export const HEADER_BYTES_MAX = 256 * 1024;
/** Lines as they stand, folds included. */
export const HEADER_LINES_MAX = 1_000;

export type Field = {
  /** Lower-case. */
  readonly name: string;
  /** Offset of the field's first byte in the raw message. */
  readonly start: number;
  /** Offset after the field's last line end, folds included. */
  readonly end: number;
  /** Unfolded and trimmed; UTF-8, with U+FFFD for what is not. Never holds CR or LF. */
  readonly value: string;
};

export type Header = {
  /** In order. */
  readonly fields: readonly Field[];
  /** Offset after the last field's line end: where a field may be added. */
  readonly end: number;
  /**
   * Offset of the body's first byte: after the empty line. Equal to `end` where there is no empty
   * line, as in a message whose header runs to its end, or breaks off at a line that is no field.
   */
  readonly bodyStart: number;
  /** The first field of this lower-case name, or null. */
  get(name: string): string | null;
  /** All fields of this lower-case name, in order. */
  all(name: string): readonly string[];
};

export type HeaderProblem = { readonly problem: 'header-too-large' | 'header-too-many-lines' };

/** Nearly every header ends within these: the body behind it is not touched. */
const FIRST_LOOK_BYTES = 16 * 1024;
const CR = 13;
const LF = 10;
const COLON = 58;
const FOLD = /\r?\n/g;
const LINE_ENDS = /[\r\n]+/g;
const EIGHT_BIT = /[\x80-\xff]/;
const LEADING_LINE = /^>?From (?![ \t]*:)/;

/**
 * Reads the header of a raw message, or says why it may not. Linear in the header; never throws.
 */
export function parseHeader(raw: Uint8Array): Header | HeaderProblem {
  const problem = { problem: 'header-too-large' } as const;
  return readHeader(raw, FIRST_LOOK_BYTES) ?? readHeader(raw, HEADER_BYTES_MAX + 2) ?? problem;
}

/** Reads the header if it ends within the first bytes; null if it does not. */
function readHeader(raw: Uint8Array, bytesMax: number): Header | HeaderProblem | null {
  // One byte is one character here, so offsets in the text are offsets in the bytes.
  const text = latin1(raw, bytesMax);
  const isCut = text.length < raw.byteLength;
  const fields: Field[] = [];
  let start = LEADING_LINE.test(text.slice(0, 6)) ? lineEnd(text, 0) : 0;
  let end = start;
  let lines = 0;
  while (start < text.length) {
    end = lineEnd(text, start);
    if (isCut && end === text.length && !text.endsWith('\n')) return null;
    if (isEmptyLine(text, start)) return headerOf(fields, start, end);
    const colon = colonOf(text, start);
    if (colon < 0) return headerOf(fields, start, start);
    for (lines++; isFold(text, end); lines++) end = lineEnd(text, end);
    if (lines > HEADER_LINES_MAX) return { problem: 'header-too-many-lines' };
    if (end > HEADER_BYTES_MAX) return { problem: 'header-too-large' };
    const name = text.slice(start, colon).trimEnd().toLowerCase();
    fields.push({ name, start, end, value: textOfField(text.slice(colon + 1, end)) });
    start = end;
  }
  return isCut ? null : headerOf(fields, end, end);
}

/** True if `parseHeader` could not. */
export function isProblem(header: Header | HeaderProblem): header is HeaderProblem {
  return 'problem' in header;
}

/** A header without fields, for mail whose own cannot be read. */
export const EMPTY_HEADER: Header = headerOf([], 0, 0);

function headerOf(fields: readonly Field[], end: number, bodyStart: number): Header {
  return {
    fields,
    end,
    bodyStart,
    get: (name) => fields.find((field) => field.name === name)?.value ?? null,
    all: (name) => fields.filter((field) => field.name === name).map((field) => field.value),
  };
}

/** The first bytes as one character each. */
function latin1(raw: Uint8Array, bytesMax: number): string {
  return Buffer.from(raw.buffer, raw.byteOffset, Math.min(raw.byteLength, bytesMax)).toString(
    'latin1',
  );
}

function lineEnd(text: string, from: number): number {
  const lf = text.indexOf('\n', from);
  return lf < 0 ? text.length : lf + 1;
}

function isEmptyLine(text: string, at: number): boolean {
  const c = text.charCodeAt(at);
  return c === LF || (c === CR && text.charCodeAt(at + 1) === LF);
}

/**
 * True if the line at `at` belongs to the field before it: it begins with white space and is not
 * empty.
 */
function isFold(text: string, at: number): boolean {
  const c = text.charCodeAt(at);
  return c === 32 || c === 9;
}

/**
 * Offset of the colon after a field name (RFC 5322 §3.6.8, §4.5: space may stand before it); -1 if
 * there is none.
 */
function colonOf(text: string, start: number): number {
  let at = start;
  let c = text.charCodeAt(at);
  while (c > 32 && c < 127 && c !== COLON) c = text.charCodeAt(++at);
  if (at === start) return -1;
  while (c === 32 || c === 9) c = text.charCodeAt(++at);
  return c === COLON ? at : -1;
}

/** Unfolding takes out the line ends and keeps the white space after them (RFC 5322 §2.2.3). */
function textOfField(folded: string): string {
  const trimmed = trimAscii(folded);
  const line = trimmed.includes('\n') ? trimmed.replace(FOLD, '') : trimmed;
  const text = line.includes('\r') ? line.replace(LINE_ENDS, ' ') : line;
  return EIGHT_BIT.test(text) ? Buffer.from(text, 'latin1').toString('utf8') : text;
}

/** `String.trim` would also take the byte 0xA0, which may be the end of a UTF-8 character. */
function trimAscii(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isSpace(text.charCodeAt(from))) from++;
  while (to > from && isSpace(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

function isSpace(c: number): boolean {
  return c === 32 || c === 9 || c === CR || c === LF;
}
