/** What becomes of a post once it is accepted: it is paused, resumed or cancelled, and sent again to whom it did not reach. */
import type { PostOrder } from '../../src/mail/chunk.ts';
import { type By, type Fact, RESEND_MAX, type Refusal } from '../protocol.ts';
import { notAllowed } from './membership.ts';
import { mayManage, type SentPost, type View } from './view.ts';

export function decideOrder(
  view: View,
  post: number,
  order: PostOrder,
  by: By,
): readonly Fact[] | Refusal {
  if (!mayManage(view, by)) return notAllowed('pause, resume or cancel posts');
  const sent = view.post(post);
  if (sent === null) return noSuchPost(post);
  if (sent.order === order) return [];
  // Who was told that it is cancelled may have sent another one in its place.
  if (sent.order === 'cancel') return cancelled(post);
  return [{ type: 'post-ordered', number: post, order, by }];
}

export function decideResend(
  view: View,
  post: number,
  to: readonly number[],
  by: By,
): readonly Fact[] | Refusal {
  if (!mayManage(view, by)) return notAllowed('send posts again');
  const sent = view.post(post);
  if (sent === null) return noSuchPost(post);
  if (sent.order === 'cancel') return cancelled(post);
  if (to.length > RESEND_MAX)
    return { type: 'refusal', code: 'too-many', text: `at most ${RESEND_MAX} at once` };
  const live = [...new Set(to)].filter((number) => isAmong(view, sent, number));
  if (live.length === 0)
    return {
      type: 'refusal',
      code: 'nothing-to-do',
      text: 'none of them is a member who gets mail',
    };
  const again = sent.resends + 1;
  return [{ type: 'post-resent', number: post, again, to: live.sort((a, b) => a - b), by }];
}

/**
 * It went to members whose number was below the counter then; who joined later never was to get it, and whose delivery is
 * disabled gets nothing.
 */
const isAmong = (view: View, { counter }: SentPost, number: number): boolean =>
  number < counter && view.member(number) !== null && view.trouble(number).value !== 'disabled';

export const noSuchPost = (post: number): Refusal => ({
  type: 'refusal',
  code: 'no-such-post',
  text: `the list has no post ${post}`,
});

const cancelled = (post: number): Refusal => ({
  type: 'refusal',
  code: 'already-decided',
  text: `post ${post} was cancelled`,
});
