/**
 * The seams: all that host, runners and effects need of the world, as small typed interfaces.
 *
 * `src/main.ts` wires the real ones; a simulated world implements the same, held to the same contract
 * suites (`test/contract`). Nothing behind these types is imported by name anywhere else, so the whole core can run in
 * one thread under a seed. Everything that can fail throws a `MailError` (4.x.x: try again) unless it says otherwise.
 */
import type { Address } from './mail/address.ts';
import type { BounceEvent } from './mail/bounce-event.ts';
import type { By, Chunk, ChunkId, Class, OrderRow, PostOrder, Result } from './mail/chunk.ts';
import type { Envelope, MailKind, MailRef, RawMail } from './mail/envelope.ts';
import type { ListKey } from './mail/list-key.ts';

// ── Time and chance ───────────────────────────────────────────────────────

export type Clock = {
  /** Wall clock, ms since the epoch; may jump. */
  now(): number;
  /** Monotonic ms, for leases, time-outs and durations. */
  monotonic(): number;
  /** Resolves after `ms`, or at once when `signal` aborts (never rejects). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
};

export type Random = {
  bytes(length: number): Uint8Array;
  /** [0, 1) */
  fraction(): number;
};

/** Counters and durations for `/metrics`; names are listed in `src/ops/metrics.ts`. Never throws. */
export type Meter = {
  count(name: string, labels?: Readonly<Record<string, string>>, by?: number): void;
  /** Milliseconds. */
  observe(name: string, ms: number, labels?: Readonly<Record<string, string>>): void;
};

// ── The ledger ────────────────────────────────────────────────────────────

/** A stored record: its stream sequence and its exact bytes. */
export type StoredRecord = { readonly seq: number; readonly bytes: Uint8Array };

/**
 * One attempt's outcome. `stored`: it is there, at `seq`. `refused`: the subject's last sequence is not what was expected.
 * `doubt`: no answer; it may or may not be there, send the same bytes again. `full`: the stream has no room; nothing stored.
 */
export type Appended =
  | { readonly kind: 'stored'; readonly seq: number }
  | { readonly kind: 'refused' }
  | { readonly kind: 'doubt' }
  | { readonly kind: 'full' };

/** Compare-and-append per list; `whose` is a list's key, or 'owner' for the slot's own history. */
export type Ledger = {
  /** One attempt; `expected` is the sequence of the last record of this subject, 0 for none. Never throws. */
  append(
    slot: number,
    whose: ListKey | 'owner',
    bytes: Uint8Array,
    expected: number,
  ): Promise<Appended>;
  /** The last record of the subject, from the leader; null if there is none. */
  last(slot: number, whose: ListKey | 'owner'): Promise<StoredRecord | null>;
  /** The records of one list with a sequence above `after`, up to the last there is when asked. */
  read(slot: number, key: ListKey, after: number): AsyncIterable<StoredRecord>;
  /** The records of all lists of the slots with a sequence above `after`, up to the last there is when asked; for recovery and rebuild. */
  scan(
    slots: readonly number[],
    after: number,
  ): AsyncIterable<StoredRecord & { slot: number; key: ListKey }>;
  /** As `scan`, with what owners said of the slots, and then each new one as it comes, until the signal aborts. */
  follow(
    slots: readonly number[],
    after: number,
    signal: AbortSignal,
  ): AsyncIterable<StoredRecord & { slot: number; whose: ListKey | 'owner' }>;
  /** The sequence of the last message of the whole stream, 0 if empty. */
  end(): Promise<number>;
};

// ── Queues ────────────────────────────────────────────────────────────────

/** A message in hand. It comes again after the consumer's `ack_wait` unless it was acked or renewed with `working`. */
export type Delivery = {
  readonly subject: string;
  /** Stream sequence. */
  readonly seq: number;
  /** 1 the first time. */
  readonly deliveries: number;
  /** When it was stored, ms since the epoch. */
  readonly storedAt: number;
  readonly data: Uint8Array;
  /** '' if absent. */
  header(name: string): string;
  /** Where its ack goes, if it can be acked by another process after a restart (the journal keeps it). */
  readonly ackToken?: string;
  ack(): void;
  working(): void;
  /** Gives it back at once; for shutdown only, never to wait. */
  giveBack(): void;
};

