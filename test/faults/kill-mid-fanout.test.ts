/**
 * Killed in mid fan-out: kill -9 of the node, of nats-server, and of both, again and again under a
 * load of posts; then the accountant settles the books: 0 lost after 250, 0 wrong, duplicates ≤
 * transactions in flight.
 *
 * `TROUPE_KILLS` says how often (25), `TROUPE_SEED` in which order; the seed is in the summary.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import { type Account, type Kill, settle } from '../support/accountant.ts';
import { type JournalFile, type JournalLine, openJournalFile } from '../support/journal.ts';
import { growing, type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { createTap, makePost, type Post, sendLoad } from '../support/smtp-load.ts';
import { dumpStream } from '../support/streams-dump.ts';
import { until } from '../support/until.ts';

const KILLS = Number(process.env.TROUPE_KILLS ?? 25);
const SEED = Number(process.env.TROUPE_SEED ?? Date.now() % 1_000_000);
/** Members of each list. */
const LISTS = [300, 400, 500].map((members, i) => ({ address: `big${i}@${DOMAIN}`, members }));
/** Transactions in flight at once: what one kill may repeat. */
const CONNECTIONS = 8;
const POSTS_A_KILL = 4;
/** Posts to a small list that are on their way in at each kill. */
const SMALL = `small@${DOMAIN}`;
const BURST = 16;
/** Every so many posts one is by a stranger, and is held. */
const STRANGER_EVERY = 5;
/** A member leaves and another joins every so many kills. */
const CHANGE_EVERY = 5;
const MID_FANOUT_MS_MAX = 8_000;
const QUIET_MS_MAX = 300_000;
const TEST_MS_MAX = 2 * QUIET_MS_MAX + 30_000 * KILLS;

let directory: string;
let sink: SinkProcess;
let site: TestSite;
let journal: JournalFile;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-kill-'));
  journal = openJournalFile(join(directory, 'journal'));
  sink = await startSinkProcess();
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url, connections: CONNECTIONS }],
    env: { TROUPE_OUTGOING_ACK_WAIT_MS: '10000', TROUPE_LOG_LEVEL: 'warn' },
  });
  for (const [i, { address, members }] of LISTS.entries()) {
    await site.troupe('list', 'create', address, '--owner', 'owner@sink.example');
    const file = join(directory, `members${i}`);
    const names = Array.from({ length: members }, (_, m) => `m${m}.l${i}@sink.example`);
    writeFileSync(file, `${names.join('\n')}\n`);
    await site.troupe('member', 'import', address, file);
  }
  await site.troupe('list', 'create', SMALL, '--owner', 'owner@sink.example');
  await site.troupe('member', 'add', SMALL, 'm1.l0@sink.example', 'm1.l1@sink.example');
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
  journal?.close();
  if (directory) rmSync(directory, { recursive: true, force: true });
});

/** mulberry32: small, and the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const listAt = (i: number) => LISTS[i % LISTS.length] ?? { address: '', members: 0 };

const isStranger = (i: number): boolean => i % STRANGER_EVERY === STRANGER_EVERY - 1;

function postOf(i: number): Post {
  const { address } = listAt(i);
  const from = isStranger(i) ? 'stranger@else.example' : `m1.l${i % LISTS.length}@sink.example`;
  return makePost(`p${i}`, address, from);
}

/** The next posts of the load: to the large lists in turn, and the copies that they make. */
function bigPosts(from: number): { readonly posts: Post[]; readonly copies: number } {
  const numbers = Array.from({ length: POSTS_A_KILL }, (_, i) => from + i);
  const accepted = numbers.filter((i) => !isStranger(i));
  return {
    posts: numbers.map(postOf),
    copies: accepted.reduce((sum, i) => sum + listAt(i).members, 0),
  };
}

/** Posts to a small list: some are between DATA and 250 when the kill comes. */
function burst(kill: number): Post[] {
  return Array.from({ length: BURST }, (_, i) =>
    makePost(`s${kill}-${i}`, SMALL, 'm1.l0@sink.example', 1_024),
  );
}

/**
 * The same journal, and a promise of the next acks: what is killed then is killed in the midst of
 * others.
 */
function countAcks(of: JournalFile) {
  let acked = 0;
  let wake: () => void = () => undefined;
  return {
    journal: {
      ...of,
      write(line: Parameters<JournalFile['write']>[0]) {
        of.write(line);
        if (line.kind !== 'acked') return;
        acked++;
        wake();
      },
    },
    /** Resolves at once with the ack that makes it `count` more than now, or after `ms`. */
    more(count: number, ms: number): Promise<void> {
      const wanted = acked + count;
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        wake = () => {
          if (acked < wanted) return;
          clearTimeout(timer);
          resolve();
        };
      });
    },
  };
}

/**
 * Kills, and brings back what does not come back by itself; resolves when the site is ready again.
 */
async function strike(what: 'node' | 'nats' | 'both'): Promise<Kill> {
  const { pid } = site.nats();
  const at = Date.now();
  await Promise.all([
    ...(what === 'nats' ? [] : [site.killNode()]),
    ...(what === 'node' ? [] : [site.killNats()]),
  ]);
  if (what === 'nats') {
    await until('another nats-server runs', () => (site.nats().pid !== pid ? true : null));
    await until('the node is ready again', async () => {
      const { status } = await fetch(`http://127.0.0.1:${site.ports().httpPort}/ready`);
      return status === 200 ? true : null;
    });
  } else {
    await site.start();
  }
  return { at, what };
}

type QueueState = { readonly name: string; readonly waiting: number; readonly inHand: number };

