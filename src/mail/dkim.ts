/**
 * DKIM signatures of our copies (RFC 6376, RFC 8463), by the domain of the list: one a key, `relaxed/relaxed`.
 *
 * What all copies of a post have in common is brought into its signed form once. A copy of one's own differs in its tokens: those
 * of List-Unsubscribe change what of the header is signed, the one of a footer the body's hash too. So each such copy has
 * signatures of its own; copies that are all the same share theirs.
 *
 * The room for the signatures is part of the cooked bytes, so a copy has its final length before it is signed. No t= or x=:
 * the same copy gets the same signature at each try.
 *
 * D1. A field that is signed is signed as often as it stands there, and From once more, so that no other From can be added.
 * D2. Whatever came in, what goes out is signed right or not at all.
 */
import { createHash } from 'node:crypto';
import { type Address, domainOf } from './address.ts';
import type { Cooked } from './cook.ts';
import { relaxedBody, relaxedField, relaxedLines } from './dkim-canon.ts';
import type { DkimKey } from './dkim-keys.ts';
import { createSigningPool, type SigningPool } from './dkim-pool.ts';
import { field } from './fold.ts';
import { type Field, type Header, isProblem, parseHeader } from './header.ts';
import { latin1 } from './lines.ts';

/** A cooked post, ready to be rendered. */
export type Ready = Cooked & {
  /**
   * Present if copies are to be signed: writes the signatures into a rendered copy, in place. The copy may not be sent before
   * this resolves; what is known of it already is its length. Rejects as {@link SigningPool} does.
   */
  readonly sign?: (copy: Uint8Array) => Promise<void>;
  /** Why there is no `sign` although the domain has a key. */
  readonly unsigned?: string;
};

export type Dkim = {
  /** Makes room for the signatures of the list's domain. A post that cannot be signed, or without a key, stays as it is. */
  prepare(cooked: Cooked, list: Address): Ready;
  close(): Promise<void>;
};

/** Signs on at most so many threads; with no keys there is none, and nothing changes. */
export function createDkim(keys: readonly DkimKey[], threadsMax: number): Dkim {
  const signing = keys.map(({ key }) => key);
  const pool = createSigningPool(signing, threadsMax);
  return {
    prepare(cooked, list) {
      const domain = domainOf(list).toLowerCase();
      const ours = keys.flatMap((key, index) => (key.domain === domain ? [{ key, index }] : []));
      return ours.length === 0 ? cooked : readyOf(cooked, ours, pool);
    },
    close: pool.close,
  };
}

/** A key, and its place in the pool. */
type Signer = { readonly key: DkimKey; readonly index: number };

/** Of a copy, what is signed of its header: canonical text, or a field to be looked at in each copy. */
type Part = string | Place;
type Place = { readonly from: number; readonly to: number };

/** One DKIM-Signature field of every copy. Offsets are those in a copy. */
type Signature = {
  readonly index: number;
  /** As it is signed, up to the body's hash and after it. */
  readonly canonical: readonly [before: string, after: string];
  readonly bodyHashAt: number;
  readonly valueAt: number;
};

type Plan = {
  readonly parts: readonly Part[];
  readonly bodyHash: (copy: Uint8Array) => string;
  readonly signatures: readonly Signature[];
};

/** RFC 6376 §5.4.1; and what a reader's program acts upon. RFC 8058 §4 asks for both fields of List-Unsubscribe. */
const SIGNED =
  /^(?:from|reply-to|to|cc|subject|date|message-id|in-reply-to|references|mime-version|content-(?:type|transfer-encoding)|archived-at|list-[a-z-]+)$/;
const HASH_BASE64_LENGTH = 44;
/** RFC 5322 §2.1.1, less the blank that a fold begins with. */
const LINE_CHARACTERS = 76;

function readyOf(cooked: Cooked, signers: readonly Signer[], pool: SigningPool): Ready {
  const header = signableHeader(cooked.bytes);
  if (typeof header === 'string') return { ...cooked, unsigned: header };
  const signed = header.fields.filter(({ name }) => SIGNED.test(name)).reverse();
  const { room, signatures } = roomFor(signers, [...signed.map(({ name }) => name), 'from']);
  const plan: Plan = {
    parts: partsOf(signed, cooked, room.length),
    bodyHash: bodyHashOf(header.bodyStart, cooked, room.length),
    signatures,
  };
  const bytes = Buffer.concat([room, cooked.bytes]);
  const slots = cooked.slots.map((slot) => ({ ...slot, at: slot.at + room.length }));
  let shared: Promise<void> | null = null;
  return {
    ...{ ...cooked, bytes, slots, size: bytes.length },
    sign(copy) {
      if (slots.length > 0) return signCopy(copy, plan, pool);
      shared ??= signCopy(bytes, plan, pool).catch((error: unknown) => {
        shared = null;
        throw error;
      });
      return shared;
    },
  };
}

