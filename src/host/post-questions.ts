/** What the list itself knows of its posts: with it, the delivery record is read (`src/ops/delivery.ts`). For those who manage the list. */
import { notAllowed } from '../../actors/list/membership.ts';
import { noSuchPost } from '../../actors/list/sending.ts';
import { mayManage } from '../../actors/list/view.ts';
import type { Refusal } from '../../actors/protocol.ts';
import type { PostFacts, PostQuestion, PostsPage, PostView } from '../../actors/protocol-posts.ts';
import { type Address, addressKey } from '../mail/address.ts';
import type { ListKey } from '../mail/list-key.ts';
import { type Draft, type MemberRow, openDraft, type PostRow } from '../store/list-rows.ts';
import type { Rows } from '../world.ts';

/** Posts that one page holds at most. */
const POSTS_PAGE_MAX = 200;
/** Of those who left lately, looked through for an address: more leave a large list in a month rarely. */
const LEFT_SCANNED_MAX = 20_000;

export type PostsAnswer = PostsPage | PostFacts | Refusal;

export function aboutPosts(rows: Rows, key: ListKey, asked: PostQuestion): PostsAnswer {
  const draft = openDraft(rows, key, 0);
  if (!mayManage(draft, asked.by)) return notAllowed('see what became of posts');
  if (asked.ask === 'posts') return postsBefore(draft, asked.before, asked.limit);
  const row = draft.postRow(asked.post);
  if (row === null) return noSuchPost(asked.post);
  const { recipient, numbers = [] } = asked;
  return {
    ...viewOf(asked.post, row),
    ...{ key, width: row.width, counter: row.counter },
    recipient: recipient === undefined ? [] : numbersOf(rows, draft, row, recipient),
    isOff: recipient !== undefined && isOff(draft, recipient),
    members: numbers.flatMap((number): PostFacts['members'] => {
      const member = draft.memberRow(number) ?? draft.leftRow(number);
      return member === null ? [] : [[number, member.address]];
    }),
  };
}

/** Newest first. */
function postsBefore(draft: Draft, before: number, limit: number): PostsPage {
  const end = Math.min(before, draft.state().posts + 1);
  const first = Math.max(1, end - Math.min(limit, POSTS_PAGE_MAX));
  const posts: PostView[] = [];
  for (let number = end - 1; number >= first; number -= 1) {
    const row = draft.postRow(number);
    if (row !== null) posts.push(viewOf(number, row));
  }
  return { posts, next: first > 1 ? first : null };
}

function viewOf(number: number, { at, subject, live, order }: PostRow): PostView {
  return { number, at, subject, recipients: live, order: order ?? 'go' };
}

function isOff(draft: Draft, address: Address): boolean {
  const { member } = draft.standing(address);
  return member !== null && draft.memberRow(member)?.off === true;
}

/** Under which numbers an address was to get a post: as a member, or as one who has left since. */
function numbersOf(rows: Rows, draft: Draft, row: PostRow, address: Address): readonly number[] {
  const found: number[] = [];
  const { member } = draft.standing(address);
  if (member !== null && member < row.counter) found.push(member);
  const wanted = addressKey(address);
  const end = [draft.key, 'left', row.counter];
  for (const [key, value] of rows.range([draft.key, 'left', 0], end, LEFT_SCANNED_MAX)) {
    if (addressKey((value as MemberRow).address) === wanted) found.push(Number(key[2]));
  }
  return found;
}
