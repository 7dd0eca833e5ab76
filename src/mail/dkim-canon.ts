/**
 * The form in which DKIM signs a message: `relaxed` for header and body (RFC 6376 §3.4), so that hands on the way may fold
 * lines anew and trim blanks. Lines end in CRLF here, as those of cooked mail do.
 */

const [TAB, LF, CR, SPACE] = [9, 10, 13, 32];

/**
 * One field as it is signed, without a line end (§3.4.2). `raw` has one character a byte, from the
 * field's name on; it may have its line end.
 */
export function relaxedField(raw: string): string {
  const colon = raw.indexOf(':');
  const name = raw.slice(0, colon).trimEnd().toLowerCase();
  const value = raw.slice(colon + 1).replaceAll('\r\n', '');
  // Not `trim`: it takes more than blanks and tabs.
  return `${name}:${value.replace(/[ \t]+/g, ' ').replace(/^ | $/g, '')}`;
}

/** A body as it is signed (§3.4.4): without the empty lines at its end. */
export function relaxedBody(body: Uint8Array): Uint8Array {
  const lines = relaxedLines(body);
  let end = lines.length;
  while (end >= 2 && isLineEnd(lines, end) && (end === 2 || isLineEnd(lines, end - 2))) end -= 2;
  return lines.subarray(0, end);
}

/** Whole lines of a body as they are signed where more lines follow: those that are empty count. */
export function relaxedLines(body: Uint8Array): Uint8Array {
  const out = Buffer.allocUnsafe(body.length + 2);
  let to = 0;
  let isBlank = false;
  // By index: this looks at every byte of every post.
  for (let i = 0; i < body.length; i++) {
    const byte = body[i] ?? 0;
    if (byte === SPACE || byte === TAB) {
      isBlank = true;
      continue;
    }
    const endsLine = byte === CR && body[i + 1] === LF;
    if (isBlank && !endsLine) out[to++] = SPACE;
    isBlank = false;
    out[to++] = byte;
  }
  if (body.length > 0 && !isLineEnd(body, body.length)) {
    out[to++] = CR;
    out[to++] = LF;
  }
  return out.subarray(0, to);
}

/** True if a line ends right before `end`. */
function isLineEnd(bytes: Uint8Array, end: number): boolean {
  return bytes[end - 2] === CR && bytes[end - 1] === LF;
}
