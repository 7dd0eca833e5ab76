/**
 * Fan-out: one accepted post becomes chunks, each a range of member numbers with all that outgoing needs.
 *
 * A chunk is a range of numbers, not a count of members, so doing it again gives the same chunks with the same ids,
 * whoever has left meanwhile (design §3). Lists take turns: a large one never holds up a small one.
 */
import type { Effect, Settings } from '../../actors/protocol.ts';
import type { Address } from '../mail/address.ts';
import type { Chunk, Class, Recipe, Recipient } from '../mail/chunk.ts';
import { classOf } from '../mail/class-order.ts';
import type { MailRef } from '../mail/envelope.ts';
import type { ListKey } from '../mail/list-key.ts';
import { type MemberRow, openDraft, type PostRow } from '../store/list-rows.ts';
import type { Rows } from '../world.ts';
import type { HostWorld } from './world.ts';

export type Deliver = Extract<Effect, { type: 'deliver' }>;

/** Chunks in one batch; the first batch is small, so that the first copies leave soon. */
const BATCH_CHUNKS = 64;
const FIRST_BATCH_CHUNKS = 4;

/** How many chunks a delivery has. */
export function chunksOf({ counter, width }: Pick<Deliver, 'counter' | 'width'>): number {
  return Math.ceil(counter / width);
}

/**
 * Publishes the chunks from `from` on; `progress` hears after each batch how many are done. Throws as the queue does; doing it
 * again from the last progress is safe.
 */
export async function fanOut(
  world: Pick<HostWorld, 'rows' | 'outgoing' | 'bulkMembers' | 'clock' | 'web' | 'nextTick'>,
  key: ListKey,
  address: Address,
  mail: MailRef,
  effect: Deliver,
  from: number,
  progress: (chunks: number) => void,
): Promise<void> {
  const { live } = openDraft(world.rows, key, 0).state();
  const deliver = { ...effect, class: classOf(live, world.bulkMembers) };
  const total = chunksOf(deliver);
  const { number, settings, post } = deliver;
  const messageId = post.messageIdIsOurs ? post.messageId : '';
  const added = { messageId, received: post.received };
  const recipe = recipeOf(world.web(), address, number, settings, added);
  let size = from === 0 ? FIRST_BATCH_CHUNKS : BATCH_CHUNKS;
  for (let start = from; start < total; ) {
    if (isCancelled(world.rows, key, deliver.number)) return progress(total);
    const end = Math.min(start + size, total);
    const chunks: Chunk[] = [];
    for (let i = start; i < end; i++) {
      if (i > start) await new Promise<void>((resolve) => world.nextTick(resolve));
      const to = recipientsOf(world.rows, key, i * deliver.width, deliver);
      const chunk = chunkOf(key, mail, deliver, recipe, String(i), to, world.clock.now());
      if (chunk !== null) chunks.push(chunk);
    }
    if (chunks.length > 0) await world.outgoing.put(chunks);
    progress(end);
    start = end;
    size = BATCH_CHUNKS;
  }
}

const isCancelled = (rows: Rows, key: ListKey, post: number): boolean =>
  openDraft(rows, key, 0).post(post)?.order === 'cancel';

/**
 * A post once more, to some who are still members: as its list is now, in chunks of the same ranges under names of their own, so
 * that the record of a range is found by its number.
 */
export function chunksAgain(
  world: Pick<HostWorld, 'rows' | 'clock' | 'web' | 'bulkMembers'>,
  key: ListKey,
  list: Address,
  mail: MailRef,
  post: PostRow,
  { number, again, to, settings }: Extract<Effect, { type: 'deliver-again' }>,
): readonly Chunk[] {
  const draft = openDraft(world.rows, key, 0);
  const messageId = post.messageId;
  const recipe = recipeOf(world.web(), list, number, settings, { messageId });
  const { smtputf8, trace } = post;
  const cls = classOf(post.live, world.bulkMembers);
  const about = { key, post: String(number), try: 0, class: cls, recipe, mail } as const;
  const byRange = Map.groupBy(to, (member) => Math.floor(member / post.width));
  return [...byRange].flatMap(([range, members]): Chunk[] => {
    const recipients = members.flatMap((member): Recipient[] => {
      const address = draft.member(member);
      return address === null ? [] : [[member, address]];
    });
    if (recipients.length === 0) return [];
    const chunk = `${range}-r${again}`;
    return [{ ...about, chunk, smtputf8, to: recipients, firstAt: world.clock.now(), trace }];
  });
}

/** The live members who want mail, and whose numbers are in the range that begins at `from`. */
function recipientsOf(rows: Rows, key: ListKey, from: number, deliver: Deliver): Recipient[] {
  const to = Math.min(from + deliver.width, deliver.counter);
  const found: Recipient[] = [];
  for (const [row, value] of rows.range([key, 'member', from], [key, 'member', to])) {
    const { address, off } = value as MemberRow;
    if (off !== true) found.push([Number(row[2]), address]);
  }
  return found;
}

function chunkOf(
  key: ListKey,
  mail: MailRef,
  deliver: Deliver & { readonly class: Class },
  recipe: Recipe,
  name: string,
  to: readonly Recipient[],
  now: number,
): Chunk | null {
  if (to.length === 0) return null;
  const { number, post } = deliver;
  const id = { key, post: String(number), chunk: name, try: 0 };
  const { trace, smtputf8 } = post;
  return { ...id, class: deliver.class, recipe, mail, smtputf8, to, firstAt: now, trace };
}

/** How a post is cooked under these settings. `added`: what was not in the mail, and what our trace says. */
function recipeOf(
  web: string,
  list: Address,
  postNumber: number,
  { mode, displayName, description, subjectPrefix, footer }: Settings,
  added: Pick<Recipe, 'messageId' | 'received'>,
): Recipe {
  const texts = { displayName, description, subjectPrefix, footer };
  return { kind: 'post', mode, list, ...texts, web, ...added, postNumber };
}

/** A recipe for mail that is not cooked: notices of our own, and what goes on to owners. */
export function plainRecipe(
  web: string,
  list: Address,
  kind: Exclude<Recipe['kind'], 'post'>,
): Recipe {
  const texts = { displayName: '', description: '', subjectPrefix: '', footer: '' };
  return { kind, mode: 'individual', list, ...texts, web, messageId: '', postNumber: 0 };
}
