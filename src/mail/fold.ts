/**
 * Header fields that we write: their text made safe, encoded where it must be (RFC 2047) and folded
 * (RFC 5322 §2.2.3). Whatever text comes in, one field goes out: no control character passes.
 */

/**
 * RFC 5322 §2.1.1: a line should have no more characters than this, and must have no more than
 * 998.
 */
const LINE_CHARACTERS = 78;
/** A word that cannot be folded is encoded when it is longer; encoded words can be. */
const WORD_CHARACTERS_MAX = 400;
/**
 * Octets of text in one encoded word: base64 makes 60 characters of them, 75 is the limit (RFC
 * 2047 §2).
 */
const ENCODED_WORD_BYTES = 45;
/** Names and titles are cut here; a setting should have been refused long before. */
const TEXT_CHARACTERS_MAX = 500;

/** One line of text: control characters and line separators become blanks, runs of blanks one. */
export function oneLine(text: string): string {
  const cut = [...text.slice(0, TEXT_CHARACTERS_MAX * 2)].slice(0, TEXT_CHARACTERS_MAX).join('');
  return cut
    .toWellFormed()
    .replace(/[\p{Cc}\u2028\u2029]/gu, ' ')
    .replace(/ +/g, ' ')
    .trim();
}

/** Unstructured text, as for Subject: as it is where that is safe, else in encoded words. */
export function unstructured(text: string): readonly string[] {
  const line = oneLine(text);
  const words = line.split(' ');
  const isPlain = isPrintable(line) && !line.includes('=?');
  return isPlain && words.every((word) => word.length <= WORD_CHARACTERS_MAX)
    ? words
    : encodedWords(line);
}

/** A phrase (RFC 5322 §3.2.5), as for a display name: atoms, a quoted string, or encoded words. */
export function phrase(text: string): readonly string[] {
  const line = oneLine(text);
  if (line === '') return [];
  const words = unstructured(line);
  if (words.join(' ') !== line || /^[\w!#$%&'*+/=?^`{|}~ -]+$/.test(line)) return words;
  return `"${line.replace(/["\\]/g, '\\$&')}"`.split(' ');
}

/**
 * The words of RFC 2047 for a text, each a whole number of characters. Readers drop the blank
 * between two of them.
 */
export function encodedWords(text: string): readonly string[] {
  const words: string[] = [];
  let run = '';
  let bytes = 0;
  for (const character of text) {
    const size = Buffer.byteLength(character);
    if (bytes + size > ENCODED_WORD_BYTES) {
      words.push(encodedWord(run));
      run = '';
      bytes = 0;
    }
    run += character;
    bytes += size;
  }
  return run === '' ? words : [...words, encodedWord(run)];
}

/** One field with its final CRLF, folded between words. */
export function field(name: string, words: readonly string[]): string {
  let text = `${name}:`;
  let column = text.length;
  for (const word of words) {
    const folds = column + 1 + word.length > LINE_CHARACTERS && column > name.length + 1;
    text += folds ? `\r\n ${word}` : ` ${word}`;
    column = folds ? 1 + word.length : column + 1 + word.length;
  }
  return `${text}\r\n`;
}

function encodedWord(text: string): string {
  return `=?utf-8?B?${Buffer.from(text, 'utf8').toString('base64')}?=`;
}

function isPrintable(text: string): boolean {
  return /^[ -~]*$/.test(text);
}
