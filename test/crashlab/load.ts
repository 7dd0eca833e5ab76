/**
 * The load: posts to all lists at a steady pace, to whichever edge takes them, and members that come
 * and go.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { JournalFile } from '../support/journal.ts';
import type { SinkProcess } from '../support/sink-process.ts';
import { type Loaded, makePost, type Post, sendLoad } from '../support/smtp-load.ts';
import { until } from '../support/until.ts';
import type { Chance } from './chance.ts';
import type { Cluster, List } from './cluster.ts';
import { SMTP_PORT } from './machine.ts';

const POSTS_A_SECOND = 4;
const CONNECTIONS = 12;
/** Of a hundred posts, by somebody who is no member: they are held. */
const STRANGERS = 8;
const BYTES = [1_000, 2_000, 4_000, 16_000, 100_000, 900_000] as const;
const BYTES_WEIGHTS = [40, 30, 20, 7, 2, 1] as const;
const MEMBERS_EVERY_MS = 6_000;
/** A post must be taken within the longest outage, and some. */
const POST_MS_MAX = 300_000;

export type Load = {
  /** Stops making posts; resolves when each has its answer. */
  end(): Promise<Loaded>;
  /** See NemesisNeeds. */
  firstCopyAfter(at: number, slots: ReadonlySet<number>, ms: number): Promise<number>;
};

export function startLoad(needs: {
  readonly cluster: Cluster;
  readonly lists: readonly List[];
  readonly sink: SinkProcess;
  readonly journal: JournalFile;
  readonly chance: Chance;
}): Load {
  const { cluster, lists, sink, journal, chance } = needs;
  const ending = new AbortController();
  const made = new Map<string, { readonly at: number; readonly slot: number }>();

  async function* posts(): AsyncGenerator<Post> {
    for (let i = 0; !ending.signal.aborted; i++) {
      const list = chance.pick(lists);
      const isStranger = chance.whole(1, 100) <= STRANGERS;
      const sender = isStranger ? 'stranger@else.example' : list.poster;
      const marker = `p${i}`;
      made.set(marker, { at: Date.now(), slot: isStranger ? -1 : list.slot });
      yield makePost(marker, list.address, sender, bytesOf(chance));
      await pause(1_000 / POSTS_A_SECOND);
    }
  }

  const load = sendLoad({
    posts: posts(),
    connections: CONNECTIONS,
    port: () => ({ host: chance.pick(cluster.machines).address, port: SMTP_PORT }),
    journal,
    postMsMax: POST_MS_MAX,
  });
  load.catch(() => undefined); // Told where it is awaited.
  const changes = changeMembers(cluster, lists, ending.signal);
  return {
    async end() {
      ending.abort();
      const loaded = await load;
      await changes;
      return loaded;
    },
    firstCopyAfter: (at, slots, ms) =>
      until(
        'a later post comes to the MTA',
        () => {
          const came = sink.lines().find(({ marker, at: sinkAt, answer = 0 }) => {
            const post = made.get(marker);
            return (
              answer < 400 &&
              sinkAt >= at &&
              post !== undefined &&
              post.at > at &&
              slots.has(post.slot)
            );
          });
          return came?.at ?? null;
        },
        ms,
      ),
  };
}

function bytesOf(chance: Chance): number {
  let left = chance.next() * BYTES_WEIGHTS.reduce((sum, weight) => sum + weight, 0);
  const found = BYTES.find((_, i) => {
    left -= BYTES_WEIGHTS[i] ?? 0;
    return left < 0;
  });
  return found ?? BYTES[0];
}

/** Takes turns at the lists. What fails is not asked again: the ledger says what became of it. */
async function changeMembers(
  cluster: Cluster,
  lists: readonly List[],
  signal: AbortSignal,
): Promise<void> {
  for (let i = 0; !signal.aborted; i++) {
    await pause(MEMBERS_EVERY_MS, undefined, { signal }).catch(() => undefined);
    const number = i % lists.length;
    const list = lists[number];
    if (signal.aborted || list === undefined) return;
    const member = `m${1 + (i % Math.max(1, list.members - 1))}.l${number}@sink.example`;
    if (i % 2 === 0) await cluster.troupe('member', 'add', list.address, `late${i}@sink.example`);
    else await cluster.troupe('member', 'remove', list.address, member);
  }
}
