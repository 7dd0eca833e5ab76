/**
 * A chunk: one post × one range of members, with all that the outgoing runner needs, so that a list
 * is not touched while its mail is in outgoing (design §3, §7).
 */
import type { Address } from './address.ts';
import type { MailRef } from './envelope.ts';
import type { ListKey } from './list-key.ts';
import { type Range, rangesOf } from './ranges.ts';

/** What the outgoing runner sends first: `notice` > `post` > `bulk`; `retry` drains last. */
export type Class = 'notice' | 'post' | 'bulk' | 'retry';
export const CLASSES: readonly Class[] = ['notice', 'post', 'bulk', 'retry'];

/** `individual`: one envelope a member, VERP, one-click. `shared`: many recipients an envelope. */
export type Mode = 'individual' | 'shared';

/** How a post is cooked: what the list's settings said when it was accepted. Plain JSON, small. */
export type Recipe = {
  /**
   * `post`: cooked with all list headers. `forward`: sent on as it is, with a loop header. `notice`:
   * bytes of our own, from nobody. `probe`: the same, but it may bounce, to member and number.
   */
  readonly kind: 'post' | 'forward' | 'notice' | 'probe';
  readonly mode: Mode;
  /** The list's address, e.g. `dev@example.org`; domain and local part are read from it. */
  readonly list: Address;
  readonly displayName: string;
  readonly description: string;
  /** Without a trailing space; '' for none. `[dev]` gives `Subject: [dev] …`. */
  readonly subjectPrefix: string;
  /** Plain text, LF ends; '' for none. `{unsubscribe}` is replaced by the member's own page in mode `individual`. */
  readonly footer: string;
  /** `http.url` of the site, without a trailing slash. */
  readonly web: string;
  /** Set only where the mail had no usable Message-ID: what is added, with its angle brackets. */
  readonly messageId: string;
  /** The value of our Received field; absent for mail of our own. */
  readonly received?: string;
  /** The post's number on its list; stands in return paths. */
  readonly postNumber: number;
};

/** One recipient: the member's number (for notices and forwards an index) and address. */
export type Recipient = readonly [number: number, address: Address];

/**
 * Names a chunk in subjects, dedupe ids and results. `post` is `[a-z0-9]+`; `chunk` begins with the number of its range of
 * members: `3`; a part of it, `3-0`; sent again, `3-r57`.
 */
export type ChunkId = {
  readonly key: ListKey;
  readonly post: string;
  readonly chunk: string;
  /** 0 for the first try. */
  readonly try: number;
};

export type Chunk = ChunkId & {
  readonly class: Class;
  /** Of a retry, the class of its first try: rules for that one hold for it too. */
  readonly was?: Class;
  readonly recipe: Recipe;
  /** The raw mail, or for a notice its bytes as base64. */
  readonly mail: MailRef | { readonly inline: string };
  readonly smtputf8: boolean;
  readonly to: readonly Recipient[];
  /** Of `to`, who is not to be tried before this time, ms since the epoch. */
  readonly waits?: readonly (readonly [number: number, until: number])[];
  /** When the first try was put, ms since the epoch: how long a recipient is tried counts from here. */
  readonly firstAt: number;
  /** Since when it waits because its post is paused; that time does not count. */
  readonly pausedAt?: number;
  readonly trace: string;
};

/** `<key>.<post>.<chunk>.<try>`: the Msg-Id of a chunk and the tail of its RESULTS subject. */
export function chunkName(id: ChunkId): string {
  return `${id.key}.${id.post}.${id.chunk}.${id.try}`;
}

/** Whether a post is sent on, waits, or goes to nobody any more. What was handed over stays handed over. */
export type PostOrder = 'go' | 'pause' | 'cancel';

/** An order, and the entry of the list's ledger that gave it: the record, and its place in the record. */
export type OrderRow = { readonly order: PostOrder; readonly n: number; readonly index: number };

/** One that is told again, or late, must not stand in the place of a later one. */
export const isLater = (a: OrderRow, b: OrderRow): boolean =>
  a.n > b.n || (a.n === b.n && a.index > b.index);
/** Who said something of a copy, and when. */
export type By = {
  /** The route it was given to; '' where none could be had, or it was lost in a crash. */
  readonly route: string;
  /** ms since the epoch: when that was said, or up to a second before, so that many say it at once. */
  readonly at: number;
};

/** Of a copy that was taken: the MTA's words, e.g. the id it has in its queue; '' where a crash lost them. */
export type Word = By & { readonly reply: string };

/** Members whose copies were taken, and the word on each. */
export type Accepted = readonly [from: number, to: number, word: Word];

/** A recipient that the MTA refused: SMTP code, enhanced status or '', the reply's text. */
export type RefusedRecipient = Word & {
  readonly number: number;
  readonly code: number;
  readonly status: string;
};

/** Refused for now; `next` is when the next try is due, ms since the epoch. */
export type DeferredRecipient = RefusedRecipient & { readonly next?: number };

/** What one try of a chunk came to; with the other tries, the delivery record (design §4). */
export type Result = {
  readonly kind: 'part' | 'done';
  /** When it was told, ms since the epoch. */
  readonly at: number;
  /** Ascending. */
  readonly accepted: readonly Accepted[];
  /** 4xx, or no route could be had: tried again, as the next try in LATER. */
  readonly deferred: readonly DeferredRecipient[];
  /** 5xx, or given up. */
  readonly refused: readonly RefusedRecipient[];
  /** Who gets it no more because the post was cancelled. */
  readonly cancelled?: readonly Range[];
  /** Who may have had a copy before this try: the chunk was lost with whoever had it, or an MTA died at their final dot. */
  readonly repeated?: readonly Range[];
};

/** Whose copies were taken, as ranges. */
export const acceptedIn = (words: ReadonlyMap<number, Word>): readonly Accepted[] =>
  rangesOf(words, (a, b) => a.reply === b.reply && a.route === b.route && a.at === b.at);
