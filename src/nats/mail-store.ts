/**
 * Raw mail in streams: MAIL as it came in, HELD and ARCHIVE as copies of a list's own.
 *
 * A mail is one message (`mail-message.ts`), or shares one with others. Larger than 512 KiB
 * it is stored in pieces: parts first, and the last piece names their sequences; so what is named
 * is always there, and a crash between leaves parts that nobody names and that age out. Pieces
 * stream through: no mail is in memory whole but where a caller asks for its bytes.
 */
import { assert } from '../assert.ts';
import { MailError } from '../errors.ts';
import {
  type Envelope,
  MAIL_PIECE_BYTES_MAX,
  type MailKind,
  type MailRef,
  type RawMail,
} from '../mail/envelope.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { MailStore, Message } from '../world.ts';
import type { Nats } from './connect.ts';
import { eachOrBatch, joined, storeInGroups } from './groups.ts';
import {
  asciiJson,
  encodeMail,
  ID,
  joinMails,
  MAILS_MAX,
  type MailOfMessage,
  mailsOf,
  NOTE,
  PART_OF,
  PARTS_MAX,
  partsHeader,
  partsOf,
  refOf,
} from './mail-message.ts';
import { createNear, type Near } from './near.ts';
import type { BatchMessage, Publisher } from './publisher.ts';
import { away, deleteStored, type Stored, storedMessage } from './stored.ts';
import { archive, held, MAIL_PART, mail } from './subjects.ts';
import { tail } from './tail.ts';

/** Pieces of one mail on their way at once: bounds memory at some 2 MiB a mail. */
const PIECES_IN_FLIGHT_MAX = 4;
/**
 * `find` in ARCHIVE looks at this many of the list's last messages. A copy is looked for only where
 * its effect is done again, and a list is blocked at 1,000 effects not yet done; parts are messages
 * too.
 */
const FIND_MESSAGES_MAX = 4_096;
/**
 * The first look-back of `find`, in sequences of the stream; each further one is 16 times as wide.
 */
const FIND_WINDOW = 2_048;
const FIND_WIDER = 16;

/** How long one look-back may take, ms; NATS may go away in the middle of it. */
const FIND_MS_MAX = 10_000;
/** From so many that come at once on a batch costs less than its mails: 20 of 4 KiB take half as long, 10 no less (nats-server 2.15.1). */
export const MAIL_BATCH_FROM = 12;
/** How often one id may have been kept and dropped within the duplicate window. */
const KEPT_AGAIN_MAX = 8;

const STREAMS = { mail: 'TROUPE_MAIL', held: 'TROUPE_HELD', archive: 'TROUPE_ARCHIVE' } as const;

type Needs = {
  readonly nats: Nats;
  readonly publisher: Publisher;
  /** Stores what comes from the edge, in groups where much of it comes at once. */
  readonly store: (message: BatchMessage) => Promise<unknown>;
  /** The same; what comes at once shares a message. */
  readonly storeJoined: (message: BatchMessage) => Promise<unknown>;
  readonly near: Near;
};
type Where = 'held' | 'archive';

/**
 * The real mail store. What fails throws MailError 451 4.3.0, or 452 4.3.1 when a stream is full.
 */
export function createMailStore(
  nats: Nats,
  publisher: Publisher,
): MailStore & {
  /** As {@link mailsOf}; `read` and `keep` then need not fetch what was just here. */
  mailsOf(message: Message): readonly MailOfMessage[];
} {
  const storeGroup = eachOrBatch(publisher, MAIL_BATCH_FROM);
  const store = storeInGroups(nats, storeGroup);
  const join = { of: joinMails, most: MAILS_MAX };
  const storeJoined = storeInGroups(nats, joined(join, storeGroup));
  const needs = { nats, publisher, store, storeJoined, near: createNear() };
  return {
    mailsOf: (message) => {
      needs.near.put(message.seq, message.data);
      return mailsOf(message);
    },
    accept: (raw, envelopes) => accept(needs, raw, envelopes),
    message: async (ref) => {
      assert(ref.in === 'mail', `a copy in ${ref.in} is no message of MAIL`);
      return await storedMessage(nats, STREAMS.mail, { seq: ref.seq });
    },
    read: (ref) => read(needs, ref),
    keep: (where, key, id, from, note) => keep(needs, where, key, id, from, note),
    find: (where, key, id) => find(needs, where, key, id),
    drop: (ref) => drop(needs, ref),
  };
}

