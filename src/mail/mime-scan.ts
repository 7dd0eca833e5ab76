/**
 * A look over the MIME structure of a message before any parser sees it: how deep, how many parts.
 *
 * It reads only what stands at line starts, decodes nothing, and stops at its limits, so that its
 * cost is linear in the bytes whatever they say (reliability §4.3 rows 18 to 20). What passes is no
 * bomb for the parser after it.
 */
import { PLAIN_TEXT, parseContentType } from './content-type.ts';

/** Multiparts and messages inside each other. */
export const MIME_DEPTH_MAX = 50;
export const MIME_PARTS_MAX = 500;
/**
 * Longer lines are no delimiters: a boundary has at most 70 characters (RFC 2046 §5.1.1); some do
 * not count.
 */
const DELIMITER_LENGTH_MAX = 400;
/** Characters of one part's Content-Type that are read, folds included. */
const FIELD_LENGTH_MAX = 4_096;

export type MimeShape = {
  readonly depth: number;
  readonly parts: number;
  readonly problem: null | 'too-deep' | 'too-many-parts';
};

/** A multipart whose closing delimiter has not come. */
type Open = { readonly boundary: string; readonly depth: number };

/** Where the scan stands. */
type Scan = {
  /** Outermost first; `levelOf` finds one by its boundary, the outermost where two are alike. */
  readonly open: Open[];
  readonly levelOf: Map<string, number>;
  /** Lines of the current part's header are being read. */
  inHeader: boolean;
  /** What the current header said so far, and which of the two the last line belongs to. */
  said: { type: string; encoding: string };
  reading: 'type' | 'encoding' | null;
  /** Of the current part, and the greatest met. */
  depth: number;
  depthMet: number;
  parts: number;
};

const LF = 10;
const DASH = 45;
const NEXT_DELIMITER = Buffer.from('\n--');
const EMPTY_LINE = /^\r?\n?$/;
const FIELD = /^content-(type|transfer-encoding)[ \t]*:/i;
const IDENTITY = /^\s*(?:7bit|8bit|binary)?\s*$/i;

/** Scans a whole message, header first. Linear in its bytes; never throws. */
export function scanMime(raw: Uint8Array): MimeShape {
  const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  const scan: Scan = {
    open: [],
    levelOf: new Map(),
    inHeader: true,
    said: { type: '', encoding: '' },
    reading: null,
    depth: 0,
    depthMet: 0,
    parts: 1,
  };
  let at = 0;
  while (at < bytes.length && problemOf(scan) === null) {
    const lf = bytes.indexOf(LF, at);
    const end = lf < 0 ? bytes.length : lf + 1;
    if (!takeDelimiter(scan, bytes, at, end) && scan.inHeader) takeHeaderLine(scan, bytes, at, end);
    at = scan.inHeader ? end : nextDelimiter(scan, bytes, end);
  }
  return { depth: scan.depthMet, parts: scan.parts, problem: problemOf(scan) };
}

function problemOf(scan: Scan): MimeShape['problem'] {
  if (scan.depthMet > MIME_DEPTH_MAX) return 'too-deep';
  return scan.parts > MIME_PARTS_MAX ? 'too-many-parts' : null;
}

/**
 * In a body only lines that begin with two dashes matter: the next one at or after `from`, or the
 * end.
 */
function nextDelimiter(scan: Scan, bytes: Buffer, from: number): number {
  if (scan.open.length === 0) return bytes.length;
  const lf = bytes.indexOf(NEXT_DELIMITER, from - 1);
  return lf < 0 ? bytes.length : lf + 1;
}

/** Handles a line that is a delimiter of an open multipart; false if it is none. */
function takeDelimiter(scan: Scan, bytes: Buffer, at: number, end: number): boolean {
  if (scan.open.length === 0 || bytes[at] !== DASH || bytes[at + 1] !== DASH) return false;
  if (end - at > DELIMITER_LENGTH_MAX) return false;
  const line = bytes.toString('latin1', at + 2, end).trimEnd();
  const opening = scan.levelOf.get(line);
  if (opening !== undefined) {
    const around = closeDownTo(scan, opening + 1);
    scan.parts++;
    startHeader(scan, around + 1);
    return true;
  }
  const closing = line.endsWith('--') ? scan.levelOf.get(line.slice(0, -2)) : undefined;
  if (closing === undefined) return false;
  closeDownTo(scan, closing);
  scan.inHeader = false;
  return true;
}

/** Ends all multiparts but the first `count`; the depth of the innermost that is left. */
function closeDownTo(scan: Scan, count: number): number {
  for (const { boundary } of scan.open.splice(count)) scan.levelOf.delete(boundary);
  return scan.open.at(-1)?.depth ?? 0;
}

function startHeader(scan: Scan, depth: number): void {
  scan.inHeader = true;
  scan.said = { type: '', encoding: '' };
  scan.reading = null;
  scan.depth = depth;
  scan.depthMet = Math.max(scan.depthMet, depth);
}

/** A line that is no field is passed over: parsers read on there, and so must we. */
function takeHeaderLine(scan: Scan, bytes: Buffer, at: number, end: number): void {
  const line = bytes.toString('latin1', at, Math.min(end, at + FIELD_LENGTH_MAX));
  if (EMPTY_LINE.test(line)) {
    endHeader(scan);
    return;
  }
  const isFold = line.startsWith(' ') || line.startsWith('\t');
  if (!isFold) {
    const name = FIELD.exec(line)?.[1]?.toLowerCase();
    scan.reading = name === undefined ? null : name === 'type' ? 'type' : 'encoding';
    if (scan.reading !== null) scan.said[scan.reading] = line.slice(line.indexOf(':') + 1);
  } else if (scan.reading !== null && scan.said[scan.reading].length < FIELD_LENGTH_MAX) {
    scan.said[scan.reading] += line;
  }
}

/**
 * What the header said decides what its body is: parts, another message, or nothing to look into.
 */
function endHeader(scan: Scan): void {
  const value = scan.said.type.replace(/[\r\n]+/g, '');
  const { type, parameters } = parseContentType(value) ?? PLAIN_TEXT;
  const boundary = parameters.get('boundary')?.trimEnd() ?? '';
  scan.inHeader = false;
  if (type.startsWith('multipart/') && boundary !== '') {
    openMultipart(scan, boundary);
  } else if (isMessage(type) && IDENTITY.test(scan.said.encoding)) {
    startHeader(scan, scan.depth + 1);
  }
}

function openMultipart(scan: Scan, boundary: string): void {
  scan.depthMet = Math.max(scan.depthMet, scan.depth + 1);
  // The same boundary again cannot be told from the one around it: its parts are counted there.
  if (scan.levelOf.has(boundary)) return;
  scan.levelOf.set(boundary, scan.open.length);
  scan.open.push({ boundary, depth: scan.depth });
}

function isMessage(type: string): boolean {
  return type === 'message/rfc822' || type === 'message/global';
}
