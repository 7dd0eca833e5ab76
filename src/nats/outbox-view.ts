/**
 * The outbox on the wire: what `troupe.outbox` is asked and answers, for the command line and the
 * web page alike. It shows what the `capture` route kept: mail as it would have gone to an MTA.
 */
import { decodeWords } from '../mail/encoded-words.ts';
import { parseHeader } from '../mail/header.ts';
import type { Captured, CapturedMail } from '../world.ts';

/** A page holds at most this many, whatever was asked. */
export const OUTBOX_PAGE_MAX = 200;
const OUTBOX_PAGE = 50;
/**
 * A larger mail is shown up to here, bytes: an answer must fit a NATS message of 1 MB as base64.
 */
export const OUTBOX_RAW_MAX = 512 * 1024;

/** `before`: only older ones than this id. */
export type OutboxRequest =
  | { readonly before?: number; readonly limit?: number }
  | { readonly id: number };

export type OutboxEntry = {
  readonly id: number;
  /** ms since the epoch. */
  readonly at: number;
  /** Envelope sender; '' is the null return path. */
  readonly sender: string;
  readonly recipients: readonly string[];
  /** Decoded. */
  readonly subject: string;
  readonly bytes: number;
};

/** Newest first; `count` is how many are kept in all. */
export type OutboxPage = { readonly mails: readonly OutboxEntry[]; readonly count: number };

/** `raw` is base64, at most {@link OUTBOX_RAW_MAX} bytes of the message. */
export type OutboxMail = { readonly mail: (OutboxEntry & { readonly raw: string }) | null };

/** Where the outbox is read: on this node, or asked of the one that keeps it. */
export type OutboxSource = {
  /** Throw MailError 451 where the node that keeps it does not answer. */
  page(request: { readonly before?: number; readonly limit?: number }): Promise<OutboxPage>;
  mail(id: number): Promise<OutboxMail>;
};

/** What this very node keeps. */
export function ownOutbox(captured: CapturedMail): OutboxSource {
  return {
    page: async (request) => outboxPage(captured, request),
    mail: async (id) => outboxMail(captured, id),
  };
}

/** What anyone may have asked, made safe: unknown fields are dropped, numbers bounded. */
export function parseOutboxRequest(value: unknown): OutboxRequest {
  const asked = (typeof value === 'object' && value !== null ? value : {}) as {
    readonly [field in 'id' | 'before' | 'limit']?: unknown;
  };
  if (isCount(asked.id)) return { id: asked.id };
  return {
    ...(isCount(asked.before) ? { before: asked.before } : {}),
    limit: isCount(asked.limit) ? Math.min(asked.limit, OUTBOX_PAGE_MAX) : OUTBOX_PAGE,
  };
}

/** Answers from what is kept. Never throws. */
export function answerOutbox(
  captured: CapturedMail,
  request: OutboxRequest,
): OutboxPage | OutboxMail {
  return 'id' in request ? outboxMail(captured, request.id) : outboxPage(captured, request);
}

export function outboxPage(
  captured: CapturedMail,
  { before, limit }: { readonly before?: number; readonly limit?: number },
): OutboxPage {
  const mails = captured.list(before ?? null, Math.min(limit ?? OUTBOX_PAGE, OUTBOX_PAGE_MAX));
  return { mails: mails.map(entryOf), count: captured.count() };
}

export function outboxMail(captured: CapturedMail, id: number): OutboxMail {
  const mail = captured.get(id);
  if (mail === null) return { mail: null };
  const raw = Buffer.from(mail.message.subarray(0, OUTBOX_RAW_MAX)).toString('base64');
  return { mail: { ...entryOf(mail), raw } };
}

function entryOf({ id, at, sender, recipients, message }: Captured): OutboxEntry {
  return { id, at, sender, recipients, subject: subjectOf(message), bytes: message.length };
}

/** The decoded subject; '' where there is none or the header cannot be read. */
export function subjectOf(message: Uint8Array): string {
  const header = parseHeader(message);
  return 'problem' in header ? '' : decodeWords(header.get('subject') ?? '');
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
