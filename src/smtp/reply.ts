/**
 * Reads an SMTP reply as nodemailer gives it: lines of one reply joined by LF, without the last
 * CRLF (RFC 5321 §4.2).
 */
import type { RecipientReply } from '../world.ts';

/** Characters of a reply's text that are kept: it stands in every result. */
export const REPLY_CHARS_MAX = 300;

/** RFC 2034: the enhanced status after the code, in the class of the code. */
const LINE = /^(\d{3})[ -]?(?:([245]\.\d{1,3}\.\d{1,3})(?: |$))?/;

/**
 * The code, the enhanced status or '', and the text on one line without controls. Code 0 if it is
 * no reply.
 */
export function parseReply(text: string): RecipientReply {
  const match = LINE.exec(text);
  const code = match === null ? 0 : Number(match[1]);
  const status = match?.[2] ?? '';
  const words: string[] = [];
  for (const line of text.slice(0, 4 * REPLY_CHARS_MAX).split('\n')) {
    words.push(
      line
        .replace(LINE, '')
        .replace(/\p{Cc}+/gu, ' ')
        .trim(),
    );
  }
  return { code, status, reply: words.join(' ').trim().slice(0, REPLY_CHARS_MAX) };
}
