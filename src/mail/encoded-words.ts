/**
 * Encoded words (RFC 2047): text of any charset in a header's ASCII. Decoding is for people's eyes
 * and for rules; what is stored and sent on keeps its bytes.
 */

/** Longer values are cut before they are decoded. */
export const DECODED_INPUT_LENGTH_MAX = 64 * 1024;
/** Words past this many stay as they are: no honest header has so many. */
const WORDS_MAX = 1_000;
/**
 * Charsets met are kept, at most this many: the names a stranger may choose are finite, but many.
 */
const DECODERS_MAX = 64;

const WORD = /=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=/g;
const SPACE = /^[ \t\r\n]*$/;
const HAS_EIGHT_BIT = /[\u0080-\u00ff]/;
/** Controls and the separators that some readers take for a new line. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out.
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

type Decoder = InstanceType<typeof TextDecoder>;

const decoders = new Map<string, Decoder>();

/**
 * The text of a header value, its encoded words decoded; bytes that its charset does not know stand
 * as U+FFFD. Words split in the middle of a character are joined first, as many mailers split them.
 * No control character, CR or LF survives: each becomes a space. Linear; never throws.
 */
export function decodeWords(value: string): string {
  const input = value.slice(0, DECODED_INPUT_LENGTH_MAX);
  if (!input.includes('=?')) return input.replace(CONTROLS, ' ');
  let text = '';
  let end = 0;
  let pending: { charset: string; bytes: Buffer[] } | null = null;
  let words = 0;
  for (const match of input.matchAll(WORD)) {
    if (++words > WORDS_MAX) break;
    const between = input.slice(end, match.index);
    const charset = (match[1] ?? '').split('*', 1)[0]?.toLowerCase() ?? '';
    const bytes = bytesOf(match[2] ?? '', match[3] ?? '');
    // White space between two encoded words is not part of the text (RFC 2047 §6.2).
    if (pending !== null && SPACE.test(between) && pending.charset === charset) {
      pending.bytes.push(bytes);
    } else {
      if (pending !== null) text += decode(pending.charset, Buffer.concat(pending.bytes));
      if (pending === null || !SPACE.test(between)) text += between;
      pending = { charset, bytes: [bytes] };
    }
    end = match.index + match[0].length;
  }
  if (pending !== null) text += decode(pending.charset, Buffer.concat(pending.bytes));
  return (text + input.slice(end)).replace(CONTROLS, ' ');
}

/** Bytes as text of a charset; of an unknown one only the ASCII is believed. Never throws. */
export function decodeCharset(charset: string, bytes: Uint8Array): string {
  return decode(charset.toLowerCase(), bytes);
}

function bytesOf(encoding: string, text: string): Buffer {
  if (encoding === 'b' || encoding === 'B') return Buffer.from(text, 'base64');
  const raw = text
    .replaceAll('_', ' ')
    .replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  // A raw letter beyond a byte is not RFC 2047, but it is what the sender meant.
  return HAS_EIGHT_BIT.test(text) ? Buffer.from(raw, 'utf8') : Buffer.from(raw, 'latin1');
}

function decode(charset: string, bytes: Uint8Array): string {
  const decoder = decoderOf(charset);
  if (decoder !== null) return decoder.decode(bytes);
  return Buffer.from(bytes)
    .toString('latin1')
    .replace(/[\u0080-\u00ff]/g, '\ufffd');
}

function decoderOf(charset: string): Decoder | null {
  const known = decoders.get(charset);
  if (known !== undefined) return known;
  let decoder: Decoder;
  try {
    decoder = new TextDecoder(charset);
  } catch {
    return null;
  }
  if (decoders.size < DECODERS_MAX) decoders.set(charset, decoder);
  return decoder;
}
