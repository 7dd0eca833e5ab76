/** What a list is to be asked about a member, by all that is known: B2, B3, B4. */
import { PROBES_FROM } from '../../src/mail/bounce-event.ts';
import { firstAt, type Word } from './copies.ts';
import { type Book, type Score, tallyOf } from './score.ts';
import { daysOf, isHard, sumOf } from './scoring.ts';

/** The score of a member, storms left out. */
export function currentScore(book: Book, score: Score): number {
  return sumOf(standsOn(book, score), book.rules().scoring);
}

/** The copies that make up the score, a day each, the newest first. */
export const standsOn = (book: Book, score: Score): readonly Weighed[] =>
  daysOf(calmOf(book, score), book.rules().scoring);

type Weighed = Word & { readonly post: number };

function calmOf(book: Book, { copies }: Score): readonly Weighed[] {
  const calm = copies.filter(({ post }) => tallyOf(book, post).storm === null);
  const weighed = calm.map(({ post, words }) => ({ post, ...words[0] }));
  // A copy that a reader complained of has arrived.
  return weighed.filter(({ kind }) => kind === 'bounce');
}

export type Want = {
  readonly verdict: 'probe' | 'disable' | 're-enable';
  /** What it rests on; null for `re-enable`, which the list knows. */
  readonly word: Word | null;
};

/** What is to be asked now; null if nothing. It is a function of the rows alone. */
export function wanted(book: Book, score: Score): Want | null {
  const rules = book.rules();
  const { standing, copies, probe } = score;
  if (rules.scoring === 'off' || standing?.what === 'removed') return null;
  if (standing !== null && standing.what !== 'probed')
    return standing.byBounces && isTakenBack(book, score)
      ? { verdict: 're-enable', word: null }
      : null;
  const complaint = copies.flatMap(({ words }) => words).find(({ kind }) => kind === 'complaint');
  if (complaint !== undefined) return { verdict: 'disable', word: complaint };
  const isNewest = standing === null || probe?.post === PROBES_FROM + standing.count;
  if (probe !== null && isNewest && firstAt(probe) > score.resetAt && !isTakenBack(book, score)) {
    const [word] = probe.words;
    if (isHard(word, rules.scoring)) return { verdict: 'disable', word };
  }
  if (standing !== null) return null;
  const days = standsOn(book, score);
  const [word] = days;
  const isMany = word !== undefined && sumOf(days, rules.scoring) >= rules.threshold;
  return isMany ? { verdict: 'probe', word } : null;
}

/** True if the score was why of the probe, and without storms would not have been. */
function isTakenBack(book: Book, score: Score): boolean {
  if (score.standing?.byScore !== true) return false;
  const isStorm = score.copies.some(({ post }) => tallyOf(book, post).storm !== null);
  return isStorm && currentScore(book, score) < book.rules().threshold;
}
