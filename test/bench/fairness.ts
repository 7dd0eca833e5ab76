/**
 * Small posts while a large one is under way, through `smtp-sink`: how long a small one takes from its 250 until the program
 * has told of its copies, which is later than the first of them was taken; and the pace of the large one meanwhile.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { aside, type Bench, CPU_COLUMNS, figure } from './bench.ts';
import { followResults, type Told } from './books.ts';
import { percentile } from './figures.ts';
import { sendPosts } from './load.ts';
import { type BenchList, type BenchSite, cpuOfEach, makeList, memberOf, openSite } from './site.ts';
import { SMTP_TOOLS, startSink } from './tools.ts';

const BYTES = 4_096;
const SMALL_MEMBERS = 10;
const WARM_UP_MEMBERS = 1_000;
const QUIET_MS = 30_000;
const LOOK_MS = 25;

export const fairness: Bench = {
  name: 'fairness',
  what: 'posts to lists of 10 while a post to a large list is under way, through smtp-sink',
  peer: '',
  flags: {
    members: { what: 'members of the large list', default: 150_000 },
    lists: { what: 'small lists', default: 20 },
    every: { what: 'ms between two small posts', default: 100 },
    connections: { what: 'connections to the sink', default: 5 },
    mode: { what: 'envelopes', default: 'individual', choices: ['individual', 'shared'] },
  },
  says: [],
  columns: [
    figure('smallFirstP99Ms', 0, { atMost: 2_000 }),
    figure('bulkPerSecond', 0),
    aside('smallPosts'),
    aside('smallP50Ms'),
    aside('smallMaxMs'),
    ...CPU_COLUMNS,
  ],
  tools: SMTP_TOOLS,
  async open(flags, scene) {
    const members = flags.number('members');
    const settings = { mode: flags.text('mode') as 'individual' | 'shared' };
    const sink = await startSink(scene);
    const bench = await openSite(scene, { sink, connections: flags.number('connections') });
    scene.say(`a list of ${members} members`);
    const large = await makeList(bench, 'large', settings, members);
    const small: BenchList[] = [];
    for (let i = 0; i < flags.number('lists'); i++) {
      small.push(await makeList(bench, `small-${i}`, settings, SMALL_MEMBERS));
    }
    const warm = await makeList(bench, 'warm', settings, WARM_UP_MEMBERS);
    await together(bench, { list: warm, members: WARM_UP_MEMBERS }, small, flags.number('every'));
    return async () => {
      const before = bench.cpuMs();
      const ran = await together(bench, { list: large, members }, small, flags.number('every'));
      const { largeMs, smallMs } = ran;
      return {
        smallFirstP99Ms: percentile(smallMs, 99),
        bulkPerSecond: (members * 1_000) / largeMs,
        smallPosts: smallMs.length,
        smallP50Ms: percentile(smallMs, 50),
        smallMaxMs: percentile(smallMs, 100),
        ...cpuOfEach(before, bench.cpuMs(), members),
      };
    };
  },
};

type Large = { readonly list: BenchList; readonly members: number };
type Ran = { readonly largeMs: number; readonly smallMs: readonly number[] };

/** One post to the large list; a small one every so often, until the large one has reached everybody. */
async function together(
  bench: BenchSite,
  { list, members }: Large,
  small: readonly BenchList[],
  everyMs: number,
): Promise<Ran> {
  const told = await followResults(bench.nats());
  const port = bench.site.ports().smtpPort;
  const post = async ({ address }: BenchList): Promise<number> => {
    const load = { port, connections: 1, posts: 1, bytes: BYTES, sender: memberOf(1) };
    return (await sendPosts({ ...load, lists: [address] })).endedAt;
  };
  try {
    const startedAt = await post(list);
    const sentAt = small.map((): number[] => []);
    for (let i = 0; told.of(list.key).recipients < members; i++) {
      const which = i % small.length;
      const to = small[which];
      const at = to === undefined ? performance.now() : await post(to);
      sentAt[which]?.push(at);
      await pause(Math.max(0, at + everyMs - performance.now()));
      checkMoves(told.of(list.key), members, startedAt);
    }
    const largeMs = told.of(list.key).lastAt - startedAt;
    const sent = sentAt.flat().length;
    const times = () => small.flatMap(({ key }, i) => timesOf(told.of(key), sentAt[i] ?? []));
    const until = performance.now() + QUIET_MS;
    while (times().length < sent && performance.now() < until) await pause(LOOK_MS);
    const smallMs = times();
    if (smallMs.length < sent)
      throw new Error(`${smallMs.length} of ${sent} small posts were told`);
    return { largeMs, smallMs };
  } finally {
    await told.stop();
  }
}

/** A list numbers its posts in the order in which they came. */
function timesOf({ firstAt }: Told, sentAt: readonly number[]): number[] {
  const inOrder = [...firstAt].sort(([a], [b]) => a - b).map(([, at]) => at);
  return inOrder.slice(0, sentAt.length).map((at, i) => at - (sentAt[i] ?? at));
}

function checkMoves({ recipients, lastAt }: Told, members: number, startedAt: number): void {
  if (performance.now() - Math.max(lastAt, startedAt) < QUIET_MS) return;
  throw new Error(`${recipients} of ${members} members were reached, and no more`);
}
