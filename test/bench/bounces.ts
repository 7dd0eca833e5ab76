/**
 * Bounces of a large list: DSNs by SMTP to the return paths of a real post, until all are folded and written. Meanwhile the
 * roster is paged and members subscribe, so many times a second whatever the answers take, each timed from when it was due: the
 * list must not notice. The limit is nats-server storing what is stored of so many bounces, with nothing else to do.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { BouncesPage } from '../../actors/bounces/report.ts';
import type { RosterPage } from '../../actors/protocol.ts';
import { aside, type Bench, CPU_COLUMNS, figure, none } from './bench.ts';
import { foldedOf, STATUSES, sendDsns, untilFolded } from './dsn-load.ts';
import { percentile } from './figures.ts';
import { storeRate } from './limits.ts';
import { sendPosts } from './load.ts';
import { bouncesOfMailman } from './mailman-bounces.ts';
import { type ReturnPaths, startReturnPaths } from './return-paths.ts';
import {
  adding,
  addressOf,
  type BenchList,
  type BenchSite,
  cpuOfEach,
  makeList,
  memberOf,
  openSite,
  tell,
} from './site.ts';

const CONNECTIONS = 20;
/** Before the first run, so that it measures no code that never ran. */
const WARM_UP_MAX = 1_000;
const PAGE = 50;
const LOOK_MS = 20;
const QUIET_MS = 60_000;
const POST_BYTES = 1_024;
/** Bytes of what is stored of a bounce: the mail, and the event with what it quotes of it. */
const STORED = [1_300, 1_500].map((bytes) => Buffer.alloc(bytes, 'x'));

export const bounces: Bench = {
  name: 'bounces',
  what: 'DSNs to the return paths of a post, folded and written, while the roster is read and members join',
  peer: 'Mailman 3: 3–17 a second while its runner is awake; a page of the roster takes 0.6–2.2 s meanwhile',
  flags: {
    members: { what: 'members of the list', default: 138_000 },
    count: { what: 'DSNs of one run', default: 5_000 },
    events: { what: 'bounces of a checkpoint', default: 1_000 },
    ms: { what: 'or ms of one', default: 5_000 },
    others: { what: 'roster pages a second, and as many subscriptions', default: 50 },
    beside: {
      what: 'the same on Mailman 3 first, where it is installed',
      default: 'mailman3',
      choices: ['mailman3', 'nothing'],
    },
  },
  says: ['members', 'count'],
  columns: [
    figure('perSecond', 0, { atLeast: 1_000 }),
    figure('rosterP99Ms', 1, { atMost: 50 }),
    figure('subscribeP99Ms', 1, { atMost: 50 }),
    figure('checkpoints', 0),
    figure('bytesWrittenPerBounce', 0),
    none('lost'),
    figure('mailman3PerSecond', 1),
    figure('ratio', 0),
    aside('acceptedPerSecond'),
    aside('storedPerSecond'),
    ...CPU_COLUMNS,
  ],
  tools: [],
  async open(flags, scene) {
    const members = flags.number('members');
    const count = flags.number('count');
    const isBeside = flags.text('beside') === 'mailman3';
    const mailman3PerSecond = isBeside ? await bouncesOfMailman(scene, members) : Number.NaN;
    const sink = await startReturnPaths(scene);
    const bench = await openSite(
      scene,
      { sink: { url: sink.url }, connections: 10 },
      {
        TROUPE_BOUNCES_CHECKPOINT_EVENTS: String(flags.number('events')),
        TROUPE_BOUNCES_CHECKPOINT_MS: String(flags.number('ms')),
      },
    );
    scene.say(`a list of ${members} members`);
    const list = await makeList(bench, 'large', {}, members);
    const warmUp = Math.min(count, WARM_UP_MAX);
    return async (run) => {
      // Each copy bounces once: when all of them have, another post is sent.
      const upTo = warmUp + run * count;
      while (sink.all().length < upTo) await post(bench, sink, list, members, scene.say);
      if (run === 1) {
        const first = { paths: sink.all().slice(0, warmUp), statuses: STATUSES.slice(-1) };
        await sendDsns(bench, { connections: CONNECTIONS, ...first });
        await untilFolded(bench, list, warmUp);
      }
      const paths = sink.all().slice(upTo - count, upTo);
      const storedPerSecond = await storeRate(bench, new Array(count).fill(STORED), CONNECTIONS);
      const before = {
        cpu: bench.cpuMs(),
        counts: await counters(bench),
        folded: await foldedOf(bench, list),
      };
      const others = disturb(bench, list, run, flags.number('others'));
      const statuses = [STATUSES[run % STATUSES.length] ?? '5.1.1'];
      const sent = await sendDsns(bench, { connections: CONNECTIONS, paths, statuses });
      await untilFolded(bench, list, before.folded + paths.length);
      const seconds = (performance.now() - sent.startedAt) / 1_000;
      const { rosterMs, subscribeMs } = await others();
      const after = await counters(bench);
      const wrote = after.bytes - before.counts.bytes;
      const perSecond = paths.length / seconds;
      return {
        ...{ perSecond, mailman3PerSecond, ratio: perSecond / mailman3PerSecond },
        storedPerSecond,
        acceptedPerSecond: (paths.length * 1_000) / (sent.endedAt - sent.startedAt),
        rosterP99Ms: percentile(rosterMs, 99),
        subscribeP99Ms: percentile(subscribeMs, 99),
        checkpoints: after.checkpoints - before.counts.checkpoints,
        bytesWrittenPerBounce: wrote / paths.length,
        lost: upTo - (await countedOf(bench, list)),
        ...cpuOfEach(before.cpu, bench.cpuMs(), paths.length),
      };
    };
  },
};

