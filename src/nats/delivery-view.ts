/**
 * The delivery record on the wire: what `troupe.inspect.delivery.<list>` is asked and answers, for the command line, HTTP and
 * whoever sends a NATS request alike.
 */
import type { By } from '../../actors/protocol.ts';
import type { PostView } from '../../actors/protocol-posts.ts';
import { MailError } from '../errors.ts';
import { type Address, parseAddress } from '../mail/address.ts';
import type { Fate, FateState } from '../mail/fate.ts';

/** Recipients that one page of failures holds at most: an answer must fit one message. */
export const FAILED_PAGE_MAX = 500;

export type DeliveryRequest = {
  readonly post: number;
  /** One recipient's story. */
  readonly recipient?: Address;
  /** Those who were refused for good and whose number is above `after`. */
  readonly failed?: { readonly after: number; readonly limit: number };
};

/** Who asks; the list's owner checks it. */
export type DeliverySource = (
  list: Address,
  request: DeliveryRequest,
  by: By,
) => Promise<DeliveryAnswer>;

export type DeliveryAnswer = DeliveryReport | DeliveryStory | DeliveryFailures;

export type Counts = Readonly<Record<FateState, number>> & {
  /** Nothing is known of them yet. */
  readonly queued: number;
};

/** A post as a whole. */
export type DeliveryReport = PostView & {
  readonly list: Address;
  readonly counts: Counts;
  /** Of those it was handed to, how many may have it twice. */
  readonly mayHaveTwice: number;
  /** Copies by the route that they were handed to. */
  readonly routes: Readonly<Record<string, number>>;
  /** ms since the epoch; null while nothing was handed over. */
  readonly firstAt: number | null;
  readonly lastAt: number | null;
  /** When the next of those who wait are due. */
  readonly nextAt: number | null;
  /** Why some wait or were refused; the most frequent first. */
  readonly reasons: readonly {
    readonly state: FateState;
    readonly code: number;
    readonly status: string;
    readonly recipients: number;
    /** What one of them was told. */
    readonly reply: string;
  }[];
};

/** One recipient of a post. `state` is null where they were no member when it was accepted. */
export type DeliveryStory = PostView & {
  readonly list: Address;
  readonly recipient: Address;
  readonly state: FateState | 'queued' | null;
  /** It was handed over, and may have been before: by somebody who was lost before saying so. */
  readonly mayHaveTwice: boolean;
  /** First to last. */
  readonly story: readonly Fate[];
};

export type Failure = Omit<Fate, 'state' | 'next'> & {
  readonly number: number;
  /** Null where it is not known any more whose number that was. */
  readonly address: Address | null;
};

export type DeliveryFailures = PostView & {
  readonly list: Address;
  readonly failures: readonly Failure[];
  /** Pass as `after` for the next page; null at the end. */
  readonly next: number | null;
};

type Fields = Readonly<Record<string, unknown>>;

/** What anyone may have sent, checked. Throws MailError 501. */
export function parseDeliveryRequest(asked: Fields): DeliveryRequest {
  const { post, recipient, failed } = asked;
  if (!isCount(post)) throw new MailError(501, '5.5.4', 'Say which post: {"post": 7}');
  if (recipient !== undefined) {
    const address = parseAddress(String(recipient));
    if (address === null) throw new MailError(501, '5.1.3', 'The recipient is no mail address');
    return { post, recipient: address };
  }
  if (failed === undefined) return { post };
  const { after = 0, limit = FAILED_PAGE_MAX } = (failed ?? {}) as Fields;
  if (!isCount(after) || !isCount(limit) || limit < 1) {
    throw new MailError(501, '5.5.4', 'failed takes {"after": 0, "limit": 100}');
  }
  return { post, failed: { after, limit: Math.min(limit, FAILED_PAGE_MAX) } };
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
