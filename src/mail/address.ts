/**
 * The grammar of mail addresses (RFC 5321 §4.1.2, RFC 6531), and what makes two of them one.
 *
 * Routing, rosters and headers all parse with this one grammar, so no two parts of Troupe can read
 * an address differently. Every function is linear in its input and never throws.
 */

/**
 * A parsed address: the domain as lower-case A-labels, the local part with its case kept, unquoted
 * where quotes are not needed, NFC. It holds no control character, no space, no CR, LF or NUL.
 */
export type Address = string & { readonly brand: 'Address' };

/** RFC 5321 §4.5.3.1.1 and errata 1690, in octets of UTF-8. */
const LOCAL_PART_BYTES_MAX = 64;
export const ADDRESS_BYTES_MAX = 254;
/** RFC 1035 §2.3.4: what a domain may be at most in its A-label form. */
const DOMAIN_BYTES_MAX = 253;
/**
 * The longest robot suffix, `-unsubscribe`: a list's name must leave room for it in a local part.
 */
const ROBOT_SUFFIX_LENGTH_MAX = '-unsubscribe'.length;
/** A machine address's local part (machine-address.ts): it must fit in front of a list's domain. */
const MACHINE_LOCAL_LENGTH = 39;

const ASCII = /^[\x20-\x7e]*$/;
const ATEXT = "[A-Za-z0-9!#$%&'*+\\-/=?^_`{|}~\\u{80}-\\u{10ffff}]";
const DOT_ATOM = new RegExp(`^${ATEXT}+(?:\\.${ATEXT}+)*$`, 'u');
/** What may stand between quotes once they are undone. */
const QUOTED_CONTENT = /^[\x21-\x7e\u{80}-\u{10ffff}]+$/u;
/** Controls, separators, surrogates, and what stands for bytes that could not be read. */
const NEVER_IN_UTF8 = /[\p{Cc}\p{Cs}\p{Z}\u{fffd}\p{Noncharacter_Code_Point}]/u;
const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const DOMAIN = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
const ONLY_DIGITS = /^[0-9]+$/;
/**
 * What a U-label may be made of before it is mapped: nothing that a URL would read as a delimiter.
 */
const UNICODE_DOMAIN = /^[A-Za-z0-9.\-\u{80}-\u{10ffff}]+$/u;
/** By far the most addresses: no quotes, no UTF-8. The same grammar as below, in one look. */
const COMMON = new RegExp(
  `^([A-Za-z0-9_+=-]+(?:\\.[A-Za-z0-9_+=-]+)*)@(${LABEL}(?:\\.${LABEL})*)$`,
  'i',
);
const LIST_NAME = /^[a-z0-9](?:[-_a-z0-9]|\.(?!\.|$))*$/;

/**
 * Parses an addr-spec without angle brackets; null if it is not one. IP literals, bare IP
 * addresses, source routes, comments and folding white space are refused: nothing that a mailing
 * list mails looks so.
 */
export function parseAddress(text: string): Address | null {
  if (text.length > ADDRESS_BYTES_MAX + 2) return null;
  const common = COMMON.exec(text);
  const local = common === null ? parseLocalPart(localOf(text)) : (common[1] ?? null);
  if (local === null) return null;
  const domain = parseDomain(common?.[2] ?? text.slice(text.lastIndexOf('@') + 1));
  if (domain === null || byteLength(local) > LOCAL_PART_BYTES_MAX) return null;
  const address = `${local}@${domain}`;
  return byteLength(address) > ADDRESS_BYTES_MAX ? null : (address as Address);
}

/**
 * Parses a domain of letters, digits and hyphens, or of U-labels, into lower-case A-labels (RFC
 * 5890); null if it is none. A domain whose last label is all digits is an IP address, and refused
 * (RFC 3696 §2).
 */
export function parseDomain(text: string): string | null {
  if (text.length > DOMAIN_BYTES_MAX) return null;
  const ascii = ASCII.test(text) ? text.toLowerCase() : toAscii(text);
  if (ascii === null || ascii.length > DOMAIN_BYTES_MAX || !DOMAIN.test(ascii)) return null;
  return ONLY_DIGITS.test(ascii.slice(ascii.lastIndexOf('.') + 1)) ? null : ascii;
}

/**
 * What is equal for membership: the whole address in lower case, NFC. Local parts differ only in
 * principle.
 */
export function addressKey(address: Address): string {
  return ASCII.test(address) ? address.toLowerCase() : address.toLowerCase().normalize('NFC');
}

/** The local part as it stands in the address: with its quotes, if it needs them. */
export function localPartOf(address: Address): string {
  return address.slice(0, address.lastIndexOf('@'));
}

/** The domain, as A-labels. */
export function domainOf(address: Address): string {
  return address.slice(address.lastIndexOf('@') + 1);
}

/** True if only SMTPUTF8 can carry it (RFC 6531): the domain never needs it, being A-labels. */
export function isSmtputf8(address: Address): boolean {
  return !ASCII.test(address);
}

/**
 * Parses the address of a list that is to be made: a name of `[a-z0-9]` then `[-_.a-z0-9]`, without
 * leading, trailing or double dots, with room for the longest robot suffix, on one of `domains`
 * (A-labels). Upper case is taken as lower. Null for anything else, so that nothing odd ever names
 * a list.
 */
export function parseListAddress(text: string, domains: readonly string[]): Address | null {
  const address = parseAddress(text.toLowerCase());
  if (address === null) return null;
  const name = localPartOf(address);
  const domain = domainOf(address);
  if (!LIST_NAME.test(name) || !domains.includes(domain)) return null;
  if (name.length > LOCAL_PART_BYTES_MAX - ROBOT_SUFFIX_LENGTH_MAX) return null;
  const longest = Math.max(name.length + ROBOT_SUFFIX_LENGTH_MAX, MACHINE_LOCAL_LENGTH);
  return longest + 1 + domain.length > ADDRESS_BYTES_MAX ? null : address;
}

function localOf(text: string): string {
  const at = text.lastIndexOf('@');
  return at < 0 ? '' : text.slice(0, at);
}

/** The local part as it is kept, or null; '' is none. */
function parseLocalPart(text: string): string | null {
  const content = text.startsWith('"') ? unquote(text) : text;
  if (content === null) return null;
  const local = ASCII.test(content) ? content : content.normalize('NFC');
  if (NEVER_IN_UTF8.test(local)) return null;
  if (DOT_ATOM.test(local)) return local;
  if (content === text || !QUOTED_CONTENT.test(local)) return null;
  return `"${local.replace(/["\\]/g, '\\$&')}"`;
}

/**
 * What a quoted string says, quoted-pairs undone (RFC 5321 §4.1.2); null if more comes after it.
 */
function unquote(text: string): string | null {
  let content = '';
  for (let i = 1; i < text.length; i++) {
    const c = text[i];
    if (c === '"') return i === text.length - 1 ? content : null;
    if (c === '\\') i++;
    content += text[i] ?? '';
  }
  return null;
}

/**
 * The A-label form by the platform's mapping (UTS 46), which makes NFC and lower case too; or null.
 */
function toAscii(text: string): string | null {
  if (!UNICODE_DOMAIN.test(text) || NEVER_IN_UTF8.test(text)) return null;
  const url = URL.parse(`http://${text}`);
  return url === null ? null : url.hostname;
}

function byteLength(text: string): number {
  return ASCII.test(text) ? text.length : Buffer.byteLength(text);
}
