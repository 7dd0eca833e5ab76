/**
 * Lists of addresses in header fields: From, To, Cc, Reply-To (RFC 5322 §3.4), with groups,
 * comments, quoted strings and the obsolete forms that old mailers still write. What is no address
 * is left out.
 */
import { ADDRESS_BYTES_MAX, type Address, parseAddress } from './address.ts';
import { decodeWords } from './encoded-words.ts';

/** Addresses past this many are not read: a field that long says nothing more to us. */
export const ADDRESS_LIST_MAX = 1_000;

/** `name` is decoded, without quotes; '' if there is none. */
export type Mailbox = { readonly name: string; readonly address: Address };

type Token = { readonly kind: 'text' | 'quoted' | 'comment' | 'special'; readonly text: string };

/** One entry of the list while its tokens come by. */
type Entry = { words: Token[]; angle: string | null; inAngle: boolean; comment: string };

const SPECIALS = '<>,;:';
const PLAIN = /[^\s<>,;:"()]+/y;
const SPACES = /\s+/y;

/**
 * The addresses of a field's value, in order, at most {@link ADDRESS_LIST_MAX}; what does not parse
 * is skipped. One pass; never throws.
 */
export function parseAddressList(value: string): readonly Mailbox[] {
  const found: Mailbox[] = [];
  let entry = emptyEntry();
  const finish = () => {
    const mailbox = mailboxOf(entry);
    if (mailbox !== null) found.push(mailbox);
    entry = emptyEntry();
  };
  for (const token of tokensOf(value)) {
    if (found.length >= ADDRESS_LIST_MAX) return found;
    if (token.kind !== 'special') add(entry, token);
    else if (token.text === '<') {
      // A second angle without a comma: two senders are claimed, and both are told.
      if (entry.angle !== null) finish();
      entry.angle = '';
      entry.inAngle = true;
    } else if (token.text === '>') {
      entry.inAngle = false;
    } else if (entry.inAngle && entry.angle?.startsWith('@')) {
      // An obsolete source route: what counts comes after its colon (RFC 5321 appendix C).
      entry.angle = token.text === ':' ? '' : '@';
    } else if (token.text === ':') {
      // A group's name; within angle brackets it is something else, such as a URL, and no address.
      if (entry.inAngle) addToAngle(entry, ':');
      else entry = emptyEntry();
    } else finish();
  }
  finish();
  return found.slice(0, ADDRESS_LIST_MAX);
}

function emptyEntry(): Entry {
  return { words: [], angle: null, inAngle: false, comment: '' };
}

function add(entry: Entry, token: Token): void {
  if (token.kind === 'comment') {
    entry.comment = token.text;
  } else if (entry.inAngle) {
    addToAngle(entry, token.kind === 'quoted' ? requoted(token.text) : token.text);
  } else {
    entry.words.push(token);
  }
}

/** What is longer is no address: the rest need not be kept. */
function addToAngle(entry: Entry, text: string): void {
  if (entry.angle !== null && entry.angle.length <= ADDRESS_BYTES_MAX * 2) entry.angle += text;
}

function mailboxOf(entry: Entry): Mailbox | null {
  if (entry.angle !== null) {
    const address = parseAddress(entry.angle);
    return address === null ? null : { name: nameOf(entry), address };
  }
  // Without angle brackets the whole is the address; obsolete syntax puts spaces around dots and
  // the at sign.
  const bare = entry.words.map((word) =>
    word.kind === 'quoted' ? requoted(word.text) : word.text,
  );
  const address = parseAddress(bare.join(''));
  return address === null ? null : { name: decodeWords(entry.comment).trim(), address };
}

function nameOf(entry: Entry): string {
  const phrase = entry.words.map((word) => word.text).join(' ');
  return decodeWords(phrase === '' ? entry.comment : phrase).trim();
}

function requoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** One pass over the value; what is not closed runs to its end. */
function* tokensOf(value: string): Generator<Token> {
  let at = 0;
  while (at < value.length) {
    const c = value[at] ?? '';
    if (SPECIALS.includes(c)) {
      yield { kind: 'special', text: c };
      at++;
    } else if (c === '"') {
      const { text, end } = quotedAt(value, at);
      yield { kind: 'quoted', text };
      at = end;
    } else if (c === '(') {
      const { text, end } = commentAt(value, at);
      yield { kind: 'comment', text };
      at = end;
    } else if (c === ')') {
      at++;
    } else {
      const plain = matchAt(PLAIN, value, at);
      if (plain !== '') yield { kind: 'text', text: plain };
      at += plain === '' ? Math.max(matchAt(SPACES, value, at).length, 1) : plain.length;
    }
  }
}

function matchAt(pattern: RegExp, value: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(value)?.[0] ?? '';
}

function quotedAt(value: string, open: number): { text: string; end: number } {
  const pieces: string[] = [];
  let at = open + 1;
  for (; at < value.length && value[at] !== '"'; at++) {
    if (value[at] === '\\') at++;
    pieces.push(value[at] ?? '');
  }
  return { text: pieces.join(''), end: at + 1 };
}

/** Comments nest; the depth is counted, not recursed into. */
function commentAt(value: string, open: number): { text: string; end: number } {
  const pieces: string[] = [];
  let depth = 1;
  let at = open + 1;
  for (; at < value.length; at++) {
    const c = value[at] ?? '';
    if (c === '(') depth++;
    else if (c === ')' && --depth === 0) break;
    if (c === '\\') at++;
    pieces.push(value[at] ?? '');
  }
  return { text: pieces.join(''), end: at + 1 };
}
