/**
 * Repair: leaving out what of a list's ledger cannot be folded, by an operator's word (decision 0016).
 *
 * What is left out may have given numbers away: chunks, archived and held copies have their names from them, and a name that is used
 * again is taken for done. So the list goes on above every number that it may have used.
 */
import { ADD_MEMBERS_MAX, type By, type Fact, type Refusal } from '../protocol.ts';
import { notAllowed } from './membership.ts';
import type { State, View } from './view.ts';

/** Records by their sequences in the ledger, both included. */
export type LeftOut = { readonly from: number; readonly to: number; readonly records: number };
/** The numbers up to which a list has given some away; `nextMember` is the first that is free. */
export type Numbers = Pick<State, 'posts' | 'nextMember' | 'holds'>;

/** `from` and `to` as the operator was shown them: what is left out is what was looked at, or nothing is. */
export type RepairCommand = {
  readonly type: 'repair';
  readonly from: number;
  readonly to: number;
  readonly by: By;
};

export type RepairFact = LeftOut & Numbers & { readonly type: 'list-repaired'; readonly by: By };

/** What the list's ledger is like, read from its first record. */
export type ChainQuestion = { readonly ask: 'chain' };

export type Repair = LeftOut & { readonly n: number; readonly at: number; readonly by: By };

export type ChainView = {
  /** Null where it holds together. */
  readonly broken: (LeftOut & Contents & { readonly why: string }) | null;
  /** Of earlier times, oldest first. */
  readonly repairs: readonly Repair[];
};

/** What the records say that would be left out, as far as they can be read. */
export type Contents = {
  readonly unreadable: number;
  /** How often each type of fact. */
  readonly facts: Readonly<Record<string, number>>;
  /** Posts that were accepted, by their mail's sequence; at most {@link POSTS_NAMED_MAX}. */
  readonly mails: readonly number[];
};

export const POSTS_NAMED_MAX = 100;
/** What a record that cannot be read may have used: as many commands as a turn takes, and the members of one of them. */
const UNREADABLE: Numbers = { posts: 256, holds: 256, nextMember: ADD_MEMBERS_MAX };
/** A number further above the last is nothing that this list ever gave away: the record is another's. */
const LEAP_MAX = 1_000_000;

export function decideRepair(
  view: View,
  { from, to, records }: LeftOut,
  used: Numbers,
  by: By,
): readonly [RepairFact] | Refusal {
  if (by.kind !== 'operator') return notAllowed('repair a list');
  if (view.mode() === 'new')
    return {
      type: 'refusal',
      code: 'no-such-list',
      text: 'nothing of its history can be folded: restore a backup',
    };
  const { posts, nextMember, holds } = used;
  return [{ type: 'list-repaired', from, to, records, posts, nextMember, holds, by }];
}

/** The numbers after a record that is left out; null: it cannot be read. */
export function numbersAfter(before: Numbers, facts: readonly Fact[] | null): Numbers {
  let { posts, nextMember, holds } = before;
  if (facts === null)
    return {
      posts: posts + UNREADABLE.posts,
      nextMember: nextMember + UNREADABLE.nextMember,
      holds: holds + UNREADABLE.holds,
    };
  for (const fact of facts) {
    if (fact.type === 'post-accepted') posts = higher(posts, fact.number);
    if (fact.type === 'post-held') holds = higher(holds, fact.hold);
    if (fact.type === 'members-added')
      nextMember = higher(nextMember, fact.first + (fact.members?.length ?? 0));
    if (fact.type === 'list-repaired') {
      posts = higher(posts, fact.posts);
      nextMember = higher(nextMember, fact.nextMember);
      holds = higher(holds, fact.holds);
    }
  }
  return { posts, nextMember, holds };
}

const higher = (last: number, number: number): number =>
  Number.isSafeInteger(number) && number > last && number <= last + LEAP_MAX ? number : last;
