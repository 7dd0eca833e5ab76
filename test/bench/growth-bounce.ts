/**
 * What a bounce costs as its list grows: DSNs by SMTP to return paths of the list's members, until they are in the scores. Counted
 * in processor time, which is steadier than the clock where syncing the disk is most of it; each list in turn, batch by batch.
 */
import { randomInt } from 'node:crypto';
import { systemRandom } from '../../src/clock.ts';
import { makeMachineAddress } from '../../src/mail/machine-address.ts';
import { openKv } from '../../src/nats/kv.ts';
import { openSecrets } from '../../src/nats/secrets.ts';
import { dsnFrom } from '../support/dsns.ts';
import { DOMAIN } from '../support/site.ts';
import { foldedOf, untilFolded } from './bounces.ts';
import { sendPosts } from './load.ts';
import { type BenchList, type BenchSite, memberOf } from './site.ts';

const BATCHES = 12;
const BATCH = 100;
/** The first batches warm both sites up. */
const WARM_UP = 2;
const CONNECTIONS = 4;
const BYTES = 1_024;

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
  const { list, members, nats, site } = bench;
  const secrets = await openSecrets(await openKv(nats(), 'troupe_site'), systemRandom);
  const numbers = new Set<number>();
  while (numbers.size < Math.min(BATCH, members)) numbers.add(randomInt(1, members + 1));
  const paths = [...numbers].map((member) =>
    makeMachineAddress('b', { key: list.key, member, post }, secrets.newest(), DOMAIN),
  );
  const before = await foldedOf(bench, list);
  const dsn = Buffer.concat([dsnFrom({ to: memberOf(1) }), Buffer.from('.\r\n')]);
  const load = { connections: CONNECTIONS, posts: paths.length, bytes: BYTES, lists: paths };
  const cpu = bench.cpuMs();
  await sendPosts({ ...load, port: site.ports().smtpPort, sender: '', message: () => dsn });
  await untilFolded(bench, list, before + paths.length);
  const after = bench.cpuMs();
  return after.node - cpu.node + after.nats - cpu.nats;
}