async function post(
  { site }: BenchSite,
  sink: ReturnPaths,
  list: BenchList,
  members: number,
  say: (text: string) => void,
): Promise<void> {
  const before = sink.all().length;
  const port = site.ports().smtpPort;
  const load = { connections: 1, posts: 1, bytes: POST_BYTES, lists: [list.address] };
  await sendPosts({ ...load, port, sender: memberOf(1) });
  let seen = before;
  for (let lookedAt = performance.now(); seen < before + members; await pause(LOOK_MS)) {
    if (sink.all().length > seen) lookedAt = performance.now();
    seen = sink.all().length;
    if (performance.now() - lookedAt > QUIET_MS) throw new Error(`${seen} copies, and no more`);
  }
  say(`the post went to ${members} members`);
}

/** Pages through the roster and adds members, `perSecond` of each, until what it gives back is called. */
function disturb(bench: BenchSite, list: BenchList, run: number, perSecond: number) {
  const asker = bench.asker();
  const state = { isOver: false };
  const rosterMs: number[] = [];
  const subscribeMs: number[] = [];
  let after = 0;
  const page = async (): Promise<void> => {
    const asked = { ask: 'roster', role: 'member', after, limit: PAGE } as const;
    const reply = await asker.question(list.key, asked);
    if (!reply.ok) throw new Error(JSON.stringify(reply));
    after = (reply.answer as RosterPage).next ?? 0;
  };
  const subscribe = async (i: number): Promise<void> => {
    const command = adding([addressOf(`b${run}-${i}@members.example`)]);
    await tell(asker, list.key, `b.${run}.${i}`, command);
  };
  /** Each when it is due, and not one after the other: a slow answer delays no next question. */
  const regularly = async (ask: (i: number) => Promise<void>, tookMs: number[]): Promise<void> => {
    const startedAt = performance.now();
    const asked: Promise<void>[] = [];
    const failures: unknown[] = [];
    for (let i = 0; !state.isOver; i += 1) {
      const dueAt = startedAt + (i * 1_000) / perSecond;
      await pause(Math.max(0, dueAt - performance.now()));
      const answered = (): void => void tookMs.push(performance.now() - dueAt);
      asked.push(ask(i).then(answered, (error: unknown) => void failures.push(error)));
    }
    await Promise.all(asked);
    if (failures.length > 0) throw failures[0];
  };
  const both = Promise.all([regularly(page, rosterMs), regularly(subscribe, subscribeMs)]);
  return async () => {
    state.isOver = true;
    await both;
    return { rosterMs, subscribeMs };
  };
}

// ── Looking ───────────────────────────────────────────────────────────────

/** Copies that some member's score has. */
async function countedOf(bench: BenchSite, list: BenchList): Promise<number> {
  let counted = 0;
  for (let after = 0; ; ) {
    const reply = await bench.asker().question(list.key, { ask: 'bounces', after, limit: 1_000 });
    if (!reply.ok) throw new Error(JSON.stringify(reply));
    const { bouncing, next } = reply.answer as unknown as BouncesPage;
    counted += bouncing.reduce((sum, { bounces: many }) => sum + many, 0);
    if (next === null) return counted;
    after = next;
  }
}

async function counters({ site }: BenchSite): Promise<{ checkpoints: number; bytes: number }> {
  const page = await (await fetch(`http://127.0.0.1:${site.ports().httpPort}/metrics`)).text();
  const counted = (name: string): number =>
    Number(new RegExp(`^troupe_${name}_total(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(page)?.[1] ?? 0);
  return { checkpoints: counted('bounce_checkpoints'), bytes: counted('bounce_checkpoint_bytes') };
}
