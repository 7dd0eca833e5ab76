/**
 * Machine addresses: opaque, on a list's own domain, and they survive a rename (design §5).
 *
 *     b+ abcdefgh ijklmno pqrstu vwxyz234567abcde @lists.example
 *     │  │        │       │      └ 16 characters of MAC (80 bits)
 *     │  │        │       └ 6 of post number
 *     │  │        └ 7 of member number
 *     │  └ 8 of the list's key
 *     └ b: bounces come here (VERP); u: mail here leaves the list
 *
 * The same 37 characters without the `b+` are the token of a web page. What a token is for
 * decides which bits of the digest are its MAC, so that one seen in a quoted footer cannot be used where another is
 * needed. `c+` and 26 characters confirm something: they are random, and mean nothing without the
 * list's own row.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { assert } from '../assert.ts';
import type { Address } from './address.ts';
import { BASE32, KEY_PREFIX_LENGTH, type ListKey, prefixOf } from './list-key.ts';

/**
 * `b` bounce address, `u` leave address, `w` the https one-click of List-Unsubscribe (RFC 8058),
 * `f` the link in a footer, which only leads to a page with a button; `d` the link in a probe or a
 * warning, which leads to one that turns delivery on again.
 */
export type TokenKind = 'b' | 'u' | 'w' | 'f' | 'd';

/** Whose copy of which post. Numbers count from 0 or 1 and are never negative. */
export type TokenIds = { readonly key: ListKey; readonly member: number; readonly post: number };

/** A token as it was read; nothing is known of it until its MAC is verified. */
export type ParsedToken = {
  readonly kind: TokenKind;
  readonly prefix: string;
  readonly member: number;
  readonly post: number;
  readonly mac: string;
};

/** 35 bits. */
export const MEMBER_NUMBER_MAX = 2 ** 35 - 1;
/** 30 bits. */
export const POST_NUMBER_MAX = 2 ** 30 - 1;
const MEMBER_LENGTH = 7;
const POST_LENGTH = 6;
const MAC_BYTES = 10;
/** Characters of a token: 8 + 7 + 6 + 16. */
export const TOKEN_LENGTH = KEY_PREFIX_LENGTH + MEMBER_LENGTH + POST_LENGTH + 16;

const TOKEN = new RegExp(`^[a-z2-7]{${TOKEN_LENGTH}}$`);
const CONFIRM = /^c\+([a-z2-7]{26})$/;

/** `b+…@domain` or `u+…@domain`. Throws a BugError if a number is out of range. */
export function makeMachineAddress(
  kind: 'b' | 'u',
  ids: TokenIds,
  secret: Uint8Array,
  domain: string,
): Address {
  return `${kind}+${makeToken(kind, ids, secret)}@${domain}` as Address;
}

/** The 37 characters alone, for a web address. Throws a BugError if a number is out of range. */
export function makeToken(kind: TokenKind, ids: TokenIds, secret: Uint8Array): string {
  const { key, member, post } = ids;
  assert(isCount(member, MEMBER_NUMBER_MAX), `member number ${member} does not fit a token`);
  assert(isCount(post, POST_NUMBER_MAX), `post number ${post} does not fit a token`);
  const numbers = base32Number(member, MEMBER_LENGTH) + base32Number(post, POST_LENGTH);
  return prefixOf(key) + numbers + macOf(kind, ids, secret);
}

/** Reads a local part, in any case; null if it has not the shape of a bounce or leave address. */
export function parseMachineAddress(localPart: string): ParsedToken | null {
  if (localPart.length !== TOKEN_LENGTH + 2 || localPart[1] !== '+') return null;
  const kind = localPart[0]?.toLowerCase();
  return kind === 'b' || kind === 'u' ? parseToken(kind, localPart.slice(2)) : null;
}

/** Reads a token that is to be used for `kind`, in any case; null if it has not the shape. */
export function parseToken(kind: TokenKind, text: string): ParsedToken | null {
  const token = text.toLowerCase();
  if (!TOKEN.test(token)) return null;
  const post = KEY_PREFIX_LENGTH + MEMBER_LENGTH;
  const mac = post + POST_LENGTH;
  return {
    kind,
    prefix: token.slice(0, KEY_PREFIX_LENGTH),
    member: numberOf(token.slice(KEY_PREFIX_LENGTH, post)),
    post: numberOf(token.slice(post, mac)),
    mac: token.slice(mac),
  };
}

/** The 26 characters of a `c+…` local part, lower-case; null if it is none. */
export function parseConfirmAddress(localPart: string): string | null {
  return CONFIRM.exec(localPart.toLowerCase())?.[1] ?? null;
}

