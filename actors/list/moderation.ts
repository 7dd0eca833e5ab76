/** Moderation: a held post leaves the hold by a moderator's word (L2). */
import type { By, Fact, HeldPost, HoldId, Refusal } from '../protocol.ts';
import { notAllowed } from './membership.ts';
import { accepted } from './posting.ts';
import { mayModerate, type Verdict, type View } from './view.ts';

/** The longest comment that a rejection may carry. */
export const COMMENT_MAX = 4_000;
const DAY_MS = 86_400_000;
/** A held mail is kept 180 days (TROUPE_HELD), and an approved post is sent from it for up to five (decision 0004). */
export const APPROVE_MS_MAX = (180 - 6) * DAY_MS;

export function decideApprove(view: View, hold: HoldId, by: By): readonly Fact[] | Refusal {
  return decideHeld(view, hold, by, 'approved', ({ post, heldAt }) => {
    if (view.mode() === 'retired')
      return {
        type: 'refusal',
        code: 'retired',
        text: 'the list is retired; reject or discard it',
      };
    if (view.at - heldAt > APPROVE_MS_MAX)
      return {
        type: 'refusal',
        code: 'mail-gone',
        text: `the mail of hold ${hold} is no longer kept; it can only be rejected or discarded`,
      };
    return [{ type: 'hold-approved', hold, by }, accepted(view, post, hold)];
  });
}

export function decideReject(
  view: View,
  hold: HoldId,
  comment: string,
  by: By,
): readonly Fact[] | Refusal {
  if (comment.length > COMMENT_MAX)
    return {
      type: 'refusal',
      code: 'too-many',
      text: `a comment has at most ${COMMENT_MAX} characters`,
    };
  return decideHeld(view, hold, by, 'rejected', ({ post }) => {
    // Who wrote is told at the envelope sender, and never when a machine wrote (RFC 3834 §2).
    const tell = post.automatic || post.sender === '' ? null : post.sender;
    const { subject, messageId } = post;
    return [{ type: 'hold-rejected', hold, comment, subject, messageId, tell, by }];
  });
}

export function decideDiscard(view: View, hold: HoldId, by: By): readonly Fact[] | Refusal {
  return decideHeld(view, hold, by, 'discarded', () => [{ type: 'hold-discarded', hold, by }]);
}

/** What was decided meanwhile needs no copy any more. */
export function decideKeep(view: View, hold: HoldId, tries: number): readonly Fact[] {
  const held = view.hold(hold);
  return held === null ? [] : [{ type: 'hold-to-keep', hold, post: held.post, tries }];
}

/** Deciding the same twice is no error; deciding otherwise, after the post has gone, is. */
function decideHeld(
  view: View,
  hold: HoldId,
  by: By,
  verdict: Verdict,
  act: (held: HeldPost) => readonly Fact[] | Refusal,
): readonly Fact[] | Refusal {
  if (!mayModerate(view, by)) return notAllowed('decide about held posts');
  const held = view.hold(hold);
  if (held !== null) return act(held);
  const before = view.verdict(hold);
  if (before === verdict) return [];
  return before === null
    ? { type: 'refusal', code: 'no-such-hold', text: `there is no hold ${hold}` }
    : { type: 'refusal', code: 'already-decided', text: `hold ${hold} was ${before} already` };
}
