/** Posting: whether a post is accepted, held or discarded. The rules, in order. */
import type { Address } from '../../src/mail/address.ts';
import type { Fact, HoldId, PostSummary, Reason } from '../protocol.ts';
import { MESSAGE_BYTES_MAX } from './settings.ts';
import type { State, View } from './view.ts';

/** At this many held posts, or bytes of them, the directory says `full` and the edge answers 452 (L3). */
export const HELD_MAX = 1_000;
/** As many as the largest mail has that any list takes, so that each can be held. */
export const HELD_BYTES_MAX = MESSAGE_BYTES_MAX;
/** Moderators get at most one notice of holds in this time. */
export const NOTICE_EVERY_MS = 10 * 60_000;
/**
 * A chunk covers this many numbers at least and at most. So many members with the longest addresses there are fit one message, so a
 * range is never split, and its chunk is the same whoever has left when it is made again (decision 0017).
 */
const WIDTH_MIN = 500;
export const WIDTH_MAX = 1_500;

/** How many member numbers a chunk covers, so that it holds about 500 live members until two of three have left. */
export function widthOf(state: Pick<State, 'nextMember' | 'live'>): number {
  const width = Math.ceil((WIDTH_MIN * state.nextMember) / Math.max(state.live, 1));
  return Math.min(Math.max(width, WIDTH_MIN), WIDTH_MAX);
}

/** The fact that a post goes to those who are members now. */
export function accepted(view: View, post: PostSummary, hold: HoldId | null): Fact {
  const state = view.state();
  return {
    type: 'post-accepted',
    number: state.posts + 1,
    post,
    counter: state.nextMember,
    width: widthOf(state),
    hold,
  };
}

/** Everything that speaks against the post at once, so that a moderator sees it whole. */
export function reasonsToHold(view: View, post: PostSummary): readonly Reason[] {
  const { settings } = view.state();
  const reasons: Reason[] = [];
  if (view.mode() === 'emergency') reasons.push('emergency');
  if (post.from.length === 0 && post.sender === '') reasons.push('no-sender');
  if (post.bytes > settings.maxMessageBytes) reasons.push('too-large');
  if (settings.posting === 'closed') reasons.push('list-closed');
  if (settings.posting === 'members' && !post.from.every((author) => isOurs(view, author)))
    reasons.push('not-a-member');
  if (settings.posting === 'members' && post.from.length === 0) reasons.push('not-a-member');
  return [...new Set([...reasons, ...post.problems])];
}

/** Every author must belong: one member's name beside a stranger's proves nothing (two From, §4.3 row 45). */
function isOurs(view: View, author: Address): boolean {
  const { member, isOwner, isModerator } = view.standing(author);
  return member !== null || isOwner || isModerator;
}

export function decidePost(view: View, post: PostSummary): readonly Fact[] {
  if (view.mode() === 'retired' || view.mode() === 'new')
    return [{ type: 'post-discarded', post, reasons: ['retired'] }];
  const reasons = reasonsToHold(view, post);
  if (reasons.length === 0) return [accepted(view, post, null)];
  const hold = view.state().holds + 1;
  return [{ type: 'post-held', hold, post, reasons }, ...noticeOf(view, 1)];
}

/** Who hears of holds: the moderators, or the owners where there are none. */
function toTell(view: View): readonly Address[] {
  const moderators = view.roles('moderator');
  return moderators.length > 0 ? moderators : view.roles('owner');
}

/** The notice that `more` new holds call for: one now, or one when ten minutes have gone by. */
function noticeOf(view: View, more: number): readonly Fact[] {
  const { untold, toldAt, noticeDue } = view.state();
  const to = toTell(view);
  if (to.length === 0 || noticeDue !== null) return [];
  const due = toldAt + NOTICE_EVERY_MS;
  if (view.at >= due) return [{ type: 'moderators-told', holds: untold + more, to }];
  return [{ type: 'moderators-notice-set', due }];
}

/** The timer for `due` fired: tell of what came since, unless it was told or decided meanwhile, or the timer is an old one. */
export function decideTellModerators(view: View, due: number): readonly Fact[] {
  const { untold, held, noticeDue } = view.state();
  if (noticeDue === null || due < noticeDue) return [];
  const holds = Math.min(untold, held);
  return [{ type: 'moderators-told', holds, to: holds === 0 ? [] : toTell(view) }];
}

/** Owners get what is sent to `-owner`; where there are none it is parked, and a retired list has nobody to tell. */
export function decideOwnerMail(view: View, mail: PostSummary): readonly Fact[] {
  const isThere = view.mode() === 'open' || view.mode() === 'emergency';
  if (!isThere) return [{ type: 'owner-mail-discarded', mail }];
  const to = view.roles('owner');
  if (to.length === 0) return [{ type: 'owner-mail-parked', mail }];
  return [{ type: 'owner-mail-forwarded', mail, to }];
}
