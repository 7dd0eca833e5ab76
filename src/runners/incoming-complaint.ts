/**
 * Complaints that come to other addresses than a return path: a mailbox provider sends its reports
 * (RFC 5965) to the one address that it was given for them, `-owner`, `-bounces` or the list itself.
 * The mail complained of is attached, and in it our own tokens say whose copy it was.
 */
import { type Address, parseAddress } from '../mail/address.ts';
import type { Meaning } from '../mail/classify.ts';
import { partsOf } from '../mail/dsn-parts.ts';
import { TOKEN_LENGTH } from '../mail/machine-address.ts';

/** Where a report says that it is one; mail that does not is not looked at. */
const FORM = /feedback-report|^subject: complaint about message from /im;
const HEADER_BYTES = 16 * 1024;
/** `b+…` is in Return-Path, X-… and Original-Mail-From, `u+…` in List-Unsubscribe. */
const TOKENS = new RegExp(`\\b[bu]\\+[a-z2-7]{${TOKEN_LENGTH}}@[a-z0-9.-]{1,253}`, 'gi');
/** Tokens of one report that are verified; more is no mail of ours. */
const TOKENS_MAX = 8;

export type Complained = Extract<Meaning, { kind: 'bounce' }>;

/**
 * Whose copy is complained of, by the first token whose MAC is ours; null where the mail is no
 * report, or has none: then it is a hint at most. `meaningOf` verifies.
 */
export function complainedOf(
  raw: Uint8Array,
  meaningOf: (address: Address) => Meaning,
): Complained | null {
  const head = Buffer.from(raw.buffer, raw.byteOffset, Math.min(raw.byteLength, HEADER_BYTES));
  if (!FORM.test(head.toString('latin1'))) return null;
  const { original, feedback } = partsOf(raw);
  const tokens = new Set(`${feedback}\n${original}`.toLowerCase().match(TOKENS));
  for (const token of [...tokens].slice(0, TOKENS_MAX)) {
    const address = parseAddress(token);
    const meaning = address === null ? null : meaningOf(address);
    if (meaning?.kind === 'bounce') return meaning;
    if (meaning?.kind === 'leave-token') return { ...meaning, kind: 'bounce' };
  }
  return null;
}
