/**
 * One post to a large list: from the 250 to its DATA until the last copy is at `smtp-sink`. The limit is `smtp-source`
 * sending as many messages to the same sink over as many connections, before and after it.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Mode } from '../../src/mail/chunk.ts';
import { aside, type Bench, CPU_COLUMNS, figure } from './bench.ts';
import { deliveredCount, type Place, placeNow } from './books.ts';
import { sendPosts } from './load.ts';
import { type BenchSite, cpuOfEach, makeList, memberOf, openSite } from './site.ts';
import { type Sink, SMTP_TOOLS, sourceRate, startSink, type Watched } from './tools.ts';

const BYTES = 4_096;
/** Recipients of an envelope in mode `shared` (design §3). */
const SHARED_RECIPIENTS = 100;
const LOOK_MS = 50;
const QUIET_MS = 30_000;
/** The first posts after a start meet code that is not compiled yet: they take half as long again. */
const WARM_UP_POSTS = 2;

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
    figure('recipientsPerSecond', 0),
    figure('limitPerSecond', 0),
    figure('ratio', 2, { atLeast: 0.5 }),
    figure('firstMs', 0),
    aside('acceptedMs'),
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
      const ours = await fanOut(bench, sink, list.address, members, mode);
      const cpu = cpuOfEach(before, bench.cpuMs(), members);
      // On both sides of ours: what else the machine does falls on both.
      const limitAfter = await sourceRate(sink, load, scene);
      const limitPerSecond = ((limitBefore + limitAfter) / 2) * recipients;
      const recipientsPerSecond = (members * 1_000) / ours.lastMs;
      const ratio = recipientsPerSecond / limitPerSecond;
      return { recipientsPerSecond, limitPerSecond, ratio, ...ours, ...cpu };
    };
  },
};

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
