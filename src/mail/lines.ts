/** A message as lines of bytes: what cooking needs before it may splice. */

const LF = 10;
const CR = 13;

/**
 * The same message with every line ended by CRLF: a bare CR or LF becomes one (RFC 5321 §2.3.8).
 */
export function withCrlf(raw: Uint8Array): Uint8Array {
  const bare = countBareEnds(raw);
  if (bare === 0) return raw;
  const out = Buffer.allocUnsafe(raw.length + bare);
  let to = 0;
  let before = 0;
  for (let i = 0; i < raw.length; i++) {
    const byte = raw[i] ?? 0;
    if (byte === LF && before !== CR) out[to++] = CR;
    out[to++] = byte;
    if (byte === CR && raw[i + 1] !== LF) out[to++] = LF;
    before = byte;
  }
  return out;
}

function countBareEnds(raw: Uint8Array): number {
  let bare = 0;
  let before = 0;
  for (let i = 0; i < raw.length; i++) {
    const byte = raw[i] ?? 0;
    if (byte === LF ? before !== CR : before === CR) bare++;
    before = byte;
  }
  return before === CR ? bare + 1 : bare;
}

/** Without the `From ` line that an mbox puts before a message, escaped or not. */
export function withoutFromLine(message: Uint8Array): Uint8Array {
  // Not `From : …`, which is the field with the obsolete blank before its colon (RFC 5322 §4.5).
  return /^>?From (?![ \t]*:)/.test(latin1(message.subarray(0, 40)))
    ? message.subarray(lineEnd(message, 0))
    : message;
}

/**
 * The offset after the line end of the line that starts at `from`; the length where the last
 * line has none.
 */
export function lineEnd(message: Uint8Array, from: number): number {
  const lf = message.indexOf(LF, from);
  return lf < 0 ? message.length : lf + 1;
}

/** True if nothing, or a whole line, stands before `at`. */
export function isLineStart(message: Uint8Array, at: number): boolean {
  return at === 0 || message[at - 1] === LF;
}

/** One character a byte. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** A CR or LF alone, or a dot that begins a line. */
const ODD = /\r(?!\n)|(?<!\r)\n|\n\.|^\./;

/** True if SMTP sends it as it stands: lines end in CRLF (RFC 5321 §2.3.8), none begins with a dot (§4.5.2). */
export function isAsSent(message: Uint8Array): boolean {
  return !ODD.test(latin1(message));
}

/** True if some byte is above 127. */
export function isEightBit(bytes: Uint8Array): boolean {
  // By index: this looks at every byte of every post.
  for (let i = 0; i < bytes.length; i++) if ((bytes[i] ?? 0) > 127) return true;
  return false;
}
