/**
 * A chunk: one post × one range of members, with all that the outgoing runner needs, so that a list
 * is not touched while its mail is in outgoing (design §3, §7).
 */
import type { Address } from './address.ts';
import type { MailRef } from './envelope.ts';
import type { ListKey } from './list-key.ts';

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

/** Names a chunk in subjects, dedupe ids and results. `post` is `[a-z0-9]+`; `chunk` is `3` or, split, `3-0`. */
export type ChunkId = {
  readonly key: ListKey;
  readonly post: string;
  readonly chunk: string;
  /** 0 for the first try. */
  readonly try: number;
};

export type Chunk = ChunkId & {
  readonly class: Class;
  readonly recipe: Recipe;
  /** The raw mail, or for a notice its bytes as base64. */
  readonly mail: MailRef | { readonly inline: string };
  readonly smtputf8: boolean;
  readonly to: readonly Recipient[];
  /** When the first try was put, ms since the epoch: a recipient is given up on 5 days later. */
  readonly firstAt: number;
  readonly trace: string;
};

/** `<key>.<post>.<chunk>.<try>`: the Msg-Id of a chunk and the tail of its RESULTS subject. */
export function chunkName(id: ChunkId): string {
  return `${id.key}.${id.post}.${id.chunk}.${id.try}`;
}

/** A recipient that the MTA refused: SMTP code, enhanced status or '', the reply's text. */
export type RefusedRecipient = {
  readonly number: number;
  readonly code: number;
  readonly status: string;
  readonly reply: string;
};

/**
 * What became of a chunk's recipients. `accepted` holds inclusive ranges of member numbers, of which only
 * those in the chunk count; so 5,000 recipients are a few bytes.
 */
export type Result = {
  readonly kind: 'part' | 'done';
  readonly at: number;
  readonly route: string;
  readonly accepted: readonly (readonly [from: number, to: number])[];
  /** 4xx: tried again, as the next try in LATER. */
  readonly deferred: readonly RefusedRecipient[];
  /** 5xx, or given up. */
  readonly refused: readonly RefusedRecipient[];
};