/** What of it is stored. */
export type Message = Pick<Delivery, 'subject' | 'seq' | 'data' | 'header'>;

export type QueueDepth = { readonly waiting: number; readonly inHand: number };

/** One durable pull consumer. `take` yields deliveries until the signal aborts; back-pressure is the caller's: it pulls ahead by a bounded number only. */
export type Queue = {
  readonly name: string;
  take(ahead: number, signal: AbortSignal): AsyncIterable<Delivery>;
  depth(): Promise<QueueDepth>;
};

/** A command with the id that makes it count once. */
export type Asked<C> = { readonly id: string; readonly command: C };

/** Commands that nobody waits for; kept until the owner acks. Deduped by id for 2 minutes, then by `seen`. */
export type MailboxOut<C> = { put(key: ListKey, asked: Asked<C>): Promise<void> };

/** Puts chunks, in atomic batches where there are many; a chunk put twice within 2 hours is one. */
export type OutgoingOut = { put(chunks: readonly Chunk[]): Promise<void> };

export type Results = {
  /** The last result of exactly this chunk and try, from the leader. */
  last(id: ChunkId): Promise<Result | null>;
  /** True if nothing was told of any chunk of this post, and nothing was ordered for it; from the leader. */
  isUntold(key: ListKey, post: string): Promise<boolean>;
  tell(id: ChunkId, result: Result): Promise<void>;
  /** What is to become of a post, from the leader; `go` where nobody said otherwise. */
  orderOf(key: ListKey, post: string): Promise<PostOrder>;
  /** Changes nothing where this one or a later one stands, also when it comes late. */
  order(key: ListKey, post: string, row: OrderRow): Promise<void>;
};

/**
 * Which route last had a member's copy of a post, from the delivery record: the one that took it, or else the last that was tried.
 * Null where that is not known: by now, of mail that is no post, or because who must be asked is away. At once where nobody need be
 * asked. Never throws.
 */
export type RouteOf = (
  key: ListKey,
  post: number,
  member: number,
) => string | null | Promise<string | null>;

/**
 * How many copies of a post each route took or refused for good so far, from the delivery record; null where it cannot be read.
 * Never throws.
 */
export type CopiesByRoute = (
  key: ListKey,
  post: number,
) => Promise<Readonly<Record<string, number>> | null>;

/**
 * Copies that came back, and what lists did; kept 60 days. What is told again may be there again: the fold counts it once, by its id
 * within 2 minutes or else by what it says.
 */
export type BouncesOut = { put(key: ListKey, event: BounceEvent): Promise<void> };

/** What BOUNCES holds of one slot, and what comes: read, never taken away. */
export type BounceLog = {
  /**
   * The slot's messages with a sequence above `after`, and each new one, until the signal aborts.
   * `caughtUp` is called, perhaps again and again, when all that there was has been taken. An event
   * that cannot be read is null.
   */
  follow(
    slot: number,
    after: number,
    signal: AbortSignal,
    caughtUp: () => void,
  ): AsyncIterable<FoundBounces>;
  /** The event of that `eventNumber`; null if it is gone, or cannot be read. Throws MailError 451 while NATS is away. */
  read(number: number): Promise<BounceEvent | null>;
  /** The first and the last sequence of the whole stream; both 0 if it never held any. */
  span(): Promise<{ readonly first: number; readonly last: number }>;
};
/** A message of BOUNCES: events of one list that were stored at once, {@link EVENTS_MAX} at most. */
export type FoundBounces = {
  readonly seq: number;
  readonly key: ListKey;
  readonly events: readonly (BounceEvent | null)[];
};

/** What is to happen when it is due. */
export type Due<C> =
  | { readonly to: 'outgoing'; readonly chunk: Chunk }
  | { readonly to: 'mailbox'; readonly key: ListKey; readonly asked: Asked<C> };

