/**
 * One run: the site is built, loaded, struck, healed and left to rest; what is left is its books.
 */
import { join } from 'node:path';
import type { Books } from '../support/accountant.ts';
import type { BounceBooks } from '../support/bounce-accountant.ts';
import { type JournalLine, openJournalFile } from '../support/journal.ts';
import { growing, type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import type { Loaded } from '../support/smtp-load.ts';
import { dumpStream } from '../support/streams-dump.ts';
import { readBounces, startBounces } from './bounces.ts';
import { chanceOf } from './chance.ts';
import { type Cluster, createLists, startCluster } from './cluster.ts';
import type { FailOver, Fault, FaultKind } from './faults.ts';
import { startLoad } from './load.ts';
import { PARTS } from './machine.ts';
import { createNemesis } from './nemesis.ts';
import { createNetwork, type Network } from './network.ts';
import { watchHealth } from './rest.ts';

const LISTS = 10;
const MEMBERS_MAX = 60;
const QUIET_MS_MAX = 300_000;
const JOURNAL = 'journal';
const DSNS = 'dsns';
/** The load settles in before the first fault. */
const CALM_POSTS = 10;

export type Outcome = {
  readonly books: Omit<Books, 'kills'>;
  readonly bounceBooks: BounceBooks;
  readonly faults: readonly Fault[];
  readonly failOvers: readonly FailOver[];
  readonly skipped: readonly FaultKind[];
  readonly loaded: Loaded;
  /** Processes that ended without being told to: name and when. */
  readonly falls: readonly { readonly name: string; readonly at: number }[];
  /** What still waited when all should have been done; null if nothing. */
  readonly restless: string | null;
  /** When JetStream was seen well, ms since the epoch. */
  readonly wellAt: readonly number[];
  /** Messages that were set aside: subject and headers. */
  readonly parked: readonly string[];
};

export type LabNeeds = {
  readonly kills: number;
  readonly seed: number;
  readonly directory: string;
  readonly say: (text: string) => void;
};

export async function runLab(needs: LabNeeds): Promise<Outcome> {
  const { seed, directory, say } = needs;
  const began = performance.now();
  const tell = (text: string): void =>
    say(`${((performance.now() - began) / 1_000).toFixed(1)} ${text}`);
  const network = createNetwork();
  const sink = await startSinkProcess({ address: network.hub, moods: seed });
  const cluster = await startCluster(network, sink, directory);
  const watching = new AbortController();
  try {
    tell('the cluster is ready');
    const wellAt = watchHealth(cluster.nc, watching.signal);
    const struck = await strike({ ...needs, say: tell }, cluster, network, sink);
    const { said, ...more } = struck;
    return { ...more, wellAt, ...(await readOut(cluster, sink, directory, said)) };
  } finally {
    watching.abort();
    await cluster.close();
    await sink.close();
  }
}

type Struck = Pick<Outcome, 'faults' | 'failOvers' | 'skipped' | 'loaded' | 'restless'> & {
  readonly said: BounceBooks['said'];
};

/** Lists, load, faults, and rest. */
async function strike(
  { kills, seed, directory, say }: LabNeeds,
  cluster: Cluster,
  network: Network,
  sink: SinkProcess,
): Promise<Struck> {
  const chance = chanceOf(seed);
  const sizes = Array.from({ length: LISTS }, () => chance.whole(1, MEMBERS_MAX));
  const lists = await createLists(cluster, directory, sizes);
  const journal = openJournalFile(join(directory, JOURNAL));
  const load = startLoad({ cluster, lists, sink, journal, chance: chanceOf(seed + 1) });
  await sink.waitFor(CALM_POSTS, QUIET_MS_MAX);
  const dsns = openJournalFile(join(directory, DSNS));
  const bounces = startBounces({ cluster, lists, sink, journal: dsns, chance: chanceOf(seed + 2) });
  say('the load is on its way');
  const { firstCopyAfter } = load;
  const slots = new Set(lists.map(({ slot }) => slot));
  const nemesis = createNemesis({ cluster, network, chance, slots, firstCopyAfter, say });
  const { faults, failOvers, skipped } = nemesis;
  if (skipped.length > 0) say(`NOT DONE HERE: ${skipped.join(', ')}`);
  await nemesis.run(kills);
  await nemesis.heal();
  say('healed');
  const loaded = await load.end();
  await bounces.end();
  journal.close();
  dsns.close();
  say('every post and every DSN has its answer');
  const restless = await cluster.untilQuiet(lists, QUIET_MS_MAX);
  say(restless ?? 'at rest');
  if (restless !== null) for (const line of await cluster.diagnose()) say(`  ${line}`);
  const said = await readBounces(cluster, lists);
  say('every bounce is folded');
  return { faults, failOvers, skipped, loaded, restless, said };
}

async function readOut(
  { machines, where }: Cluster,
  sink: SinkProcess,
  directory: string,
  said: BounceBooks['said'],
): Promise<Pick<Outcome, 'books' | 'bounceBooks' | 'falls' | 'parked'>> {
  const parked = await dumpStream(where, 'TROUPE_PARKED');
  const both = { sink: sink.lines(), ledger: await dumpStream(where, 'TROUPE_LEDGER') };
  const journal = (name: string) => growing<JournalLine>(join(directory, name))();
  return {
    books: {
      ...{ ...both, journal: journal(JOURNAL) },
      archive: await dumpStream(where, 'TROUPE_ARCHIVE'),
    },
    bounceBooks: {
      ...{ ...both, journal: journal(DSNS), said },
      bounces: await dumpStream(where, 'TROUPE_BOUNCES'),
    },
    falls: machines.flatMap(({ parts }) =>
      PARTS.flatMap((part) => parts[part].falls.map((at) => ({ name: parts[part].name, at }))),
    ),
    parked: parked.map(({ subject, headers }) => `${subject} ${JSON.stringify(headers)}`),
  };
}
