/** A load of DSNs for benches: to return paths of a list's copies, by SMTP, and how many of them are folded. */
import { setTimeout as pause } from 'node:timers/promises';
import type { BounceReport } from '../../actors/bounces/report.ts';
import { systemRandom } from '../../src/clock.ts';
import { makeMachineAddress } from '../../src/mail/machine-address.ts';
import { openKv } from '../../src/nats/kv.ts';
import { openSecrets } from '../../src/nats/secrets.ts';
import { mailDurable } from '../../src/nats/streams.ts';
import { dsnFrom } from '../support/dsns.ts';
import { DOMAIN } from '../support/site.ts';
import { type Loaded, sendPosts } from './load.ts';
import { type BenchList, type BenchSite, memberOf } from './site.ts';

/** So many bounces of one reason would be a storm: they change from run to run, or from one to the next. */
export const STATUSES = ['5.1.1', '5.2.2', '5.7.1', '5.3.4', '5.1.2', '5.4.7'];

const DSN_BYTES = 1_024;
const LOOK_MS = 20;
const QUIET_MS = 60_000;

type DsnLoad = {
  readonly connections: number;
  /** One DSN to each. */
  readonly paths: readonly string[];
  /** They take turns. */
  readonly statuses: readonly string[];
  /** Called as each is about to be sent. */
  readonly onSent?: () => void;
};

/** Resolves when the last is answered. */
export function sendDsns({ site }: BenchSite, load: DsnLoad): Promise<Loaded> {
  const { connections, paths, statuses, onSent } = load;
  const dsns = statuses.map((status) =>
    Buffer.concat([dsnFrom({ to: memberOf(1), status }), Buffer.from('.\r\n')]),
  );
  const message = (i: number): Buffer => {
    onSent?.();
    return dsns[i % dsns.length] ?? Buffer.alloc(0);
  };
  const port = site.ports().smtpPort;
  const of = { connections, posts: paths.length, bytes: DSN_BYTES, lists: paths };
  return sendPosts({ ...of, port, sender: '', message });
}

/** The return paths of these copies, which need not have been sent. */
export async function returnPathsOf(
  { nats }: BenchSite,
  { key }: BenchList,
  copies: readonly { readonly member: number; readonly post: number }[],
): Promise<readonly string[]> {
  const secrets = await openSecrets(await openKv(nats(), 'troupe_site'), systemRandom);
  return copies.map((copy) => makeMachineAddress('b', { key, ...copy }, secrets.newest(), DOMAIN));
}

// ── Looking ───────────────────────────────────────────────────────────────

/** Bounces that are in the rows; asking writes what is folded. */
export async function foldedOf(bench: BenchSite, list: BenchList): Promise<number> {
  const reply = await bench.asker().question(list.key, { ask: 'bounce-report' });
  if (!reply.ok) throw new Error(JSON.stringify(reply));
  const { days } = reply.answer as unknown as BounceReport;
  return days.reduce((sum, day) => sum + day.bounces, 0);
}

/** Waits for the queue first, so that looking does not write more often than the program would. */
export async function untilFolded(bench: BenchSite, list: BenchList, count: number): Promise<void> {
  const deadline = performance.now() + QUIET_MS;
  const { jsm } = bench.nats();
  const inQueue = async (): Promise<number> => {
    const queue = await jsm.consumers.info('TROUPE_MAIL', mailDurable('bounce'));
    return queue.num_pending + queue.num_ack_pending;
  };
  while ((await inQueue()) > 0) await lookAgain(deadline);
  while ((await foldedOf(bench, list)) < count) await lookAgain(deadline);
}

async function lookAgain(deadline: number): Promise<void> {
  if (performance.now() > deadline) throw new Error('the bounces are not all folded');
  await pause(LOOK_MS);
}