/** What must wait. `id` is `[a-z0-9.-]+`; the same id again replaces. A due time in the past fires at once. */
export type Later<C> = {
  put(id: string, at: number, due: Due<C>): Promise<void>;
  cancel(id: string): Promise<void>;
  /** Makes due at once all that waits under this prefix of an id, tokens for tokens: `a.b` is one of `a.b.c`, not of `a.bc`. */
  hasten(prefix: string): Promise<void>;
};

/** Set aside whole, with where it came from and why. */
export type Parked = {
  put(where: string, message: Message, why: string): Promise<void>;
};

// ── Raw mail ──────────────────────────────────────────────────────────────

export type MailStore = {
  /**
   * Keeps a mail: parts first, then one message a kind with its envelope. Resolves when the last is acknowledged.
   * Throws MailError 452 4.3.1 when full, 451 4.3.0 when NATS is away.
   */
  accept(raw: RawMail, envelopes: readonly { kind: MailKind; envelope: Envelope }[]): Promise<void>;
  /** The message of MAIL that is the last of a mail, as it was accepted; null when it is gone. */
  message(ref: MailRef): Promise<Message | null>;
  /** The raw bytes; null when they are gone. */
  read(ref: MailRef): Promise<Uint8Array | null>;
  /** Copies raw mail to HELD or ARCHIVE under the list's key; the same `id` again within 2 minutes is one. Null when the source is gone. */
  keep(
    where: 'held' | 'archive',
    key: ListKey,
    id: string,
    from: MailRef,
    note: unknown,
  ): Promise<MailRef | null>;
  /** Where `keep` put the copy with this id, newest first looked at; null if it is not there. */
  find(where: 'held' | 'archive', key: ListKey, id: string): Promise<MailRef | null>;
  /** Deletes a held copy and its parts; twice is not an error. */
  drop(ref: MailRef): Promise<void>;
};

// ── Key-value ─────────────────────────────────────────────────────────────

export type KvEntry = {
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
};

export type Kv = {
  /** From the leader. */
  get(key: string): Promise<KvEntry | null>;
  /** The new revision, or null if the key exists. */
  create(key: string, value: Uint8Array): Promise<number | null>;
  /** The new revision, or null if `revision` is no longer the last. */
  update(key: string, value: Uint8Array, revision: number): Promise<number | null>;
  delete(key: string): Promise<void>;
  /** All there is, then `ready`, then each change, until the signal aborts. A deleted key has value null. */
  watch(
    signal: AbortSignal,
  ): AsyncIterable<
    { readonly key: string; readonly value: Uint8Array | null; readonly revision: number } | 'ready'
  >;
};

// ── Disk ──────────────────────────────────────────────────────────────────

export type Disk = {
  /** Bytes free to this process under the data directory. */
  freeBytes(): Promise<number>;
};

/** A row's key: the list's key first, then what it is; ordered as LMDB's ordered-binary orders arrays. */
export type RowKey = readonly (string | number)[];
export type Row = readonly [key: RowKey, value: unknown];

/** Folded rows. One writer; reads are synchronous and see the last commit. A value is plain JSON-like data. */
export type Rows = {
  get(key: RowKey): unknown;
  /** Rows with from ≤ key < to, in order. */
  range(from: RowKey, to: RowKey, limit?: number): Iterable<Row>;
  /** All in one transaction; `undefined` deletes. */
  commit(writes: Iterable<readonly [RowKey, unknown]>): void;
  /** Resolves when all commits so far are on disk. */
  flushed(): Promise<void>;
  /** Deletes every row; for rebuild. */
  clear(): void;
  close(): Promise<void>;
};

// ── SMTP out ──────────────────────────────────────────────────────────────

export type Transaction = {
  readonly sender: Address | '';
  readonly recipients: readonly Address[];
  readonly message: Uint8Array;
  /** It is known that its lines end in CRLF and that none begins with a dot. */
  readonly asSent?: boolean;
  readonly eightBit: boolean;
  readonly smtputf8: boolean;
  /** Names the transaction in a DSN (RFC 3461 §4.4), where the MTA offers DSN. */
  readonly envid?: string;
};

