/** Answers to questions about a list, from its rows. They change nothing and wait for nothing. */
import type { BounceQuestion } from '../../actors/bounces/report.ts';
import type { ChainQuestion, ChainView, Repair } from '../../actors/list/repairing.ts';
import type {
  HeldPost,
  HoldsPage,
  ListInspection,
  ListView,
  Question,
  Refusal,
  Role,
  RosterPage,
} from '../../actors/protocol.ts';
import { unreachable } from '../assert.ts';
import type { ListKey } from '../mail/list-key.ts';
import { type MemberRow, openDraft } from '../store/list-rows.ts';
import type { Rows } from '../world.ts';
import type { BounceAnswer } from './bounce-questions.ts';
import { aboutPosts, type PostsAnswer } from './post-questions.ts';

/** The most rows that one page holds. */
export const PAGE_MAX = 1_000;

/** What only the host knows of a list. */
export type Running = Pick<
  ListInspection,
  | 'node'
  | 'slot'
  | 'epoch'
  | 'lag'
  | 'leaseMsLeft'
  | 'outbox'
  | 'blocked'
  | 'quarantined'
  | 'waiting'
  | 'asOf'
>;

export type QuestionAnswer =
  | ListView
  | ListInspection
  | ChainView
  | RosterPage
  | HoldsPage
  | HeldPost
  | PostsAnswer
  | BounceAnswer
  | Refusal;

export function answer(
  rows: Rows,
  key: ListKey,
  question: Exclude<Question, BounceQuestion | ChainQuestion>,
  running: () => Running,
): QuestionAnswer {
  const view = listView(rows, key);
  if (view === null)
    return { type: 'refusal', code: 'no-such-list', text: 'there is no such list' };
  switch (question.ask) {
    case 'list':
      return view;
    case 'inspect': {
      const { seq, n } = openDraft(rows, key, 0).head();
      const { nextMember } = openDraft(rows, key, 0).state();
      const repairs = repairsOf(rows, key);
      return { ...view, ...running(), level: 'fast', seq, n, nextMember, repairs };
    }
    case 'roster':
      return roster(rows, key, question.role, question.after, pageOf(question.limit));
    case 'holds':
      return holds(rows, key, question.after, pageOf(question.limit));
    case 'hold':
      return (
        openDraft(rows, key, 0).hold(question.hold) ?? {
          type: 'refusal',
          code: 'no-such-hold',
          text: `there is no hold ${question.hold}`,
        }
      );
    case 'posts':
    case 'post':
      return aboutPosts(rows, key, question);
    default:
      return unreachable(question);
  }
}

/** Each is an operator's word, so they are few; more than a page are not shown. */
export const repairsOf = (rows: Rows, key: ListKey): readonly Repair[] =>
  [...rows.range([key, 'repair', 0], [key, 'repair', Number.MAX_SAFE_INTEGER], PAGE_MAX)].map(
    ([, row]) => row as Repair,
  );

const pageOf = (limit: number): number => Math.min(Math.max(limit, 1), PAGE_MAX);

function listView(rows: Rows, key: ListKey): ListView | null {
  const draft = openDraft(rows, key, 0);
  const mode = draft.mode();
  const { address, settings, live, posts, held, createdAt } = draft.state();
  if (mode === 'new' || address === '') return null;
  const { owner, moderator } = draft.rolesRow();
  const people = { owners: owner, moderators: moderator };
  return { address, key, state: mode, settings, members: live, posts, held, ...people, createdAt };
}

function roster(
  rows: Rows,
  key: ListKey,
  role: 'member' | Role,
  after: number,
  limit: number,
): RosterPage {
  if (role !== 'member') {
    const people = openDraft(rows, key, 0).roles(role);
    const members = people.map((address, i) => ({ number: i + 1, address, name: '', joinedAt: 0 }));
    return { members, next: null };
  }
  const found = [
    ...rows.range([key, 'member', after + 1], [key, 'member', Number.MAX_SAFE_INTEGER], limit + 1),
  ];
  const members = found.slice(0, limit).map(([row, value]) => {
    const { address, name, at } = value as MemberRow;
    return { number: Number(row[2]), address, name, joinedAt: at };
  });
  return { members, next: found.length > limit ? (members.at(-1)?.number ?? null) : null };
}

function holds(rows: Rows, key: ListKey, after: number, limit: number): HoldsPage {
  const found = [
    ...rows.range([key, 'hold', after + 1], [key, 'hold', Number.MAX_SAFE_INTEGER], limit + 1),
  ].map(([, value]) => value as HeldPost);
  const page = found.slice(0, limit);
  return { holds: page, next: found.length > limit ? (page.at(-1)?.hold ?? null) : null };
}
