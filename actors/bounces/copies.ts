/**
 * What came back of one copy: a set of words, so that neither their order nor their repetition says
 * anything (B2). An MTA that refused and a DSN that says so, or the DSNs of an alias's two mailboxes,
 * are words of the same copy; it counts once, by the weightiest word of its first day.
 */
import type { Bounce } from '../../src/mail/bounce-event.ts';
import { DAY_MS, weightOf } from './scoring.ts';

/** Different words of one copy that are told apart: whose DSNs say more says nothing new. */
const WORDS_MAX = 16;

/** One thing that was said of a copy. */
export type Word = {
  /** The `eventNumber` of where it was said first. */
  readonly seq: number;
  readonly at: number;
  readonly kind: Bounce['kind'];
  readonly reason: string;
  readonly permanent: boolean;
  readonly route: string | null;
  /** Of the address it is about; '' if it names none. */
  readonly domain: string;
};

/** A copy that came back; `words` has one at least, and the first is the one that counts. */
export type Copy = { readonly post: number; readonly words: readonly [Word, ...Word[]] };

export const dayOf = (at: number): number => Math.floor(at / DAY_MS);

export function wordOf(event: Bounce, seq: number): Word {
  const { at, kind, reason, permanent, route, address } = event;
  const domain = address === null ? '' : address.slice(address.lastIndexOf('@') + 1).toLowerCase();
  return { seq, at, kind, reason, permanent, route, domain };
}

/** The copy with one more word; null if that changes nothing. */
export function withWord(copy: Copy | null, post: number, word: Word): Copy | null {
  if (copy === null) return { post, words: [word] };
  const same = copy.words.find((one) => isSame(one, word));
  if (same === undefined && copy.words.length >= WORDS_MAX) return null;
  if (same !== undefined && same.at <= word.at) return null;
  const others = copy.words.filter((one) => one !== same);
  const [first, ...rest] = [...others, { ...word, seq: same?.seq ?? word.seq }].sort(compareWords);
  return first === undefined ? null : { post, words: [first, ...rest] };
}

/** When the first of it came. */
export const firstAt = ({ words }: Copy): number => Math.min(...words.map(({ at }) => at));

function isSame(a: Word, b: Word): boolean {
  return (
    a.kind === b.kind &&
    a.reason === b.reason &&
    a.permanent === b.permanent &&
    a.route === b.route &&
    a.domain === b.domain
  );
}

/** The first day's first; of a day a complaint, then what says most of the member. */
export function compareWords(a: Word, b: Word): number {
  return (
    dayOf(a.at) - dayOf(b.at) ||
    compareTexts(b.kind, a.kind) ||
    Number(b.permanent) - Number(a.permanent) ||
    weightOf(b, 'reasons') - weightOf(a, 'reasons') ||
    compareTexts(a.reason, b.reason) ||
    compareTexts(a.route ?? '', b.route ?? '') ||
    compareTexts(a.domain, b.domain)
  );
}

const compareTexts = (a: string, b: string): number => (a < b ? -1 : Number(a > b));