/** The MTA's word on one recipient; code 0 means the connection was lost before the final dot's reply: not known. */
export type RecipientReply = {
  readonly code: number;
  readonly status: string;
  readonly reply: string;
};

/** A kept-open connection to an MTA. One transaction at a time. */
export type SmtpConnection = {
  /**
   * One reply a recipient, in order. Never throws: a lost connection is a reply with code 421 (before the dot) or 0 (after it).
   * `following` is what will be sent next over this connection, if that is known: it saves a round trip. Who does not send it
   * next after all must close the connection. Of its message only the length is final yet: it may still be being signed.
   */
  send(transaction: Transaction, following?: Transaction): Promise<readonly RecipientReply[]>;
  readonly isOpen: boolean;
  close(): void;
};

export type Smtp = {
  /** Throws a MailError 4.4.x when it cannot connect. */
  connect(): Promise<SmtpConnection>;
};

/** One outgoing MTA: a name for logs and results, and its kept-open connections. */
export type Route = {
  readonly name: string;
  /** How many connections a chunk of this class should use now, beside the others that the route has in hand. */
  share(cls: Class): number;
  /** The most recipients of one envelope in mode `shared`. */
  readonly recipientsMax: number;
  /**
   * Lends a connection for as long as `use` runs, to mail of this class in its turn. Throws MailError 4.4.x when there is none
   * to be had, and what `use` throws.
   */
  withConnection<T>(cls: Class, use: (connection: SmtpConnection) => Promise<T>): Promise<T>;
  /** Whether mail of a class that comes before this one waits for a connection. */
  isWanted(cls: Class): boolean;
  /** Calls `tell` once it carries nothing more, though connections are in use still; until what this gives is called. */
  onAway(tell: () => void): () => void;
  /** Connects anew to see: was a connection lost, or the MTA? Never throws. */
  isAlive(): Promise<boolean>;
};

/** A route for one chunk, and its place in the route's hand: given back once, whatever became of the chunk. */
export type Lent = { readonly route: Route; giveBack(): void };

// ── What a runner notes on its own node ───────────────────────────────────

/** Member numbers, and by which route each copy was taken, and when. */
export type Noted = ReadonlyMap<number, By>;

/** A chunk that was in hand when its process ended, and whom the MTA had accepted by then. */
export type HeldChunk = {
  readonly name: string;
  readonly ackToken: string;
  /** The delivery's bytes. */
  readonly data: Uint8Array;
  readonly accepted: Noted;
  /** When it was last taken or renewed, ms since the epoch. */
  readonly renewedAt: number;
};

/** Who was accepted, noted before the next transaction, so that a crash repeats at most those in flight. */
export type Journal = {
  /** Chunks that are open: at start, those that an earlier process left. */
  held(): readonly HeldChunk[];
  /** Whom the journal has as accepted in a chunk that is open; empty if it is not. */
  acceptedOf(name: string): Noted;
  /** Opening an open chunk again keeps whom it has. */
  /** Throws a MailError if it cannot be noted; so does `accepted`. */
  open(name: string, ackToken: string, data: Uint8Array): void;
  renewed(name: string): void;
  /** What is noted outlives the process. */
  accepted(name: string, numbers: readonly number[], by: By): void;
  close(name: string): void;
};

/** Counts how often a message was in hand when its process died; asked only about what comes again. */
export type Suspects = {
  /** Notes that it is in hand now; returns how often it died with its process before. */
  begin(id: string): number;
  end(id: string): void;
};

/** Where mail goes when no route is configured: kept (bounded), shown, sent nowhere. */
export type Captured = {
  readonly id: number;
  readonly at: number;
  readonly sender: string;
  readonly recipients: readonly string[];
  readonly message: Uint8Array;
};

/** The captured mail of a node, newest first. */
export type CapturedMail = {
  list(before: number | null, limit: number): readonly Captured[];
  get(id: number): Captured | null;
  count(): number;
};

/** The four outgoing queues by class. */
export type OutgoingQueues = Readonly<Record<Class, Queue>>;
