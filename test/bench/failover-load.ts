/** A steady load on a cluster that is struck, from clients that never give up, and when each list's next post comes out of it. */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Account, settle } from '../support/accountant.ts';
import { type JournalLine, openJournalFile } from '../support/journal.ts';
import { growing, type SinkProcess } from '../support/sink-process.ts';
import { createTap, makePost, sendLoad } from '../support/smtp-load.ts';
import { dumpStream } from '../support/streams-dump.ts';
import { until } from '../support/until.ts';
import type { StruckCluster, StruckList } from './failover-cluster.ts';
import { memberOf } from './site.ts';

const POSTS_A_SECOND = 10;
const CONNECTIONS = 12;
const BYTES = 4_096;
/** A post is taken within the longest take-over, and some. */
const POST_MS_MAX = 180_000;
const COPY_MS_MAX = 120_000;
/** What a killed node had in hand at the MTA comes again after `outgoing.ackWaitMs`, 120 s. */
const WHOLE_MS_MAX = 300_000;

export type SteadyLoad = {
  /**
   * Posts to these lists at once, besides the load that goes on. Ms from `at`, when they were struck, to the first copy of
   * a post made after it, one for each list.
   */
  strike(at: number, lists: readonly StruckList[]): Promise<readonly number[]>;
  /** Where nobody connects to until it is back. */
  avoid(node: string): void;
  /** A node takes mail again. */
  back(node: string): Promise<void>;
  /** Ends the load, and waits until the books tell of no loss, or for too long. */
  end(): Promise<Account>;
};

export async function startSteadyLoad(cluster: StruckCluster): Promise<SteadyLoad> {
  const { directory, sink, lists } = cluster;
  const journalFile = join(directory, 'journal');
  const journal = openJournalFile(journalFile);
  const edges = await openEdges(cluster);
  /** The list of each post, by the post's marker. */
  const made = new Map<string, string>();
  const tap = createTap();
  const ending = new AbortController();
  const post = ({ address }: StruckList): void => {
    const marker = `p${made.size}`;
    made.set(marker, address);
    tap.let([makePost(marker, address, memberOf(1), BYTES)]);
  };
  const { port, avoid, back } = edges;
  const options = { connections: CONNECTIONS, port, journal, postMsMax: POST_MS_MAX };
  const load = sendLoad({ posts: tap.posts, ...options });
  load.catch(() => undefined); // Told where it is awaited.
  const pouring = pour(lists, post, ending.signal);
  return {
    avoid,
    back,
    async strike(at, struck) {
      const before = new Set(made.keys());
      for (const list of struck) post(list);
      const later = (marker: string) => (before.has(marker) ? undefined : made.get(marker));
      const cameAt = await firstCopies(sink, struck, later);
      return struck.map(({ address }) => (cameAt.get(address) ?? Number.NaN) - at);
    },
    async end() {
      ending.abort();
      await pouring;
      tap.end();
      await load;
      journal.close();
      return await accountOf(cluster, journalFile);
    },
  };
}

/** The edges that take mail, each in turn. */
async function openEdges({ nodes }: StruckCluster) {
  const ports = new Map<string, number>();
  let turn = 0;
  const back = async (name: string): Promise<void> => {
    const port = await nodes.find((node) => node.name === name)?.smtpPort();
    if (typeof port === 'number') ports.set(name, port);
  };
  for (const { name } of nodes) await back(name);
  return {
    back,
    avoid: (name: string) => void ports.delete(name),
    port(): number {
      const open = [...ports.values()];
      turn += 1;
      const next = open[turn % open.length];
      if (next === undefined) throw new Error('no edge is up');
      return next;
    },
  };
}

async function pour(
  lists: readonly StruckList[],
  post: (list: StruckList) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let i = 0; !signal.aborted; i++) {
    const list = lists[i % lists.length];
    if (list !== undefined) post(list);
    await pause(1_000 / POSTS_A_SECOND);
  }
}

/** When the first copy of such a post came to the sink, by list, for each of them; `listOf` knows the posts that count. */
async function firstCopies(
  sink: SinkProcess,
  struck: readonly StruckList[],
  listOf: (marker: string) => string | undefined,
): Promise<ReadonlyMap<string, number>> {
  const cameAt = new Map<string, number>();
  let read = sink.lines().length;
  const look = (): Map<string, number> | null => {
    const lines = sink.lines();
    for (; read < lines.length; read++) {
      const { marker, at } = lines[read] ?? { marker: '', at: 0 };
      const list = listOf(marker);
      if (list !== undefined && !cameAt.has(list)) cameAt.set(list, at);
    }
    return struck.every(({ address }) => cameAt.has(address)) ? cameAt : null;
  };
  return await until('a later post to each list', look, COPY_MS_MAX);
}

/** Settles the books again and again, until nothing is missing or it has taken too long. */
async function accountOf(cluster: StruckCluster, journalFile: string): Promise<Account> {
  const { servers, sink } = cluster;
  const settled = async () =>
    settle({
      journal: growing<JournalLine>(journalFile)(),
      sink: sink.lines(),
      ledger: await dumpStream(servers, 'TROUPE_LEDGER'),
      archive: await dumpStream(servers, 'TROUPE_ARCHIVE'),
      kills: [],
    });
  const whole = async () => {
    const account = await settled();
    return account.lost.length === 0 ? account : null;
  };
  return await until('nothing is missing', whole, WHOLE_MS_MAX).catch(settled);
}
