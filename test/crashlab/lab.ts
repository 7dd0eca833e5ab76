/**
 * One run: the site is built, loaded, struck, healed and left to rest; what is left is its books.
 */
import { join } from 'node:path';
import type { Books } from '../support/accountant.ts';
import { type JournalLine, openJournalFile } from '../support/journal.ts';
import { growing, startSinkProcess } from '../support/sink-process.ts';
import type { Loaded } from '../support/smtp-load.ts';
import { dumpStream } from '../support/streams-dump.ts';
import { chanceOf } from './chance.ts';
import { createLists, startCluster } from './cluster.ts';
import type { FailOver, Fault, FaultKind } from './faults.ts';
import { startLoad } from './load.ts';
import { PARTS } from './machine.ts';
import { createNemesis } from './nemesis.ts';
import { createNetwork } from './network.ts';
import { watchHealth } from './rest.ts';

const LISTS = 10;
const MEMBERS_MAX = 60;
const QUIET_MS_MAX = 120_000;
/** The load settles in before the first fault. */
const CALM_POSTS = 10;

export type Outcome = {
  readonly books: Omit<Books, 'kills'>;
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

export async function runLab(needs: {
  readonly kills: number;
  readonly seed: number;
  readonly directory: string;
  readonly say: (text: string) => void;
}): Promise<Outcome> {
  const { kills, seed, directory, say } = needs;
  const began = performance.now();
  const tell = (text: string): void =>
    say(`${((performance.now() - began) / 1_000).toFixed(1)} ${text}`);
  const chance = chanceOf(seed);
  const network = createNetwork();
  const sink = await startSinkProcess({ address: network.hub, moods: seed });
  const cluster = await startCluster(network, sink, directory);
  const watching = new AbortController();
  try {
    tell('the cluster is ready');
    const wellAt = watchHealth(cluster.nc, watching.signal);
    const sizes = Array.from({ length: LISTS }, () => chance.whole(1, MEMBERS_MAX));
    const lists = await createLists(cluster, directory, sizes);
    const journal = openJournalFile(join(directory, 'journal'));
    const load = startLoad({ cluster, lists, sink, journal, chance: chanceOf(seed + 1) });
    await sink.waitFor(CALM_POSTS);
    tell('the load is on its way');
    const { firstCopyAfter } = load;
    const slots = new Set(lists.map(({ slot }) => slot));
    const nemesis = createNemesis({
      ...{ cluster, network, chance, slots, firstCopyAfter },
      say: tell,
    });
    if (nemesis.skipped.length > 0) tell(`NOT DONE HERE: ${nemesis.skipped.join(', ')}`);
    await nemesis.run(kills);
    await nemesis.heal();
    tell('healed');
    const loaded = await load.end();
    journal.close();
    tell('every post has its answer');
    const restless = await cluster.untilQuiet(lists, QUIET_MS_MAX);
    tell(restless ?? 'at rest');
    if (restless !== null) for (const line of await cluster.diagnose()) tell(`  ${line}`);
    const parked = await dumpStream(cluster.where, 'TROUPE_PARKED');
    return {
      books: {
        journal: growing<JournalLine>(join(directory, 'journal'))(),
        sink: sink.lines(),
        ledger: await dumpStream(cluster.where, 'TROUPE_LEDGER'),
        archive: await dumpStream(cluster.where, 'TROUPE_ARCHIVE'),
      },
      faults: nemesis.faults,
      failOvers: nemesis.failOvers,
      skipped: nemesis.skipped,
      loaded,
      falls: cluster.machines.flatMap(({ parts }) =>
        PARTS.flatMap((part) => parts[part].falls.map((at) => ({ name: parts[part].name, at }))),
      ),
      restless,
      wellAt,
      parked: parked.map(({ subject, headers }) => `${subject} ${JSON.stringify(headers)}`),
    };
  } finally {
    watching.abort();
    await cluster.close();
    await sink.close();
  }
}
