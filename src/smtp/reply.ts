/**
 * Reads an SMTP reply as nodemailer gives it: lines of one reply joined by LF, without the last
 * CRLF (RFC 5321 §4.2).
 */
import type { RecipientReply } from '../world.ts';

/** Characters of a reply's text that are kept: eight lines as long as RFC 5321 §4.5.3.1.5 lets them be. */
export const REPLY_CHARS_MAX = 4_096;

/** RFC 2034: the enhanced status after the code, in the class of the code. */
const LINE = /^(\d{3})[ -]?(?:([245]\.\d{1,3}\.\d{1,3})(?: |$))?/;
/** Before a line's text: the code, and an enhanced status. */
const BEFORE_TEXT_CHARS_MAX = 16;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * The code, the enhanced status or '', and the text on one line without controls. Code 0 if it is
 * no reply.
 */
export function parseReply(bytes: string): RecipientReply {
  const text = inUtf8(bytes);
  const match = LINE.exec(text);
  const code = match === null ? 0 : Number(match[1]);
  const status = match?.[2] ?? '';
  let reply = '';
  for (const line of text.split('\n')) {
    if (reply.length > REPLY_CHARS_MAX) break;
    const words = line.slice(0, REPLY_CHARS_MAX + BEFORE_TEXT_CHARS_MAX).replace(LINE, '');
    reply += ` ${words.replace(/\p{Cc}+/gu, ' ').trim()}`;
  }
  return { code, status, reply: reply.trim().slice(0, REPLY_CHARS_MAX) };
}

/** A character a byte is what comes from the wire; an MTA may say it in UTF-8 (RFC 6531 §3.7.4). */
function inUtf8(text: string): string {
  if (!/[\x80-\xff]/.test(text) || /[^\0-\xff]/.test(text)) return text;
  try {
    return utf8.decode(Buffer.from(text, 'latin1'));
  } catch {
    return text;
  }
}
