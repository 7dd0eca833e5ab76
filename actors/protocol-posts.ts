/**
 * The part of the list's protocol that is about posts once they are accepted: what may be said of them, what may have happened to
 * them, and what the list knows of them. What became of their mail is not the list's to know: that is the delivery record.
 */
import type { Address } from '../src/mail/address.ts';
import type { PostOrder } from '../src/mail/chunk.ts';
import type { By, Settings } from './protocol.ts';

export type PostCommand =
  /** Pauses, resumes or cancels the sending of a post; what is cancelled stays so. */
  | {
      readonly type: 'order-post';
      readonly post: number;
      readonly order: PostOrder;
      readonly by: By;
    }
  /** Sends a post again to these members, whom it did not reach; at most {@link RESEND_MAX} at once. */
  | {
      readonly type: 'resend';
      readonly post: number;
      readonly to: readonly number[];
      readonly by: By;
    };

export type PostFact =
  | {
      readonly type: 'post-ordered';
      readonly number: number;
      readonly order: PostOrder;
      readonly by: By;
    }
  /** For the `again`-th time; `to` ascends. */
  | {
      readonly type: 'post-resent';
      readonly number: number;
      readonly again: number;
      readonly to: readonly number[];
      readonly by: By;
    };

export type PostEffect =
  | { readonly type: 'order-post'; readonly number: number; readonly order: PostOrder }
  | {
      readonly type: 'deliver-again';
      readonly number: number;
      readonly again: number;
      readonly to: readonly number[];
      readonly settings: Settings;
    };

export type PostQuestion =
  /** The newest posts before `before`. */
  | { readonly ask: 'posts'; readonly before: number; readonly limit: number; readonly by: By }
  /** A post as the list has it, and who some of its recipients are: what the delivery record is read with. */
  | {
      readonly ask: 'post';
      readonly post: number;
      readonly by: By;
      readonly recipient?: Address;
      readonly numbers?: readonly number[];
    };

/** A post that was accepted. */
export type PostView = {
  readonly number: number;
  /** When it was accepted, ms since the epoch. */
  readonly at: number;
  readonly subject: string;
  /** Members then. */
  readonly recipients: number;
  readonly order: PostOrder;
};

export type PostsPage = { readonly posts: readonly PostView[]; readonly next: number | null };

export type PostFacts = PostView & {
  readonly key: string;
  /** Chunks of so many member numbers, below this one. */
  readonly width: number;
  readonly counter: number;
  /** The numbers under which `recipient` was to get it: none, one, or two who left and joined again meanwhile. */
  readonly recipient: readonly number[];
  /** The list sends `recipient` no posts now: what has not gone out to them does not. */
  readonly isOff: boolean;
  /** Whose `numbers` are, as far as it is remembered: who left, for 60 days. */
  readonly members: readonly (readonly [number: number, address: Address])[];
};
