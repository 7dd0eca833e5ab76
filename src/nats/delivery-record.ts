/**
 * Reads the delivery record of a post: its results in RESULTS. The subject of a result names list, post, chunk and try, and a
 * chunk's name begins with the number of its range of members: so one recipient's results are found without reading any other's.
 */
import { MailError } from '../errors.ts';
import { inOrder, stands, type Told } from '../mail/fate.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { CopiesByRoute } from '../world.ts';
import { BadMessage } from './codec.ts';
import type { Nats } from './connect.ts';
import { decodeResult } from './result-codec.ts';
import { storedMessage } from './stored.ts';
import { subjectsIn } from './stored-subjects.ts';
import { resultsOfPost } from './subjects.ts';

/** Reads under way at once. */
const READS_AT_ONCE = 32;

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

/** Older results name several routes with commas between, where a chunk went by several. */
export const oneRoute = (route: string): string | null =>
  route === '' || route.includes(',') ? null : route;

/** Counts a post's copies by route; it reads all of its results, so it is for what happens seldom. */
export function copiesByRoute(nats: Nats): CopiesByRoute {
  return async (key, post) => {
    const copies: Record<string, number> = {};
    try {
      for await (const told of resultsByRange(nats, key, post))
        for (const fate of stands(told).values()) {
          const isOver = fate.state === 'handed' || fate.state === 'refused';
          const route = isOver ? oneRoute(fate.route) : null;
          if (route !== null) copies[route] = (copies[route] ?? 0) + 1;
        }
      return copies;
    } catch (error) {
      if (error instanceof MailError || error instanceof BadMessage) return null;
      throw error;
    }
  };
}

/** Of a result. */
export type Name = { readonly subject: string; readonly chunk: string; readonly try: number };

export const rangeIn = ({ chunk }: Name): number => Number(chunk.split('-')[0]);

/** The results of a post by name: one answer of the server, however many there are. */
export async function namesOf(nats: Nats, key: ListKey, post: number): Promise<readonly Name[]> {
  const filter = resultsOfPost(key, String(post));
  return (await subjectsIn(nats, 'TROUPE_RESULTS', filter)).map((subject) => {
    const [attempt = '', chunk = ''] = subject.split('.').reverse();
    return { subject, chunk, try: Number(attempt) };
  });
}

/** The last result on each subject: a `part` is followed by what the try came to. */
export async function readAll(nats: Nats, names: readonly Name[]): Promise<readonly Told[]> {
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
