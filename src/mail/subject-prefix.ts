/**
 * The list's prefix on a Subject, once.
 *
 * What the author wrote keeps its bytes, encoded words and folds included: the prefix is put
 * before it. A reply whose subject has the prefix already, before or after its `Re:`, is left as
 * it is, so its signature holds.
 */
import { decodeWords } from './encoded-words.ts';
import { encodedWords, field, oneLine, unstructured } from './fold.ts';
import { latin1 } from './lines.ts';
import type { Piece } from './pieces.ts';

const LINE_CHARACTERS = 78;
/** The forms of `Re:` and `Fwd:` that mail programs write, in the languages that are met most. */
const REPLY = new RegExp(
  '^(?:re|aw|sv|vs|antw|odp|ref|rif|res|ynt|fw|fwd|wg|tr|回复|答复|转发)' +
    '(?:\\[\\d{1,3}\\]|\\(\\d{1,3}\\))?[ \\t]*[::][ \\t]*',
  'iu',
);
/** A subject with more than so many is not looked into further. */
const REPLY_MARKS_MAX = 50;

/**
 * The Subject field with its final CRLF; null if it stays as it is. `raw` is the field's value as
 * it stands, from after its colon to its final line end; null if the message has none.
 */
export function prefixedSubject(prefix: string, raw: Uint8Array | null): readonly Piece[] | null {
  const mark = oneLine(prefix);
  if (mark === '') return null;
  const value = raw === null ? new Uint8Array() : withoutLeadingBlanks(raw);
  const text = decodeWords(Buffer.from(value).toString('utf8')).replace(/\s+/gu, ' ').trim();
  if (text === '') return [field('Subject', [...unstructured(mark), '(no', 'subject)'])];
  if (hasPrefix(text, mark)) return null;
  const start = field('Subject', markWords(mark, latin1(value.subarray(0, 2)))).slice(0, -2);
  const column = start.length - (start.lastIndexOf('\n') + 1);
  const firstLine = value.indexOf(13) < 0 ? value.length : value.indexOf(13);
  const fold = column + 1 + firstLine > LINE_CHARACTERS ? '\r\n ' : ' ';
  const end = value.at(-1) === 10 ? '' : '\r\n';
  return [start, fold, value, end];
}

/** True if the prefix stands first, or right after marks of a reply. */
function hasPrefix(text: string, mark: string): boolean {
  const wanted = mark.toLowerCase();
  let rest = text;
  for (let marks = 0; marks <= REPLY_MARKS_MAX; marks++) {
    if (rest.toLowerCase().startsWith(wanted)) return true;
    const reply = REPLY.exec(rest);
    if (reply === null) return false;
    rest = rest.slice(reply[0].length);
  }
  return false;
}

/**
 * Readers drop the blank between two encoded words (RFC 2047 §6.2): there the prefix brings its
 * own.
 */
function markWords(mark: string, next: string): readonly string[] {
  const words = unstructured(mark);
  const isEncoded = words[0]?.startsWith('=?') === true;
  return isEncoded && next === '=?' ? encodedWords(`${mark} `) : words;
}

function withoutLeadingBlanks(raw: Uint8Array): Uint8Array {
  let at = 0;
  while (at < raw.length && BLANKS.has(raw[at] ?? 0)) at++;
  return raw.subarray(at);
}

const BLANKS = new Set([9, 10, 13, 32]);
