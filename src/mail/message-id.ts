/** Message-IDs (RFC 5322 §3.6.4): the mail's own where it can be used, one of ours where not. */
import { createHash } from 'node:crypto';
import type { Header } from './header.ts';

/** A longer one is replaced: it would not survive other people's software, nor a header line. */
export const MESSAGE_ID_LENGTH_MAX = 250;

const MESSAGE_ID = /^<[\x21-\x3b\x3d\x3f-\x7e]+>$/;

/**
 * The message's own Message-ID with its angle brackets; null if it has none, several that differ,
 * or one that is too long or is not printable ASCII between angle brackets.
 */
export function usableMessageId(header: Header): string | null {
  const [first, ...others] = header.all('message-id');
  if (first === undefined || others.some((other) => other !== first)) return null;
  return first.length <= MESSAGE_ID_LENGTH_MAX && MESSAGE_ID.test(first) ? first : null;
}

/**
 * A Message-ID for a post without one. It follows from the post's id: the same mail sent again gets
 * the same.
 */
export function messageIdFor(postId: string, domain: string): string {
  const left = createHash('sha256').update(`message-id ${postId}`).digest('hex').slice(0, 32);
  return `<${left}.troupe@${domain}>`;
}
