/**
 * Bounces that arrive during a post to the same list: how much later its last copy is at `smtp-sink`, beside the same post with
 * nothing else going on. The bounces are DSNs by SMTP to the return paths of a post before, all of them offered at once; the edge
 * lets in so many a second while it sends (`arrivedDuring`), the rest afterwards; each post is timed from its 250, one with and one without in turn.
 */
import { aside, type Bench, figure, none } from './bench.ts';
import { foldedOf, returnPathsOf, STATUSES, sendDsns, untilFolded } from './dsn-load.ts';
import { fanOut } from './fanout.ts';
import { type BenchList, type BenchSite, makeList, openSite } from './site.ts';
import { SMTP_TOOLS, startSink } from './tools.ts';

const ROUTE_CONNECTIONS = 5;
const BOUNCE_CONNECTIONS = 20;

export const duringPost: Bench = {
  name: 'during-post',
  what: 'a post to a large list while bounces of an earlier one come in, over the same post alone',
  peer: '',
  flags: {
    members: { what: 'members of the list', default: 138_000 },
    count: { what: 'bounces that arrive', default: 20_000 },
  },
  runs: 5,
  says: ['members', 'count'],
  columns: [
    figure('postGrowth', 3, { atMost: 1.1 }),
    figure('aloneMs', 0),
    figure('withBouncesMs', 0),
    none('lost'),
    figure('arrivedDuring', 0),
    aside('bouncesPerSecond'),
  ],
  tools: SMTP_TOOLS,
  async open(flags, scene) {
    const members = flags.number('members');
    const count = flags.number('count');
    const sink = await startSink(scene);
    const bench = await openSite(scene, { sink, connections: ROUTE_CONNECTIONS });
    scene.say(`a list of ${members} members`);
    const list = await makeList(bench, 'large', {}, members);
    const post = () => fanOut(bench, sink, list.address, members, 'individual');
    await post();
    return async (run) => {
      const before = await foldedOf(bench, list);
      // Whoever goes first finds the machine otherwise: that changes with each run.
      const first = run % 2 === 0 ? await post() : null;
      const bouncing = await bounceBack(bench, list, { run, members, count });
      const withBounces = await post();
      const bounced = await bouncing.loaded;
      await untilFolded(bench, list, before + count);
      const alone = first ?? (await post());
      const seconds = (bounced.endedAt - bounced.startedAt) / 1_000;
      return {
        postGrowth: withBounces.lastMs / alone.lastMs,
        aloneMs: alone.lastMs,
        withBouncesMs: withBounces.lastMs,
        lost: before + count - (await foldedOf(bench, list)),
        arrivedDuring: bouncing.at.filter((at) => at <= withBounces.lastAt).length,
        bouncesPerSecond: count / seconds,
      };
    };
  },
};

/** DSNs to the return paths of so many copies that none came back of before; resolves when they are about to come. */
async function bounceBack(
  bench: BenchSite,
  list: BenchList,
  { run, members, count }: Readonly<Record<'run' | 'members' | 'count', number>>,
) {
  const before = (run - 1) * Math.ceil(count / members);
  const copies = Array.from({ length: count }, (_, i) => ({
    member: 1 + (i % members),
    post: 1 + before + Math.floor(i / members),
  }));
  const paths = await returnPathsOf(bench, list, copies);
  const at: number[] = [];
  const onSent = (): void => void at.push(performance.now());
  const load = { connections: BOUNCE_CONNECTIONS, paths, statuses: STATUSES, onSent };
  return {
    loaded: sendDsns(bench, load),
    /** When each came, performance.now(). */
    at,
  };
}