/**
 * Whose token it is: the one of `keys` (all with its prefix) for which a secret gives its MAC; null
 * if there is none. Every key and secret is tried whatever was found, so that time tells nothing.
 */
export function verifyMachine(
  parsed: ParsedToken,
  keys: readonly ListKey[],
  secrets: readonly Uint8Array[],
): ListKey | null {
  const { kind, member, post } = parsed;
  const mac = Buffer.from(parsed.mac);
  let found: ListKey | null = null;
  for (const key of keys) {
    if (prefixOf(key) !== parsed.prefix) continue;
    for (const secret of secrets) {
      const ours = Buffer.from(macOf(kind, { key, member, post }, secret));
      if (timingSafeEqual(mac, ours)) found = key;
    }
  }
  return found;
}

/**
 * The key of RFC 2104 §2, xored with the inner and the outer pad, each with room for what is hashed after it: made once a
 * secret.
 */
type Pads = { readonly inner: Buffer; readonly outer: Buffer };
const padded = new WeakMap<Uint8Array, Pads>();
const BLOCK_BYTES = 128;
const DIGEST_BYTES = 64;
/** A text of {@link macOf}: two words, a key, and two numbers. */
const TEXT_BYTES_MAX = 128;

function padsOf(secret: Uint8Array): Pads {
  const known = padded.get(secret);
  if (known !== undefined) return known;
  const block = Buffer.alloc(BLOCK_BYTES);
  block.set(secret.length > BLOCK_BYTES ? hash('sha512', secret, 'buffer') : secret);
  const pads = {
    inner: Buffer.alloc(BLOCK_BYTES + TEXT_BYTES_MAX),
    outer: Buffer.alloc(BLOCK_BYTES + DIGEST_BYTES),
  };
  pads.inner.set(block.map((byte) => byte ^ 0x36));
  pads.outer.set(block.map((byte) => byte ^ 0x5c));
  padded.set(secret, pads);
  return pads;
}

/**
 * HMAC-SHA-512 of ASCII, by RFC 2104 itself, as a string of one character a byte: each copy of a post has one, and
 * `createHmac` costs ten times as much.
 */
function hmac(secret: Uint8Array, text: string): string {
  const { inner, outer } = padsOf(secret);
  assert(text.length <= TEXT_BYTES_MAX, 'the text of a token is too long');
  const end = BLOCK_BYTES + inner.write(text, BLOCK_BYTES, 'latin1');
  outer.write(hash('sha512', inner.subarray(0, end), 'binary'), BLOCK_BYTES, 'binary');
  return hash('sha512', outer, 'binary');
}

/**
 * Where in the digest the 80 bits of each kind are: they do not overlap, so none tells of another.
 * `d`, which is in no copy of a post, has a digest of its own.
 */
const MAC_AT: Readonly<Record<TokenKind, number>> = { b: 0, u: 16, w: 32, f: 48, d: 0 };

type Digested = { readonly text: string; readonly secret: Uint8Array; readonly digest: string };
/** The last digest: the tokens of one copy are made one after the other. */
let last: Digested | null = null;

/** Its kind's part of an HMAC over the whole key, the member and the post, as base32. */
function macOf(kind: TokenKind, { key, member, post }: TokenIds, secret: Uint8Array): string {
  const text = `troupe ${kind === 'd' ? 'delivery' : 'token'} ${key} ${member} ${post}`;
  if (last?.text !== text || last.secret !== secret) {
    last = { text, secret, digest: hmac(secret, text) };
  }
  const { digest } = last;
  let mac = '';
  for (let at = MAC_AT[kind]; at < MAC_AT[kind] + MAC_BYTES; at += 5) {
    mac += base32Number(fiveBytes(digest, at), 8);
  }
  return mac;
}

/** 40 bits are eight characters, and a double holds them exactly. */
function fiveBytes(digest: string, at: number): number {
  let value = 0;
  for (let i = at; i < at + 5; i++) value = value * 256 + digest.charCodeAt(i);
  return value;
}

function isCount(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}

/** Each two characters by their ten bits. */
const PAIRS = [...BASE32].flatMap((first) => [...BASE32].map((second) => first + second));

function base32Number(value: number, length: number): string {
  let text = '';
  let rest = value;
  let left = length;
  for (; left > 1; left -= 2) {
    const high = Math.floor(rest / 1024);
    text = `${PAIRS[rest - high * 1024]}${text}`;
    rest = high;
  }
  return left === 0 ? text : BASE32.charAt(rest % 32) + text;
}

function numberOf(text: string): number {
  let value = 0;
  for (const c of text) value = value * 32 + BASE32.indexOf(c);
  return value;
}
