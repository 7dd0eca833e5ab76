/**
 * What became of posts, read from the streams by a plain consumer: the facts of TROUPE_LEDGER, the copies in
 * TROUPE_ARCHIVE, and what TROUPE_RESULTS says of each recipient. Nothing of the program's own reading is used.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { DeliverPolicy } from 'nats';
import type { Nats } from '../../src/nats/connect.ts';

const STREAMS = ['TROUPE_LEDGER', 'TROUPE_ARCHIVE', 'TROUPE_RESULTS'] as const;
type Stream = (typeof STREAMS)[number];
/** The last sequence of each stream. */
export type Place = Readonly<Record<Stream, number>>;

const LOOK_MS = 25;

export async function placeNow(nats: Nats): Promise<Place> {
  const ends = await Promise.all(
    STREAMS.map(async (stream) => {
      const { state } = await nats.jsm.streams.info(stream);
      return [stream, state.last_seq] as const;
    }),
  );
  return Object.fromEntries(ends) as Place;
}

/** Resolves when so many posts of one chunk each are archived and told of in RESULTS; `quietMs` without any is an error. */
export async function untilHandedOn(
  nats: Nats,
  since: Place,
  posts: number,
  quietMs: number,
): Promise<void> {
  let least = -1;
  for (let lookedAt = performance.now(); ; await pause(LOOK_MS)) {
    const now = await placeNow(nats);
    const done = (['TROUPE_ARCHIVE', 'TROUPE_RESULTS'] as const).map((of) => now[of] - since[of]);
    if (Math.min(...done) >= posts) return;
    if (Math.min(...done) > least) lookedAt = performance.now();
    least = Math.min(...done);
    if (performance.now() - lookedAt > quietMs) {
      throw new Error(`${least} of ${posts} posts were handed on, and no more for ${quietMs} ms`);
    }
  }
}

/** How many of these posts lack their one fact, their copy in the archive, or a recipient of `members`. */
export async function lostOf(
  nats: Nats,
  since: Place,
  messageIds: readonly string[],
  members: number,
): Promise<number> {
  const accepted = await acceptedPosts(nats, since);
  const archived = await archivedPosts(nats, since);
  const delivered = await deliveredTo(nats, since, members);
  return messageIds.filter((id) => {
    const [post, ...more] = accepted.get(id) ?? [];
    const isWhole = post !== undefined && delivered.get(post)?.size === members;
    return !(isWhole && more.length === 0 && archived.has(id));
  }).length;
}

/** Recipients of all posts that RESULTS tells to be accepted. */
export async function deliveredCount(nats: Nats, since: Place, members: number): Promise<number> {
  const posts = [...(await deliveredTo(nats, since, members)).values()];
  return posts.reduce((sum, numbers) => sum + numbers.size, 0);
}

/** What was told of one list since somebody follows: whom its posts reached, and when it was seen, ms of performance.now(). */
export type Told = {
  readonly recipients: number;
  readonly lastAt: number;
  /** Of each post by its number, the first result that says anybody was reached. */
  readonly firstAt: ReadonlyMap<number, number>;
};

/** Follows RESULTS from now on. */
export async function followResults(
  nats: Nats,
): Promise<{ of(key: string): Told; stop(): Promise<void> }> {
  const lists = new Map<
    string,
    { recipients: number; lastAt: number; firstAt: Map<number, number> }
  >();
  const listOf = (key: string) => {
    const list = lists.get(key) ?? { recipients: 0, lastAt: 0, firstAt: new Map() };
    lists.set(key, list);
    return list;
  };
  const consumer = await nats.js.consumers.get('TROUPE_RESULTS', {
    deliver_policy: DeliverPolicy.New,
  });
  const messages = await consumer.consume();
  const follow = async (): Promise<void> => {
    for await (const message of messages) {
      const [, , , key = '', post] = message.subject.split('.');
      const numbers = message.subject.endsWith('.order') ? 0 : countOf(message.json<Result>());
      if (numbers === 0) continue;
      const list = listOf(key);
      list.recipients += numbers;
      list.lastAt = performance.now();
      if (!list.firstAt.has(Number(post))) list.firstAt.set(Number(post), list.lastAt);
    }
  };
  const following = follow();
  return {
    of: listOf,
    async stop() {
      await messages.close();
      await following;
    },
  };
}

