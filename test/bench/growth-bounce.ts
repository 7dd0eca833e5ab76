/**
 * What a bounce costs as its list grows: DSNs by SMTP to return paths of the list's members, until they are in the scores. Counted
 * in processor time, which is steadier than the clock where syncing the disk is most of it; each list in turn, batch by batch.
 */
import { randomInt } from 'node:crypto';
import { foldedOf, returnPathsOf, sendDsns, untilFolded } from './dsn-load.ts';
import type { BenchList, BenchSite } from './site.ts';

const BATCHES = 12;
const BATCH = 100;
/** The first batches warm both sites up. */
const WARM_UP = 2;
const CONNECTIONS = 4;

export type Bouncing = BenchSite & { readonly list: BenchList; readonly members: number };

/** The processor time of a bounce of the large list, node and nats-server, over that of the small one. */
export async function bounceRatio(small: Bouncing, large: Bouncing, run: number): Promise<number> {
  const ms = { small: 0, large: 0 };
  for (let batch = 0; batch < BATCHES; batch++) {
    const post = run * BATCHES + batch;
    const ofSmall = await cpuOfBatch(small, post);
    const ofLarge = await cpuOfBatch(large, post);
    if (batch < WARM_UP) continue;
    ms.small += ofSmall;
    ms.large += ofLarge;
  }
  return ms.large / ms.small;
}

/** Processor time of one batch, ms; `post` makes its copies others than those of any batch before. */
async function cpuOfBatch(bench: Bouncing, post: number): Promise<number> {
  const { list, members } = bench;
  const numbers = new Set<number>();
  while (numbers.size < Math.min(BATCH, members)) numbers.add(randomInt(1, members + 1));
  const copies = [...numbers].map((member) => ({ member, post }));
  const paths = await returnPathsOf(bench, list, copies);
  const before = await foldedOf(bench, list);
  const cpu = bench.cpuMs();
  await sendDsns(bench, { connections: CONNECTIONS, paths, statuses: ['5.1.1'] });
  await untilFolded(bench, list, before + paths.length);
  const after = bench.cpuMs();
  return after.node - cpu.node + after.nats - cpu.nats;
}