async function accept(
  { publisher, store, storeJoined }: Needs,
  raw: RawMail,
  envelopes: readonly { kind: MailKind; envelope: Envelope }[],
): Promise<void> {
  assert(envelopes.length > 0, 'a mail without an envelope');
  // What cannot be encoded is refused before anything is stored.
  for (const { envelope } of envelopes) encodeMail(envelope, []);
  const { parts, last } = await putParts(raw, async (piece) => {
    return (await publisher.publish(MAIL_PART, piece)).seq;
  });
  // What came back becomes events: nobody refers to it as a mail of MAIL.
  const storeOf = (kind: MailKind) =>
    kind === 'bounce' && parts.length === 0 ? storeJoined : store;
  await Promise.all(
    envelopes.map(({ kind, envelope }) =>
      storeOf(kind)({ subject: mail(kind), data: last, headers: encodeMail(envelope, parts) }),
    ),
  );
}

async function read(needs: Needs, ref: MailRef): Promise<Uint8Array | null> {
  const seqs = [...(ref.parts ?? []), ref.seq];
  const pieces = await inParallel(seqs, (seq) => pieceOf(needs, ref, seq));
  const there = pieces.filter((piece) => piece !== null);
  if (there.length < pieces.length) return null;
  return there.length === 1 ? (there[0] ?? null) : Buffer.concat(there);
}

async function pieceOf(needs: Needs, ref: MailRef, seq: number): Promise<Uint8Array | null> {
  const near = ref.in === 'mail' ? needs.near.get(seq) : undefined;
  if (near !== undefined) return near;
  return (await storedMessage(needs.nats, STREAMS[ref.in], { seq }))?.data ?? null;
}

async function keep(
  needs: Needs,
  where: Where,
  key: ListKey,
  id: string,
  from: MailRef,
  note: unknown,
): Promise<MailRef | null> {
  const last = await pieceOf(needs, from, from.seq);
  if (last === null) return null;
  const copied: number[] = [];
  const put = async (part: string, bytes: Uint8Array, headers: Record<string, string>) => {
    const ref = await copy(needs, where, key, part, bytes, headers);
    copied.push(ref.seq);
    return ref;
  };
  try {
    const parts = await inParallel(from.parts ?? [], async (seq, i) => {
      const bytes = await pieceOf(needs, from, seq);
      return bytes === null ? null : (await put(`${id}/${i}`, bytes, { [PART_OF]: id })).seq;
    });
    const there = parts.filter((seq) => seq !== null);
    if (there.length < parts.length) return null;
    const headers = { [ID]: id, [NOTE]: asciiJson(note), ...partsHeader(there) };
    return await put(id, last, headers);
  } catch (error) {
    const isFull = error instanceof MailError && error.code === 452;
    // Parts that nobody names would take room that smaller mails have.
    if (isFull && where === 'held') await dropParts(needs, copied);
    throw error;
  }
}

/** Stores one message of a copy, or finds the one with this id that is there already. */
async function copy(
  { nats, publisher }: Needs,
  where: Where,
  key: ListKey,
  id: string,
  bytes: Uint8Array,
  headers: Readonly<Record<string, string>>,
): Promise<MailRef> {
  const subject = subjectOf(where, key);
  let messageId = `${key}.${id}`;
  for (let times = 0; times < KEPT_AGAIN_MAX; times++) {
    const kept = await publisher.publish(subject, bytes, { id: messageId, headers });
    if (!kept.duplicate)
      return refOf(where, kept.seq, partsOf({ header: (name) => headers[name] ?? '' }));
    const first = await storedMessage(nats, STREAMS[where], { seq: kept.seq });
    if (first !== null) return copyOf(where, first);
    // The server still knows the id of what was dropped meanwhile: the next copy has one of its
    // own.
    messageId = `${messageId}/again-${kept.seq}`;
  }
  throw away(new Error(`${messageId} was kept and dropped again and again`));
}

async function find(
  { nats }: Needs,
  where: Where,
  key: ListKey,
  id: string,
): Promise<MailRef | null> {
  const subject = subjectOf(where, key);
  const newest = await storedMessage(nats, STREAMS[where], { last_by_subj: subject });
  if (newest === null) return null;
  if (newest.header(ID) === id) return copyOf(where, newest);
  const most = where === 'archive' ? FIND_MESSAGES_MAX : Number.POSITIVE_INFINITY;
  for (let window = FIND_WINDOW; ; window *= FIND_WIDER) {
    const after = Math.max(0, newest.seq - window);
    const { found, seen } = await search(nats, where, subject, id, after, newest.seq);
    if (found !== null || after === 0 || seen >= most) return found;
  }
}