/** Nothing waits anywhere, twice in a row, and nothing was parked. */
async function untilQuiet(): Promise<void> {
  let quiet = 0;
  await until(
    'all queues are empty',
    async () => {
      const { queues } = await site.troupe<{ queues: QueueState[] }>('queue', 'ls');
      const busy = queues.filter(({ waiting, inHand }) => waiting + inHand > 0);
      const outboxes = await Promise.all(
        [SMALL, ...LISTS.map(({ address }) => address)].map((address) =>
          site.troupe<{ outbox: { waiting: number } }>('inspect', 'list', address),
        ),
      );
      const isBusy = busy.length > 0 || outboxes.some(({ outbox }) => outbox.waiting > 0);
      quiet = isBusy ? 0 : quiet + 1;
      if (isBusy)
        throw new Error(JSON.stringify({ busy, outboxes: outboxes.map((o) => o.outbox) }));
      return quiet >= 2 ? true : null;
    },
    QUIET_MS_MAX,
  );
  expect((await site.troupe<{ parked: object }>('queue', 'ls')).parked).toEqual({});
}

async function changeMembers(times: number): Promise<void> {
  const list = times % LISTS.length;
  const { address } = listAt(list);
  await site.troupe('member', 'remove', address, `m${10 + times}.l${list}@sink.example`);
  await site.troupe('member', 'add', address, `late${times}.l${list}@sink.example`);
}

/** Kills that fell between two copies of one post. */
function countMidFanout(kills: readonly Kill[]): number {
  const posts = [...Map.groupBy(sink.lines(), ({ marker }) => marker)];
  const spans = posts
    .filter(([marker]) => marker !== '')
    .map(([, lines]) => [lines[0]?.at ?? 0, lines.at(-1)?.at ?? 0] as const);
  return kills.filter(({ at }) => spans.some(([first, last]) => first < at && at < last)).length;
}

function summary(account: Account, kills: readonly Kill[], resent: number): string {
  const counts = Object.entries(Object.groupBy(kills, ({ what }) => what));
  const atKill = Object.entries(
    Object.groupBy(account.duplicates, ({ kill }) => kills[kill ?? -1]?.what ?? 'none'),
  );
  const { acked, accepted, held, copies, lost, wrong, broken, duplicates } = account;
  return [
    `${kills.length} kills (${counts.map(([what, of]) => `${of?.length} ${what}`).join(', ')})`,
    `${countMidFanout(kills)} of them in mid fan-out`,
    `seed ${SEED}`,
    `${acked} posts acked (${accepted} accepted, ${held} held; ${resent} sent again)`,
    `${copies} copies`,
    `${lost.length} lost, ${wrong.length} wrong, ${broken.length} broken`,
    `${duplicates.length} duplicates, at most ${CONNECTIONS} a kill ` +
      `(${atKill.map(([what, of]) => `${of?.length} ${what}`).join(', ')})`,
  ].join('; ');
}

test(`${KILLS} kills in mid fan-out: 0 lost after 250, 0 wrong, duplicates ≤ transactions in flight`, {
  timeout: TEST_MS_MAX,
}, async () => {
  onTestFailed(() => console.error(site.log()));
  const random = randomOf(SEED);
  const tap = createTap();
  const acks = countAcks(journal);
  const load = sendLoad({
    posts: tap.posts,
    connections: 4,
    port: () => site.ports().smtpPort,
    journal: acks.journal,
    postMsMax: QUIET_MS_MAX,
  });
  load.catch(() => undefined); // Told where it is awaited.
  const kills: Kill[] = [];
  for (let i = 0; i < KILLS; i++) {
    const before = sink.lines().length;
    const { posts, copies } = bigPosts(i * POSTS_A_KILL);
    tap.let(posts);
    const part = Math.ceil(copies * (0.05 + 0.8 * random()));
    await sink.waitFor(before + part, MID_FANOUT_MS_MAX).catch(() => undefined);
    const what = (['node', 'nats', 'both'] as const)[Math.floor(random() * 3)] ?? 'node';
    tap.let(burst(i));
    await acks.more(1 + Math.floor(random() * BURST), MID_FANOUT_MS_MAX);
    kills.push(await strike(what));
    if (i % CHANGE_EVERY === CHANGE_EVERY - 1) await changeMembers(i);
  }
  tap.end();
  const { resent, refused } = await load;
  await untilQuiet();

  const account = settle({
    journal: growing<JournalLine>(join(directory, 'journal'))(),
    sink: sink.lines(),
    ledger: await dumpStream(site.nats(), 'TROUPE_LEDGER'),
    archive: await dumpStream(site.nats(), 'TROUPE_ARCHIVE'),
    kills,
  });
  console.log(summary(account, kills, resent));
  const { lost, wrong, broken, duplicates } = account;
  const shown = (all: readonly string[]) => all.slice(0, 20);
  expect({ lost: shown(lost), wrong: shown(wrong), broken: shown(broken) }).toEqual({
    ...{ lost: [], wrong: [], broken: [] },
  });
  expect(countMidFanout(kills)).toBeGreaterThanOrEqual(KILLS / 2);
  expect(refused).toBe(0);
  expect(account.acked).toBe(KILLS * (POSTS_A_KILL + BURST));
  const byKill = Map.groupBy(duplicates, ({ kill }) => kill);
  expect(byKill.get(null) ?? []).toEqual([]);
  for (const [kill, of] of byKill)
    expect(of.length, `kill ${kill}`).toBeLessThanOrEqual(CONNECTIONS);
});
