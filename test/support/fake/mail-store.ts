/**
 * Raw mail in memory, in messages and parts as the real store keeps it, held to the same contract.
 */
import { MailError } from '../../../src/errors.ts';
import {
  MAIL_PIECE_BYTES_MAX,
  type MailKind,
  type MailRef,
  type RawMail,
} from '../../../src/mail/envelope.ts';
import { joined, storeInGroups } from '../../../src/nats/groups.ts';
import { encodeMail, joinMails, MAILS_MAX } from '../../../src/nats/mail-message.ts';
import type { BatchMessage } from '../../../src/nats/publisher.ts';
import { mail } from '../../../src/nats/subjects.ts';
import type { Clock, MailStore } from '../../../src/world.ts';

/** A message of MAIL as a consumer would get it; `mailsOf` and `mailRefOf` read it. */
export type FakeMail = {
  readonly kind: MailKind;
  readonly subject: string;
  readonly seq: number;
  readonly data: Uint8Array;
  header(name: string): string;
};

export type FakeMailStore = MailStore & {
  /** What was accepted, oldest first. */
  accepted(): readonly FakeMail[];
  /** All that follows fails with this, until null. */
  failWith(error: MailError | null): void;
  /** HELD has no room for copies, until false. */
  fillHeld(isFull: boolean): void;
  /** Forgets a stored message, as age does. */
  forget(where: MailRef['in'], seq: number): void;
  /** Forgets the ids of copies, as the server may at a restart. */
  forgetIds(): void;
};

export type FakeMailStoreOptions = {
  /** With it an id of a copy is known for two minutes only; for ever without. */
  readonly clock?: Clock;
  /** Hears of each copy that was stored, and was not one that is there already; `wasDropped`: the one before it was, a moment ago. */
  readonly onKept?: (
    where: 'held' | 'archive',
    key: string,
    id: string,
    wasDropped: boolean,
  ) => void;
};

const DEDUPE_MS = 120_000;

/** `onAccepted` is told of each message of MAIL; a simulated world puts it into its queue. */
export function createFakeMailStore(
  onAccepted: (mail: FakeMail) => void = () => {},
  { clock, onKept }: FakeMailStoreOptions = {},
): FakeMailStore {
  const streams = { mail: createStream(), held: createStream(), archive: createStream() };
  const accepted: FakeMail[] = [];
  const copies = new Map<string, MailRef>();
  const keptAt = new Map<string, number>();
  const isKnown = (name: string): boolean => {
    const at = keptAt.get(name);
    return at !== undefined && (clock?.monotonic() ?? at) - at < DEDUPE_MS;
  };
  let failure: MailError | null = null;
  let isHeldFull = false;
  const check = (): void => {
    if (failure !== null) throw failure;
  };

  function piecesOf(ref: MailRef): Uint8Array[] | null {
    const pieces = [...(ref.parts ?? []), ref.seq].map((seq) => streams[ref.in].get(seq));
    const there = pieces.filter((piece) => piece !== undefined);
    return there.length < pieces.length ? null : there;
  }

  async function put(kind: MailKind, { data, headers = {} }: BatchMessage): Promise<void> {
    const seq = streams.mail.put(data);
    const header = (name: string): string => headers[name] ?? '';
    const message: FakeMail = { kind, subject: mail(kind), seq, data, header };
    accepted.push(message);
    onAccepted(message);
  }

  // Bounces of one turn share a message.
  const join = { of: joinMails, most: MAILS_MAX };
  const putJoined = storeInGroups(
    { soon: (write) => queueMicrotask(write) },
    joined(join, (messages) => messages.map((message) => put('bounce', message))),
  );

  return {
    async accept(raw, envelopes) {
      check();
      const pieces = split(await bytesOf(raw));
      check();
      const last = pieces.pop() ?? new Uint8Array(0);
      const parts = pieces.map((piece) => streams.mail.put(piece));
      for (const { kind, envelope } of envelopes) {
        const message = { subject: mail(kind), data: last, headers: encodeMail(envelope, parts) };
        if (kind === 'bounce' && parts.length === 0) await putJoined(message);
        else await put(kind, message);
      }
    },
    async message(ref) {
      check();
      const message = accepted.find(({ seq }) => seq === ref.seq);
      return message !== undefined && streams.mail.get(ref.seq) !== undefined ? message : null;
    },
    async read(ref) {
      check();
      const pieces = piecesOf(ref);
      return pieces === null ? null : Buffer.concat(pieces);
    },
    async keep(where, key, id, from) {
      check();
      const name = `${where}.${key}.${id}`;
      const pieces = piecesOf(from);
      if (pieces === null) return null;
      const before = isKnown(name) ? copies.get(name) : undefined;
      if (before !== undefined && piecesOf(before) !== null) return before;
      if (where === 'held' && isHeldFull) throw new MailError(452, '4.3.1', 'Mail system is full');
      const seqs = pieces.map((piece) => streams[where].put(piece));
      const seq = seqs.pop() ?? 0;
      const copy: MailRef = { in: where, seq, ...(seqs.length === 0 ? {} : { parts: seqs }) };
      copies.set(name, copy);
      keptAt.set(name, clock?.monotonic() ?? 0);
      onKept?.(where, key, id, before !== undefined);
      return copy;
    },
    async find(where, key, id) {
      check();
      const copy = copies.get(`${where}.${key}.${id}`) ?? null;
      return copy !== null && streams[where].get(copy.seq) !== undefined ? copy : null;
    },
    async drop(ref) {
      check();
      if (ref.in !== 'held') throw new Error(`mail in ${ref.in} is not dropped one by one`);
      for (const seq of [...(ref.parts ?? []), ref.seq]) streams.held.forget(seq);
    },
    accepted: () => accepted,
    failWith: (error) => {
      failure = error;
    },
    fillHeld: (isFull) => {
      isHeldFull = isFull;
    },
    forget: (where, seq) => streams[where].forget(seq),
    forgetIds: () => keptAt.clear(),
  };
}

function createStream() {
  const messages = new Map<number, Uint8Array>();
  let last = 0;
  return {
    put(bytes: Uint8Array): number {
      last += 1;
      messages.set(last, bytes);
      return last;
    },
    get: (seq: number) => messages.get(seq),
    forget: (seq: number): void => {
      messages.delete(seq);
    },
  };
}

async function bytesOf(raw: RawMail): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of raw.pieces()) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  if (bytes.length !== raw.size) throw new Error(`a mail of ${raw.size} gave ${bytes.length}`);
  return bytes;
}

function split(bytes: Buffer): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += MAIL_PIECE_BYTES_MAX) {
    pieces.push(bytes.subarray(at, at + MAIL_PIECE_BYTES_MAX));
  }
  return pieces;
}