/** The last copy with this id among (after, until]; reads headers only. */
async function search(
  nats: Nats,
  where: Where,
  subject: string,
  id: string,
  after: number,
  until: number,
): Promise<{ found: MailRef | null; seen: number }> {
  const of = { stream: STREAMS[where], subject, after, headersOnly: true };
  let found: MailRef | null = null;
  let seen = 0;
  for await (const message of tail(nats, of, AbortSignal.timeout(FIND_MS_MAX))) {
    if (message !== 'ready') {
      seen += 1;
      if (message.header(ID) === id) found = copyOf(where, message);
    }
    if (message === 'ready' || message.seq >= until) return { found, seen };
  }
  throw away(new Error(`the search for ${id} took more than ${FIND_MS_MAX} ms`));
}

/**
 * The message that names the parts goes last, so that an interrupted drop can be found and done
 * again.
 */
async function drop(needs: Needs, ref: MailRef): Promise<void> {
  assert(ref.in === 'held', `mail in ${ref.in} is not dropped one by one`);
  await dropParts(needs, ref.parts ?? []);
  await deleteStored(needs.nats, STREAMS.held, ref.seq);
}

async function dropParts({ nats }: Needs, parts: readonly number[]): Promise<void> {
  await inParallel(parts, (seq) => deleteStored(nats, STREAMS.held, seq));
}

// ── Pieces ────────────────────────────────────────────────────────────────

/**
 * Puts all pieces but the last, a bounded number at once; gives their sequences in order, and the
 * last piece.
 */
async function putParts(
  raw: RawMail,
  put: (piece: Uint8Array) => Promise<number>,
): Promise<{ parts: readonly number[]; last: Uint8Array }> {
  const parts: Promise<number>[] = [];
  let last: Uint8Array = new Uint8Array(0);
  let bytes = 0;
  for await (const piece of fullPieces(raw.pieces())) {
    if (bytes > 0) {
      await parts.at(-PIECES_IN_FLIGHT_MAX);
      const part = put(last);
      part.catch(() => {}); // Told below, by Promise.all; until then it is not "unhandled".
      parts.push(part);
    }
    last = piece;
    bytes += piece.byteLength;
  }
  assert(bytes === raw.size, `a mail of ${raw.size} bytes gave ${bytes}`);
  assert(parts.length <= PARTS_MAX, `a mail in ${parts.length} parts`);
  return { parts: await Promise.all(parts), last };
}

/** The same bytes in as few pieces as may be; nothing is copied where pieces are full or alone. */
async function* fullPieces(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let some: Uint8Array[] = [];
  let bytes = 0;
  const joined = (): Uint8Array =>
    some.length === 1 && some[0] ? some[0] : Buffer.concat(some, bytes);
  for await (const piece of pieces) {
    assert(piece.byteLength <= MAIL_PIECE_BYTES_MAX, `a piece of ${piece.byteLength} bytes`);
    if (bytes + piece.byteLength > MAIL_PIECE_BYTES_MAX) {
      yield joined();
      some = [];
      bytes = 0;
    }
    some.push(piece);
    bytes += piece.byteLength;
  }
  if (some.length > 0) yield joined();
}

/** The results in order; a bounded number at once. Rejects only when nothing of it is under way any more. */
async function inParallel<A, B>(
  all: readonly A[],
  each: (one: A, index: number) => Promise<B>,
): Promise<B[]> {
  const results: B[] = [];
  for (let from = 0; from < all.length; from += PIECES_IN_FLIGHT_MAX) {
    const some = all.slice(from, from + PIECES_IN_FLIGHT_MAX);
    const under = some.map((one, i) => each(one, from + i));
    await Promise.allSettled(under);
    results.push(...(await Promise.all(under)));
  }
  return results;
}

// ── Copies ───────────────────────────────────────────────────────────────

function subjectOf(where: Where, key: ListKey): string {
  return where === 'held' ? held(key) : archive(key);
}

function copyOf(where: Where, message: Pick<Stored, 'seq' | 'header'>): MailRef {
  return refOf(where, message.seq, partsOf(message));
}
