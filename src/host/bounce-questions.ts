/** Answers to questions about bounces, from the rows of the last checkpoint and the list's own. */

import type { Day } from '../../actors/bounces/day.ts';
import type {
  BounceHistory,
  BounceQuestion,
  BounceReport,
  BouncesPage,
  BouncingMember,
} from '../../actors/bounces/report.ts';
import { NO_SCORE, type Score } from '../../actors/bounces/score.ts';
import { DAY_MS } from '../../actors/bounces/scoring.ts';
import type { Tally } from '../../actors/bounces/storm.ts';
import { currentScore } from '../../actors/bounces/wants.ts';
import { rulesOf } from '../../actors/list/troubles.ts';
import type { Question, Refusal } from '../../actors/protocol.ts';
import { assert, unreachable } from '../assert.ts';
import { type Address, addressKey } from '../mail/address.ts';
import { type ListKey, slotOf } from '../mail/list-key.ts';
import { type Draft, type MemberRow, openDraft } from '../store/list-rows.ts';
import { type Books, openBooks, type ScoreRow } from './bounce-book.ts';
import type { FoldStatus } from './bounces.ts';
import type { Suspicion } from './suspicion.ts';
import type { HostWorld } from './world.ts';

const PAGE_MAX = 1_000;
/** Days and posts in a report: as many as BOUNCES keeps, and a screen holds. */
const DAYS_MAX = 60;
const POSTS_MAX = 20;
/** Rows of who left that are looked through for an address: some 0.3 s. */
const LEFT_MAX = 100_000;

export type BounceAnswer = BouncesPage | BounceHistory | BounceReport | Refusal;

type Needs = {
  readonly world: Pick<HostWorld, 'rows' | 'bounceFold' | 'clock' | 'node'>;
  readonly suspicion: Pick<Suspicion, 'of' | 'count'>;
};
type Asked = Needs & {
  readonly key: ListKey;
  readonly draft: Draft;
  readonly books: Books;
};

export function answerBounces(
  needs: Needs,
  key: ListKey,
  question: BounceQuestion,
  fold: FoldStatus | null,
): BounceAnswer {
  const { world } = needs;
  const draft = openDraft(world.rows, key, 0);
  if (draft.mode() === 'new')
    return { type: 'refusal', code: 'no-such-list', text: 'there is no such list' };
  const asked = { ...needs, key, draft, books: openBooks(world.bounceFold.rows, world) };
  switch (question.ask) {
    case 'bounces':
      return pageOf(asked, question.after, Math.min(Math.max(question.limit, 1), PAGE_MAX));
    case 'bounces-of':
      return historyOf(asked, question.who);
    case 'bounce-report':
      return reportOf(asked, fold);
    default:
      return unreachable(question);
  }
}

function pageOf({ world, key, draft, books }: Asked, after: number, limit: number): BouncesPage {
  const { rows } = world.bounceFold;
  const from = [key, 'score', after + 1];
  const found = [...rows.range(from, [key, 'score', Number.MAX_SAFE_INTEGER], limit + 1)];
  const page = found.slice(0, limit).map(([row, value]) => ({
    ...{ number: Number(row[2]), score: (value as ScoreRow).score },
  }));
  const bouncing = page.flatMap(({ number, score }) => memberOf(draft, books, number, score) ?? []);
  const { threshold } = rulesOf(draft.state().settings);
  const next = found.length > limit ? (page.at(-1)?.number ?? null) : null;
  return { bouncing, threshold, next };
}

/** Null for one who has left, unless the row of who did is given. */
function memberOf(
  draft: Draft,
  books: Books,
  number: number,
  score: Score,
  left: MemberRow | null = null,
): BouncingMember | null {
  const address = draft.member(number) ?? left?.address ?? null;
  if (address === null) return null;
  return {
    ...{ number, address },
    score: currentScore(books.of(draft.key), score),
    bounces: score.copies.length,
    mail: left === null ? draft.trouble(number).value : 'removed',
    last: score.history.at(-1) ?? null,
  };
}

function historyOf(
  { world, suspicion, key, draft, books }: Asked,
  who: Extract<BounceQuestion, { ask: 'bounces-of' }>['who'],
): BounceHistory | Refusal {
  const number = 'number' in who ? who.number : numberOf(draft, who.address);
  const left = number === null || draft.member(number) !== null ? null : draft.leftRow(number);
  const row = number === null ? undefined : world.bounceFold.rows.get([key, 'score', number]);
  const score = (row as ScoreRow | undefined)?.score ?? NO_SCORE;
  const member = number === null ? null : memberOf(draft, books, number, score, left);
  if (number === null || member === null)
    return { type: 'refusal', code: 'not-a-member', text: 'that address is not a member' };
  const { standing, copies, history } = score;
  const entries = copies.map(({ post, words }) => ({ post, ...words[0] }));
  const { settings } = draft.state();
  const found = settings.bounceSuspects ? suspicion.of(member.address, key) : null;
  const suspect =
    found === null ? null : { list: found.list, since: found.at, reason: found.cause.reason };
  const trouble = draft.trouble(number).context;
  return { ...member, suspect, rules: rulesOf(settings), trouble, standing, entries, history };
}

/** Of a member, or of who left last with this address, in the 60 days that such rows are kept. */
function numberOf(draft: Draft, address: Address): number | null {
  const { member } = draft.standing(address);
  if (member !== null) return member;
  const equal = addressKey(address);
  const left = draft.range('left', [0], [Number.MAX_SAFE_INTEGER], LEFT_MAX);
  const mine = left.filter(([, row]) => addressKey((row as MemberRow).address) === equal);
  return mine.length === 0 ? null : Number(mine.at(-1)?.[0][2]);
}

function reportOf(
  { world, suspicion, key, draft, books }: Asked,
  fold: FoldStatus | null,
): BounceReport {
  const { rows, yieldsTo } = world.bounceFold;
  const all = (kind: 'day' | 'post') =>
    [...rows.range([key, kind, 0], [key, kind, Number.MAX_SAFE_INTEGER])].reverse();
  const { address, settings } = draft.state();
  assert(address !== '', 'a list that is not new has an address');
  const days = all('day').slice(0, DAYS_MAX);
  const posts = all('post').slice(0, POSTS_MAX);
  return {
    ...{ address, rules: rulesOf(settings), node: world.node, slot: slotOf(key) },
    ...{ asOf: world.clock.now(), fold, yields: yieldsTo(), suspects: suspicion.count() },
    days: days.map(([row, value]) => ({ day: dayText(Number(row[2])), ...(value as Day) })),
    posts: posts.map(([row, value]) => {
      const post = Number(row[2]);
      const members = books.of(key).sent(post)?.members ?? null;
      return { post, members, ...(value as Tally) };
    }),
  };
}

const dayText = (day: number): string => new Date(day * DAY_MS).toISOString().slice(0, 10);

export function isAboutBounces(question: Question): question is BounceQuestion {
  const { ask } = question;
  return ask === 'bounces' || ask === 'bounces-of' || ask === 'bounce-report';
}
