/**
 * What of a try is an event on BOUNCES: whom an MTA refused for good, with its whole reply, and who is given up on. The
 * transaction was ours, so the event says for certain whose copy of which post it was.
 */
import { type Bounce, DIAGNOSTIC_CHARACTERS_MAX } from '../mail/bounce-event.ts';
import type { Chunk, RefusedRecipient, Result } from '../mail/chunk.ts';

/** The events of a finished try; none for notices and what is forwarded, whose recipients are no members. */
export function bouncesOf(chunk: Chunk, result: Result): readonly Bounce[] {
  if (chunk.recipe.kind !== 'post') return [];
  const addresses = new Map(chunk.to);
  return result.refused.map((refused): Bounce => {
    const { number, code, status, reply } = refused;
    return {
      type: 'bounce',
      id: `s${chunk.post}.${chunk.chunk}.${chunk.try}.${number}`,
      at: result.at,
      kind: 'bounce',
      verified: true,
      member: number,
      post: chunk.recipe.postNumber,
      address: addresses.get(number) ?? null,
      permanent: true,
      status: status === '' ? null : status,
      code,
      reason: reasonOf(refused),
      rule: 'smtp',
      source: 'smtp',
      route: result.route === '' ? null : result.route,
      diagnostic: `${code} ${status} ${reply}`.slice(0, DIAGNOSTIC_CHARACTERS_MAX),
      dsn: '',
    };
  });
}

/** By enhanced status (RFC 3463 §3), the most telling first. */
const REASONS: readonly (readonly [status: RegExp, reason: string])[] = [
  [/^5\.1\.[126]$|^5\.2\.1$|^5\.1\.10$/, 'user-unknown'],
  [/^5\.2\.2$/, 'mailbox-full'],
  [/^5\.3\.4$|^5\.2\.3$/, 'too-large'],
  [/^5\.4\.7$/, 'expired'],
  [/^5\.4\./, 'network'],
  [/^5\.6\./, 'content'],
  [/^5\.7\.(?:2[0-9])$/, 'authentication'],
  [/^5\.7\./, 'policy'],
];
const SPAM = /\bspam|block(?:ed|list)|blacklist|reputation/i;
const UNKNOWN = /user unknown|no such (?:user|mailbox|recipient)|unknown (?:user|recipient)/i;

/** In one word, as DSNs are told apart too. Spam and policy are never the member's fault. */
function reasonOf({ status, reply }: RefusedRecipient): string {
  if (SPAM.test(reply)) return 'spam';
  const known = REASONS.find(([pattern]) => pattern.test(status));
  if (known !== undefined) return known[1];
  return UNKNOWN.test(reply) ? 'user-unknown' : 'unknown';
}
