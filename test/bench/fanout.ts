/**
 * One post to a large list: from the 250 to its DATA until the last copy is at `smtp-sink`. The limit is `smtp-source`
 * sending as many messages to the same sink over as many connections, before and after it. What bounds it is told by what each
 * process had of the processor meanwhile, in percent of one core.
 */
import { availableParallelism } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import type { Mode } from '../../src/mail/chunk.ts';
import {
  aside,
  type Bar,
  type Bench,
  CPU_COLUMNS,
  type Figures,
  type Flags,
  figure,
} from './bench.ts';
import { deliveredCount, type Place, placeNow } from './books.ts';
import { sendPosts } from './load.ts';
import { cpuMsOf, family } from './processes.ts';
import { type BenchSite, cpuOfEach, makeList, memberOf, openSite } from './site.ts';
import { type Sink, SMTP_TOOLS, sourceRate, startSink, type Watched } from './tools.ts';

const BYTES = 4_096;
/** Recipients of an envelope in mode `shared` (design §3). */
const SHARED_RECIPIENTS = 100;
const LOOK_MS = 50;
const QUIET_MS = 30_000;
/** The first posts after a start meet code that is not compiled yet: they take half as long again. */
const WARM_UP_POSTS = 2;

/** The list that design §13 asks for in mode `shared`. */
const SHARED_MEMBERS = 138_000;
const barOfShared =
  (bar: Bar) =>
  (flags: Flags): Bar | null =>
    flags.text('mode') === 'shared' && flags.number('members') >= SHARED_MEMBERS ? bar : null;

/** Whose processor time is told. */
const WHO = ['node', 'senders', 'nats', 'sink'] as const;

export const fanout: Bench = {
  name: 'fanout',
  what: 'one post to every member of a large list, through smtp-sink',
  peer: 'Mailman 3, 10,000 members: 26–40 recipients/s individual, 1,078–1,192/s in bulk',
  flags: {
    members: { what: 'members of the list', default: 10_000 },
    mode: { what: 'envelopes', default: 'individual', choices: ['individual', 'shared'] },
    connections: { what: 'connections to the sink, ours and the limit’s', default: 5 },
  },
  says: ['mode', 'members'],
  columns: [
    figure('recipientsPerSecond', 0, barOfShared({ atLeast: 50_000 })),
    figure('limitPerSecond', 0),
    figure('ratio', 2, (flags) => (flags.text('mode') === 'individual' ? { atLeast: 0.8 } : null)),
    figure('firstMs', 0, barOfShared({ atMost: 1_000 })),
    aside('acceptedMs'),
    ...WHO.map((who) => aside(`${who}Percent`)),
    ...CPU_COLUMNS,
  ],
  tools: SMTP_TOOLS,
  async open(flags, scene) {
    const members = flags.number('members');
    const mode = flags.text('mode') as Mode;
    const connections = flags.number('connections');
    const sink = await startSink(scene);
    const bench = await openSite(scene, { sink, connections });
    scene.say(`a list of ${members} members`);
    const list = await makeList(bench, 'large', { mode }, members);
    const recipients = mode === 'shared' ? SHARED_RECIPIENTS : 1;
    const messages = Math.ceil(members / recipients);
    const load = { connections, messages, recipients, bytes: BYTES };
    for (let i = 0; i < WARM_UP_POSTS; i++) await fanOut(bench, sink, list.address, members, mode);
    return async () => {
      const limitBefore = await sourceRate(sink, load, scene);
      const before = bench.cpuMs();
      const busyBefore = busyMs(bench, sink);
      const startedAt = performance.now();
      const ours = await fanOut(bench, sink, list.address, members, mode);
      const shares = sharesOf(busyBefore, busyMs(bench, sink), performance.now() - startedAt);
      const cpu = cpuOfEach(before, bench.cpuMs(), members);
      scene.say(boundBy(shares));
      // On both sides of ours: what else the machine does falls on both.
      const limitAfter = await sourceRate(sink, load, scene);
      const limitPerSecond = ((limitBefore + limitAfter) / 2) * recipients;
      const recipientsPerSecond = (members * 1_000) / ours.lastMs;
      const ratio = recipientsPerSecond / limitPerSecond;
      return { recipientsPerSecond, limitPerSecond, ratio, ...ours, ...percents(shares), ...cpu };
    };
  },
};

type OfEach = Readonly<Record<(typeof WHO)[number], number>>;

/** Processor time so far, ms; of senders those that run now. */
function busyMs({ site, cpuMs }: BenchSite, sink: Sink): OfEach {
  const { node, nats } = cpuMs();
  const { pid } = site.ports();
  const senders = [...family([pid])].filter((one) => one !== pid && one !== site.nats().pid);
  const sendersMs = senders.reduce((sum, one) => sum + cpuMsOf(one), 0);
  return { node, senders: sendersMs, nats, sink: cpuMsOf(sink.pid) };
}

/** In percent of one core. */
function sharesOf(before: OfEach, after: OfEach, ms: number): OfEach {
  const share = (who: keyof OfEach): number => (100 * Math.max(0, after[who] - before[who])) / ms;
  return {
    ...{ node: share('node'), senders: share('senders') },
    ...{ nats: share('nats'), sink: share('sink') },
  };
}

const percents = (shares: OfEach): Figures =>
  Object.fromEntries(WHO.map((who) => [`${who}Percent`, shares[who]]));

/** Who has a whole core bounds it; where all cores are taken, the machine does. */
function boundBy(shares: OfEach): string {
  const each = WHO.map((who) => `${who} ${Math.round(shares[who])} %`);
  const total = WHO.reduce((sum, who) => sum + shares[who], 0);
  const [most] = WHO.toSorted((a, b) => shares[b] - shares[a]);
  const cores = availableParallelism();
  return `of a core: ${each.join(', ')}; ${Math.round(total)} of ${100 * cores} % in all, most by ${most}`;
}

type FanOut = Readonly<Record<'firstMs' | 'lastMs' | 'acceptedMs' | 'lastAt', number>>;

/** From the 250 to the first and to the last copy at the sink, and before it; `lastAt` is of performance.now(). */
export async function fanOut(
  { site, nats }: BenchSite,
  sink: Sink,
  list: string,
  members: number,
  mode: Mode,
): Promise<FanOut> {
  const since = await placeNow(nats());
  const watched = sink.watch();
  const load = { connections: 1, posts: 1, bytes: BYTES, lists: [list], sender: memberOf(1) };
  const { startedAt, endedAt } = await sendPosts({ ...load, port: site.ports().smtpPort });
  if (mode === 'individual') await watched.until(members, QUIET_MS);
  await untilDelivered(() => deliveredCount(nats(), since, members), members, since, watched);
  watched.stop();
  const { taken, firstAt, lastAt } = watched.now();
  if (mode === 'individual' && taken !== members) {
    throw new Error(`the sink took ${taken} messages for ${members} members`);
  }
  const acceptedMs = endedAt - startedAt;
  return { firstMs: firstAt - endedAt, lastMs: lastAt - endedAt, acceptedMs, lastAt };
}

async function untilDelivered(
  delivered: () => Promise<number>,
  members: number,
  since: Place,
  watched: Watched,
): Promise<void> {
  for (;;) {
    const count = await delivered();
    if (count === members) return;
    if (performance.now() - watched.now().lastAt > QUIET_MS) {
      throw new Error(
        `${count} of ${members} members were reached, after ${JSON.stringify(since)}`,
      );
    }
    await pause(LOOK_MS);
  }
}
