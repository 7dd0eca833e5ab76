/**
 * Posts to small lists over three MTAs of weights 5:3:2. First all three live: who got how much. Then as many posts again;
 * once all are taken and only sending is left, the largest is killed and revived: how far the throughput dips beside the
 * moments before, how soon it has its share again, and whether anybody lacks a post or has one twice.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { inspectRoute } from '../../src/nats/subjects.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { until } from '../support/until.ts';
import { aside, type Bench, figure, none } from './bench.ts';
import { sendPosts } from './load.ts';
import { type BenchSite, makeList, memberOf, openSite } from './site.ts';

const BYTES = 2_048;
const WEIGHTS = [5, 3, 2];
const CONNECTIONS = 5;
const LOAD_CONNECTIONS = 10;
const LISTS = 50;
/** Between the last 250 and the kill: what the dip is measured against. */
const STEADY_MS = 2_000;
const DOWN_MS = 4_000;
/** The worst of these while it is down is the dip: as long as the other, so that a stall shows and a hiccup does not. */
const WINDOW_MS = 2_000;
const WINDOW_STEP_MS = 250;
const QUIET_MS = 60_000;
const LOOK_MS = 25;

type Copy = { readonly at: number; readonly what: string; readonly messageId: string };

export const routes: Bench = {
  name: 'routes',
  what: 'posts to small lists over three weighted MTAs, of which one is killed and revived',
  peer: '',
  flags: {
    chunks: { what: 'posts of one chunk each, in each half of a run', default: 5_000 },
    members: { what: 'members of each list', default: 3 },
  },
  says: [],
  columns: [
    figure('shareError', 4, { atMost: 0.02 }),
    figure('dip', 2, { atMost: 0.4 }),
    figure('recoverS', 1, { atMost: 10 }),
    none('lost'),
    figure('duplicates', 0),
    aside('perSecond'),
  ],
  tools: [],
  async open(flags, scene) {
    const [members, chunks] = [flags.number('members'), flags.number('chunks')];
    const sinks = await Promise.all(WEIGHTS.map(() => startSinkProcess()));
    for (const sink of sinks) scene.closing(sink.close);
    const bench = await openSite(
      scene,
      sinks.map(({ url }, i) => ({
        ...{ name: `mta${i + 1}`, url, weight: WEIGHTS[i] ?? 1, connections: CONNECTIONS },
      })),
    );
    const lists: string[] = [];
    for (let i = 0; i < LISTS; i++) {
      lists.push((await makeList(bench, `list-${i}`, {}, members)).address);
    }
    const post = (posts: number) => {
      const load = { connections: LOAD_CONNECTIONS, posts, bytes: BYTES, lists };
      return sendPosts({ ...load, sender: memberOf(1), port: bench.site.ports().smtpPort });
    };
    const goneTo = watchSinks(sinks);
    await post(chunks / 10);
    await goneTo.allHave((chunks / 10) * members);
    return async () => {
      const since = goneTo.mark();
      const shared = await post(chunks);
      await goneTo.allHave(chunks * members, since);
      const half = goneTo.mark();
      const sent = await post(chunks);
      const times = await killAndRevive(bench, sinks);
      await goneTo.allHave(chunks * members, half);
      const copies = goneTo.since(since);
      const firsts = goneTo.since(since, half);
      const missing = chunks * 2 * members - new Set(copies.flat().map(({ what }) => what)).size;
      const after = goneTo.since(half).flat();
      const { killedAt, recoverMs } = times;
      const steady = inWindow(after, killedAt - STEADY_MS, killedAt) * (1_000 / STEADY_MS);
      return {
        shareError: shareError(firsts),
        dip: Math.max(0, 1 - worstRate(after, killedAt, killedAt + DOWN_MS) / steady),
        recoverS: recoverMs / 1_000,
        lost: missing + strangers(copies.flat(), [...shared.messageIds, ...sent.messageIds]),
        duplicates: copies.flat().length - (chunks * 2 * members - missing),
        perSecond: steady / members,
      };
    };
  },
};

/** Kills the first, and waits until it has its whole slice again. */
async function killAndRevive(
  { nats }: BenchSite,
  [first]: readonly SinkProcess[],
): Promise<{ killedAt: number; recoverMs: number }> {
  if (first === undefined) throw new Error('no sink');
  await pause(STEADY_MS);
  const killedAt = Date.now();
  await first.kill();
  await pause(DOWN_MS);
  await first.restart();
  const revivedAt = Date.now();
  await until(
    'the killed MTA carries its share again',
    async () => {
      const answer = await nats().nc.request(inspectRoute('mta1'), '', { timeout: 5_000 });
      return (answer.json() as { mode: string }).mode === 'closed' ? true : null;
    },
    QUIET_MS,
  );
  return { killedAt, recoverMs: Date.now() - revivedAt };
}

// ── What came ─────────────────────────────────────────────────────────────

type Mark = readonly number[];

/** Copies at each sink, by how far its log was. */
function watchSinks(sinks: readonly SinkProcess[]) {
  const start = sinks.map(() => 0);
  const mark = (): Mark => sinks.map((sink) => sink.lines().length);
  const since = (from: Mark, to?: Mark): Copy[][] =>
    sinks.map((sink, i) =>
      sink
        .lines()
        .slice(from[i], to?.[i])
        .flatMap(({ at, messageId, recipients }) =>
          recipients.map((one) => ({ at, messageId, what: `${messageId} ${one}` })),
        ),
    );
  return {
    mark,
    since,
    /** Resolves when so many different copies came; throws when nothing more does. */
    async allHave(copies: number, from: Mark = start): Promise<void> {
      const seen = new Set<string>();
      let at = from;
      for (let movedAt = performance.now(); seen.size < copies; await pause(LOOK_MS)) {
        const next = mark();
        const before = seen.size;
        for (const { what } of since(at, next).flat()) seen.add(what);
        at = next;
        if (seen.size > before) movedAt = performance.now();
        if (performance.now() - movedAt > QUIET_MS) return;
      }
    },
  };
}

/** How far the share of any MTA is from its weight, as a part of all posts. */
function shareError(copies: readonly (readonly Copy[])[]): number {
  const posts = copies.map((some) => new Set(some.map(({ messageId }) => messageId)).size);
  const all = posts.reduce((sum, one) => sum + one, 0);
  const weights = WEIGHTS.reduce((sum, one) => sum + one, 0);
  return Math.max(...posts.map((one, i) => Math.abs(one / all - (WEIGHTS[i] ?? 0) / weights)));
}

/** The fewest copies a second in any window between two times. Throws where they ended before one was over. */
function worstRate(copies: readonly Copy[], from: number, to: number): number {
  const last = Math.max(...copies.map(({ at }) => at));
  const rates: number[] = [];
  for (let at = from; at + WINDOW_MS <= Math.min(to, last); at += WINDOW_STEP_MS) {
    rates.push((inWindow(copies, at, at + WINDOW_MS) * 1_000) / WINDOW_MS);
  }
  if (rates.length === 0) throw new Error('all was sent before the kill: give more --chunks');
  return Math.min(...rates);
}

const inWindow = (copies: readonly Copy[], from: number, to: number): number =>
  copies.filter(({ at }) => at >= from && at < to).length;

/** Copies of posts that nobody sent: there must be none. */
function strangers(copies: readonly Copy[], messageIds: readonly string[]): number {
  const known = new Set(messageIds);
  return copies.filter(({ messageId }) => !known.has(messageId)).length;
}