const countOf = (result: Result): number =>
  acceptedIn(result).reduce(
    (sum, [from, second]) => sum + (typeof second === 'number' ? second - from : 0) + 1,
    0,
  );

// ── Reading ───────────────────────────────────────────────────────────────

type Facts = {
  readonly entries: readonly {
    readonly facts: readonly {
      readonly type: string;
      readonly number?: number;
      readonly post?: { readonly messageId: string };
    }[];
  }[];
};

/** `<key>.<number>` of each accepted post, by Message-ID. */
async function acceptedPosts(nats: Nats, since: Place): Promise<Map<string, string[]>> {
  const posts = new Map<string, string[]>();
  for await (const { subject, text } of read(nats, 'TROUPE_LEDGER', since)) {
    const key = subject.split('.').at(-1) ?? '';
    if (key === 'owner') continue;
    for (const fact of (JSON.parse(text()) as Facts).entries.flatMap(({ facts }) => facts)) {
      if (fact.type !== 'post-accepted' || fact.post === undefined) continue;
      const same = posts.get(fact.post.messageId) ?? [];
      posts.set(fact.post.messageId, [...same, `${key}.${fact.number}`]);
    }
  }
  return posts;
}

async function archivedPosts(nats: Nats, since: Place): Promise<Set<string>> {
  const posts = new Set<string>();
  for await (const { header } of read(nats, 'TROUPE_ARCHIVE', since)) {
    const note = header('Troupe-Note');
    if (note !== '') posts.add((JSON.parse(note) as { messageId: string }).messageId);
  }
  return posts;
}

/** A range of one number has one, and what the MTA said may follow. */
type Range = readonly [from: number, ...(number | string)[]];
type Result = { readonly said: readonly { readonly accepted?: readonly Range[] }[] };
const acceptedIn = ({ said }: Result): readonly Range[] =>
  said.flatMap(({ accepted = [] }) => accepted);

/** Whom each post reached, by number. */
async function deliveredTo(
  nats: Nats,
  since: Place,
  members: number,
): Promise<Map<string, Set<number>>> {
  const posts = new Map<string, Set<number>>();
  for await (const { subject, text } of read(nats, 'TROUPE_RESULTS', since)) {
    const [, , , key, post] = subject.split('.');
    const name = `${key}.${post}`;
    const numbers = posts.get(name) ?? new Set();
    posts.set(name, numbers);
    if (subject.endsWith('.order')) continue;
    for (const [from, second] of acceptedIn(JSON.parse(text()))) {
      const to = typeof second === 'number' ? second : from;
      for (let i = Math.max(1, from); i <= Math.min(to, members); i++) numbers.add(i);
    }
  }
  return posts;
}

type Message = {
  readonly subject: string;
  text(): string;
  header(name: string): string;
};

/** What a stream holds above `since`, up to its end as it is now. */
async function* read(nats: Nats, stream: Stream, since: Place): AsyncGenerator<Message> {
  const end = (await nats.jsm.streams.info(stream)).state.last_seq;
  if (end <= since[stream]) return;
  const consumer = await nats.js.consumers.get(stream, {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: since[stream] + 1,
    headers_only: stream === 'TROUPE_ARCHIVE',
  });
  const messages = await consumer.consume();
  for await (const message of messages) {
    const { subject, headers } = message;
    yield { subject, text: () => message.string(), header: (name) => headers?.get(name) ?? '' };
    if (message.seq >= end) break;
  }
  await messages.close();
}
