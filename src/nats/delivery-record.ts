/**
 * Reads the delivery record of a post: its results in RESULTS. The subject of a result names list, post, chunk and try, and a
 * chunk's name begins with the number of its range of members: so one recipient's results are found without reading any other's.
 */
import { MailError } from '../errors.ts';
import { type Fate, inOrder, standOf, stands, storyOf, type Told } from '../mail/fate.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { CopiesByRoute, RouteOf } from '../world.ts';
import type { Asker } from './ask.ts';
import { BadMessage } from './codec.ts';
import type { Nats } from './connect.ts';
import { decodeResult } from './result-codec.ts';
import { storedMessage } from './stored.ts';
import { subjectsIn } from './stored-subjects.ts';
import { results, resultsOfPost } from './subjects.ts';

/** Reads under way at once. */
const READS_AT_ONCE = 32;
/** Posts whose ranges of members are remembered. */
const WIDTHS_MAX = 1_000;
/** Finished tries that are remembered: DSNs of one post come together, and a chunk has thousands of members. */
const TRIES_MAX = 64;
const BY = { kind: 'operator', name: 'delivery' } as const;

/** The results of a range of members, in order. Throws MailError 451 when NATS is away. */
export async function resultsOfRange(
  nats: Nats,
  key: ListKey,
  post: number,
  range: number,
): Promise<readonly Told[]> {
  const names = (await namesOf(nats, key, post)).filter((name) => rangeIn(name) === range);
  return inOrder(await readAll(nats, names));
}

/** The results of a post, range by range, each in order: no more than one range's are held at once. */
export async function* resultsByRange(
  nats: Nats,
  key: ListKey,
  post: number,
): AsyncGenerator<readonly Told[]> {
  const byRange = Map.groupBy(await namesOf(nats, key, post), rangeIn);
  const ranges = [...byRange.keys()].sort((a, b) => a - b);
  for (let from = 0; from < ranges.length; from += READS_AT_ONCE) {
    const some = ranges.slice(from, from + READS_AT_ONCE);
    const read = some.map(async (range) => inOrder(await readAll(nats, byRange.get(range) ?? [])));
    yield* await Promise.all(read);
  }
}

/**
 * Reads the route of one copy. It costs one read a chunk where the copy was handed over at the first try, as nearly all are; the
 * list's owner is asked once for each post, which members its ranges have.
 */
export function routesOf(nats: Nats, asker: Pick<Asker, 'question'>): RouteOf {
  const widths = new Map<string, number>();
  const tries = new Map<string, Promise<readonly Told[]>>();
  /** What is finished does not change. */
  function firstTry(name: Name): Promise<readonly Told[]> {
    const known = tries.get(name.subject);
    if (known !== undefined) return known;
    const reading = readAll(nats, [name]);
    tries.set(name.subject, reading);
    const [oldest = name.subject] = tries.keys();
    if (tries.size > TRIES_MAX) tries.delete(oldest);
    const keep = (told: readonly Told[]): void => {
      if (told[0]?.result.kind !== 'done') tries.delete(name.subject);
    };
    reading.then(keep, () => keep([]));
    return reading;
  }
  async function widthOf(key: ListKey, post: number): Promise<number | null> {
    const name = `${key}.${post}`;
    const known = widths.get(name);
    if (known !== undefined) return known;
    const reply = await asker.question(key, { ask: 'post', post, by: BY });
    if (!reply.ok) return null;
    widths.set(name, reply.answer.width);
    const [oldest = name] = widths.keys();
    if (widths.size > WIDTHS_MAX) widths.delete(oldest);
    return reply.answer.width;
  }
  return async (key, post, member) => {
    try {
      const width = await widthOf(key, post);
      if (width === null) return null;
      const range = Math.floor(member / width);
      const first = await firstTry(firstOf(key, post, range));
      const stand = standOf(storyOf(first, member));
      if (stand?.state === 'handed') return nameOf(stand);
      const all = await resultsOfRange(nats, key, post, range);
      return nameOf(standOf(storyOf(all, member)));
    } catch (error) {
      if (error instanceof MailError || error instanceof BadMessage) return null;
      throw error;
    }
  };
}

/** Older results name several routes with commas between, where a chunk went by several. */
function nameOf(stand: Fate | null): string | null {
  const { route } = stand ?? { route: '' };
  return route === '' || route.includes(',') ? null : route;
}

/** Counts a post's copies by route; it reads all of its results, so it is for what happens seldom. */
export function copiesByRoute(nats: Nats): CopiesByRoute {
  return async (key, post) => {
    const copies: Record<string, number> = {};
    try {
      for await (const told of resultsByRange(nats, key, post))
        for (const fate of stands(told).values()) {
          const isOver = fate.state === 'handed' || fate.state === 'refused';
          const route = isOver ? nameOf(fate) : null;
          if (route !== null) copies[route] = (copies[route] ?? 0) + 1;
        }
      return copies;
    } catch (error) {
      if (error instanceof MailError || error instanceof BadMessage) return null;
      throw error;
    }
  };
}

/** The first try of a range that is one chunk. */
function firstOf(key: ListKey, post: number, range: number): Name {
  const id = { key, post: String(post), chunk: String(range), try: 0 };
  return { subject: results(id), chunk: id.chunk, try: 0 };
}

type Name = { readonly subject: string; readonly chunk: string; readonly try: number };

const rangeIn = ({ chunk }: Name): number => Number(chunk.split('-')[0]);

async function namesOf(nats: Nats, key: ListKey, post: number): Promise<readonly Name[]> {
  const filter = resultsOfPost(key, String(post));
  return (await subjectsIn(nats, 'TROUPE_RESULTS', filter)).map((subject) => {
    const [attempt = '', chunk = ''] = subject.split('.').reverse();
    return { subject, chunk, try: Number(attempt) };
  });
}

/** The last result on each subject: a `part` is followed by what the try came to. */
async function readAll(nats: Nats, names: readonly Name[]): Promise<readonly Told[]> {
  const told: Told[] = [];
  for (let from = 0; from < names.length; from += READS_AT_ONCE) {
    const some = names.slice(from, from + READS_AT_ONCE);
    const read = some.map(async ({ subject, chunk, try: attempt }): Promise<Told[]> => {
      const found = await storedMessage(nats, 'TROUPE_RESULTS', { last_by_subj: subject });
      // Gone meanwhile: it is 30 days old, or the stream is full.
      return found === null ? [] : [{ chunk, try: attempt, result: decodeResult(found.data) }];
    });
    told.push(...(await Promise.all(read)).flat());
  }
  return told;
}