/** The header, or why it cannot be signed: a verifier might read another one than we do, or would accept no signature. */
function signableHeader(bytes: Uint8Array): Header | string {
  const header = parseHeader(bytes);
  if (isProblem(header)) return 'its header is too large';
  const { fields, end, bodyStart } = header;
  if (fields[0]?.start !== 0 || (end === bodyStart && end < bytes.length)) {
    return 'its header breaks off at a line that is no field';
  }
  return header.get('from') === null ? 'it has no From' : header;
}

/** The fields with empty signatures, as they stand on top of every copy. */
function roomFor(
  signers: readonly Signer[],
  names: readonly string[],
): { readonly room: Uint8Array; readonly signatures: readonly Signature[] } {
  let room = '';
  const signatures = signers.map(({ key, index }): Signature => {
    const hash = '-'.repeat(HASH_BASE64_LENGTH);
    const last = names.length - 1;
    const text = field('DKIM-Signature', [
      ...['v=1;', `a=${key.algorithm};`, 'c=relaxed/relaxed;'],
      ...[`d=${key.domain};`, `s=${key.selector};`],
      ...names.map((name, i) => `${i === 0 ? 'h=' : ''}${name}${i === last ? ';' : ':'}`),
      ...[`bh=${hash};`, 'b='],
    ]).trimEnd();
    const canonical = relaxedField(text);
    const hashAt = canonical.indexOf(hash, canonical.indexOf(' bh='));
    const bodyHashAt = room.length + text.indexOf(hash, text.indexOf(' bh='));
    const valueAt = room.length + text.length;
    const value = '-'.repeat(4 * Math.ceil(key.signatureBytes / 3));
    room += `${text}${foldedValue(value)}\r\n`;
    return {
      ...{ index, bodyHashAt, valueAt },
      canonical: [canonical.slice(0, hashAt), canonical.slice(hashAt + HASH_BASE64_LENGTH)],
    };
  });
  return { room: Buffer.from(room, 'latin1'), signatures };
}

/** On lines of its own; blanks in it do not count (§3.5, b=). */
function foldedValue(base64: string): string {
  return base64.replace(new RegExp(`.{1,${LINE_CHARACTERS}}`, 'g'), '\r\n $&');
}

/** From the last field to the first, as the names of h= are looked up (§5.4.2). */
function partsOf(signed: readonly Field[], cooked: Cooked, offset: number): readonly Part[] {
  const parts: Part[] = [];
  for (const { start, end } of signed) {
    if (cooked.slots.some(({ at }) => at >= start && at < end)) {
      parts.push({ from: offset + start, to: offset + end });
      continue;
    }
    const text = signedLine(cooked.bytes, { from: start, to: end });
    const last = parts.at(-1);
    if (typeof last === 'string') parts[parts.length - 1] = last + text;
    else parts.push(text);
  }
  return parts;
}

function signedLine(message: Uint8Array, { from, to }: Place): string {
  return `${relaxedField(latin1(message.subarray(from, to)))}\r\n`;
}

/** What stands above the line of the first token is hashed once. */
function bodyHashOf(
  bodyStart: number,
  { bytes, slots }: Cooked,
  offset: number,
): (copy: Uint8Array) => string {
  const first = slots.find(({ at }) => at >= bodyStart);
  const hash = createHash('sha256');
  if (first === undefined) {
    const same = hash.update(relaxedBody(bytes.subarray(bodyStart))).digest('base64');
    return () => same;
  }
  const line = bytes.lastIndexOf(10, first.at - 1) + 1;
  hash.update(relaxedLines(bytes.subarray(bodyStart, line)));
  return (copy) =>
    hash
      .copy()
      .update(relaxedBody(copy.subarray(offset + line)))
      .digest('base64');
}

async function signCopy(copy: Uint8Array, plan: Plan, pool: SigningPool): Promise<void> {
  const bytes = Buffer.from(copy.buffer, copy.byteOffset, copy.byteLength);
  const hash = plan.bodyHash(copy);
  const common = plan.parts
    .map((part) => (typeof part === 'string' ? part : signedLine(copy, part)))
    .join('');
  const inputs = plan.signatures.map(({ index, canonical: [before, after], bodyHashAt }) => {
    bytes.write(hash, bodyHashAt, 'latin1');
    return { key: index, text: `${common}${before}${hash}${after}` };
  });
  const values = await pool.sign(inputs);
  plan.signatures.forEach(({ valueAt }, i) => {
    bytes.write(foldedValue(values[i] ?? ''), valueAt, 'latin1');
  });
}
