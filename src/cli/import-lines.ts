/**
 * The lines of a file of members: `jane@example.org`, `Jane Doe <jane@example.org>`, or comma,
 * semicolon or tab separated fields of which one is the address. Read as a stream: a file may be
 * larger than memory.
 */
import type { NewMember } from '../../actors/protocol.ts';
import { parseAddress } from '../mail/address.ts';

/** A longer line is reported as bad and skipped, characters. */
export const LINE_MAX = 4_096;
/** Longer names are cut, characters. */
const NAME_MAX = 200;

/**
 * A line as it stood: its number (from 1), its text (null: longer than {@link LINE_MAX}), and the
 * bytes read so far.
 */
export type Line = {
  readonly number: number;
  readonly text: string | null;
  readonly bytes: number;
};

/** What a line says: a member, nothing (blank, comment, header), or why it is not understood. */
export type Parsed =
  | { readonly kind: 'member'; readonly member: NewMember }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'bad'; readonly why: string };

/** Splits bytes (UTF-8, any line ends) into lines, never holding more than one line. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: false });
  let rest = '';
  let isTooLong = false;
  let number = 0;
  let bytes = 0;
  const line = (text: string): Line => {
    number += 1;
    const isLong = isTooLong || text.length > LINE_MAX;
    isTooLong = false;
    return { number, text: isLong ? null : text, bytes };
  };
  for await (const chunk of chunks) {
    bytes += chunk.length;
    const pieces = (rest + decoder.decode(chunk, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    rest = pieces.pop() ?? '';
    for (const piece of pieces) yield line(piece);
    if (rest.length > LINE_MAX) {
      isTooLong = true;
      rest = rest.endsWith('\r') ? '\r' : '';
    }
  }
  rest = (rest + decoder.decode()).replace(/\r$/, '');
  if (rest !== '' || isTooLong) yield line(rest);
}

/**
 * Reads one line. `isFirst`: a first line of words without an address is a CSV header, not an
 * error.
 */
export function parseLine(text: string, isFirst: boolean): Parsed {
  const trimmed = text.trim();
  if (trimmed === '' || trimmed.startsWith('#')) return { kind: 'nothing' };
  const bracketed = /^(.*?)\s*<([^<>]+)>[\s,;]*$/.exec(trimmed);
  if (bracketed !== null) return memberOf(bracketed[2] ?? '', bracketed[1] ?? '');
  const fields = fieldsOf(trimmed);
  const at = fields.findIndex((field) => field.includes('@'));
  if (at < 0) {
    return isFirst && fields.length > 1 && HEADER.test(trimmed)
      ? { kind: 'nothing' }
      : { kind: 'bad', why: 'no address' };
  }
  const name = fields.find((field, i) => i !== at && field !== '' && !field.includes('@')) ?? '';
  return memberOf(fields[at] ?? '', name);
}

const HEADER = /\b(?:e-?mail|address|name)\b/i;

function memberOf(addressText: string, nameText: string): Parsed {
  const address = parseAddress(addressText.trim());
  if (address === null)
    return { kind: 'bad', why: `not a mail address: ${addressText.slice(0, 80)}` };
  return { kind: 'member', member: { address, name: nameOf(nameText) } };
}

/** A display name: no quotes around it, one line, bounded. */
export function nameOf(text: string): string {
  const unquoted = text
    .trim()
    .replace(/^"((?:[^"\\]|\\.)*)"$/, (_, inner: string) => inner.replaceAll(/\\(.)/g, '$1'));
  return unquoted
    .replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .trim()
    .slice(0, NAME_MAX);
}

/** The fields of a CSV line (RFC 4180), or of one separated by semicolons or tabs. */
export function fieldsOf(line: string): string[] {
  const separator = line.includes('\t') ? '\t' : line.includes(';') ? ';' : ',';
  const fields: string[] = [];
  let field = '';
  let isQuoted = false;
  for (let i = 0; i < line.length; i++) {
    const char = line.charAt(i);
    if (isQuoted && char === '"' && line.charAt(i + 1) === '"') {
      field += '"';
      i++;
    } else if (char === '"') isQuoted = !isQuoted;
    else if (char === separator && !isQuoted) {
      fields.push(field.trim());
      field = '';
    } else field += char;
  }
  return [...fields, field.trim()];
}
