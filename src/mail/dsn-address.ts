/**
 * Addresses as they stand in the words of MTAs: in brackets, in quotes, with a colon behind them,
 * as `rfc822;…`, as xtext. What is handed back is only what our own grammar of addresses takes.
 */
import { parseAddress } from './address.ts';
import { decodeWords } from './encoded-words.ts';

/** Characters of a local part that are gone back over from an `@`. */
const LOCAL_LENGTH_MAX = 64;
const DOMAIN_LENGTH_MAX = 253;
/** Addresses taken of one line. */
const PER_LINE_MAX = 20;

/**
 * What no address looks like, and yet what mail was sent to: domains of no such form, which is why it
 * came back, and the dots that Japanese carriers allow. Three of them stand for what was left out.
 */
const ODD = /^(?![^@]*\.\.\.)[\w+=*/?!-][\w.+=*/?!-]{0,63}@[^\s@<>"',;]{1,253}$/;

/** What some hosts make of a mailbox: longer than a local part may be. */
const LONG = /^[!-;=?A-~]{65,200}@[\w.-]{3,100}$/;

/** Of those, what may stand in prose: dots where no grammar has them, at a domain that may be one. */
const LOOSE = /^(?![^@]*\.\.\.)[\w+=*/?!-][\w.+=*/?!-]{0,63}@\.?(?:[a-z\d_-]{1,63}\.)+[a-z]{2,}$/i;

/** An address in a line, and where it stands. */
export type Seen = { readonly address: string; readonly from: number; readonly to: number };

/** All addresses of a line of prose, in order. The cost is linear in the line. */
export function addressesIn(line: string): readonly Seen[] {
  const seen: Seen[] = [];
  let at = line.indexOf('@');
  let after = 0;
  while (at >= 0 && seen.length < PER_LINE_MAX) {
    const found = around(line, at, after);
    if (found !== null) seen.push(found);
    after = Math.max(at + 1, found?.to ?? 0);
    at = line.indexOf('@', after);
  }
  return seen;
}

/** The address around the `@` at `at`, not going back before `after`; null if there is none. */
function around(line: string, at: number, after: number): Seen | null {
  let from = at;
  const first = Math.max(after, at - LOCAL_LENGTH_MAX);
  if (line[at - 1] === '"') {
    const quote = line.lastIndexOf('"', at - 2);
    if (quote >= first) from = quote;
  }
  const isQuoted = from < at;
  while (!isQuoted && from > first && isLocal(line.charCodeAt(from - 1))) from--;
  // What wraps an address is no part of it, nor are the words that some put straight before it.
  if (!isQuoted) while (from < at && /['`.=/]/.test(line[from] ?? '')) from++;
  // A reply may be quoted with nothing between: `550-'kim@example.net... unknown'`.
  const reply = isQuoted ? null : /^[45]\d\d[- ]'/.exec(line.slice(from, at));
  from += reply?.[0].length ?? 0;
  const colon = isQuoted ? -1 : line.lastIndexOf('=', at);
  if (colon >= from && /^(?:to|rcpt|smtp|address|rfc-?822)$/i.test(line.slice(from, colon)))
    from = colon + 1;
  let to = at + 1;
  const last = Math.min(line.length, at + 1 + DOMAIN_LENGTH_MAX);
  while (to < last && isDomain(line.charCodeAt(to))) to++;
  while (to > at && /[.-]/.test(line[to - 1] ?? '')) to--;
  const text = line.slice(from, to);
  const address = parseAddress(text) ?? (LOOSE.test(text) ? text : null);
  // A host of one word is one where brackets say that an address is meant.
  const isMeant = /@.*\./.test(text) || (line[from - 1] === '<' && line[to] === '>');
  return address === null || !isMeant ? null : { address, from, to };
}

function isLocal(c: number): boolean {
  if (c < 33 || c > 126) return false;
  // " ( ) , : ; < > @ [ \ ]
  return !(
    c === 34 ||
    c === 40 ||
    c === 41 ||
    c === 44 ||
    (c > 57 && c < 61) ||
    c === 62 ||
    c === 64 ||
    (c > 90 && c < 94)
  );
}

function isDomain(c: number): boolean {
  return (
    (c > 47 && c < 58) ||
    (c > 64 && c < 91) ||
    (c > 96 && c < 123) ||
    c === 45 ||
    c === 46 ||
    c === 95
  );
}

/**
 * The address of a field such as `Final-Recipient: rfc822; user@example.org` (RFC 3464 §2.3.2, RFC
 * 6533 §3); null if it holds none. The type may be missing, wrong or something of X.400.
 */
export function addressOfField(value: string): string | null {
  const semicolon = value.indexOf(';');
  const type = semicolon < 0 ? '' : value.slice(0, semicolon).trim().toLowerCase();
  const text = decodeWords(value.slice(semicolon + 1)).trim();
  const plain = text.replace(/^<(.*)>$/, '$1').replace(/^mailto:/i, '');
  const decoded = type.startsWith('utf-8') ? unescaped(plain) : plain.replace(XTEXT, unxtext);
  const address = parseAddress(decoded);
  if (address !== null || LONG.test(decoded)) return address ?? decoded;
  return addressesIn(text)[0]?.address ?? (ODD.test(decoded) ? decoded : null);
}

/** What some MTAs copy from ORCPT as it stands (RFC 3461 §4): xtext of `=`, `+` and `@`. */
const XTEXT = /\+(3D|2B|40)/g;

function unxtext(_: string, hex: string): string {
  return String.fromCharCode(Number.parseInt(hex, 16));
}

/** utf-8-addr-xtext (RFC 6533 §3): `\x{…}` for what is not ASCII. */
function unescaped(text: string): string {
  return text.replace(/\\x\{([0-9A-Fa-f]{2,6})\}/g, (whole, hex: string) => {
    const code = Number.parseInt(hex, 16);
    return code < 0x11_0000 ? String.fromCodePoint(code) : whole;
  });
}
