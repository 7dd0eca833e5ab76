/**
 * The crash windows of reliability §2.9: the process dies at a place between two steps, is started
 * again, and the mail comes out as if nothing had been. At the end the accountant settles the books
 * of all of them.
 *
 * Rows that are shown elsewhere:
 *   14   here, and test/runners/outgoing.test.ts: a connection lost after the final dot is a maybe
 *   19   here, and test/host/host.test.ts: window 19; test/faults/store-lost.test.ts;
 *        test/faults/full-disk.test.ts: full
 *   20   here, and test/faults/nats-away.test.ts: away; test/nats/mail-store.test.ts: full;
 *        test/faults/store-lost.test.ts: shorter than the rows
 *   22   here, and test/faults/killed-while-bounces-come.test.ts
 */
import { cpSync, mkdtempSync, renameSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import type { Command } from '../../actors/protocol.ts';
import { silentLog } from '../../src/log.ts';
import type { Address } from '../../src/mail/address.ts';
import type { ListKey } from '../../src/mail/list-key.ts';
import { connect } from '../../src/nats/connect.ts';
import { mailboxOut } from '../../src/nats/outlets.ts';
import { createPublisher } from '../../src/nats/publisher.ts';
import { createMachineClock, type MachineClock } from '../crashlab/clock.ts';
import { type Kill, settle } from '../support/accountant.ts';
import { dsnFrom } from '../support/dsns.ts';
import { type JournalFile, type JournalLine, openJournalFile } from '../support/journal.ts';
import { sendOnce } from '../support/send-mail.ts';
import { growing, type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, runTroupe, startTestSite, type TestSite } from '../support/site.ts';
import { type Loaded, makePost, sendLoad } from '../support/smtp-load.ts';
import { dumpStream } from '../support/streams-dump.ts';
import { until } from '../support/until.ts';

const LIST = `dev@${DOMAIN}`;
const MEMBERS = Array.from({ length: 12 }, (_, i) => `m${i}@sink.example`);
const POSTER = 'm0@sink.example';
/** Lists with one member each whom the sink treats by name (sink-moods.ts). */
const GREY = { address: `grey@${DOMAIN}`, members: [POSTER, 'grey@sink.example'] };
const MUTE = { address: `mute@${DOMAIN}`, members: [POSTER, 'mute@sink.example'] };
const ALL = { address: LIST, members: MEMBERS };
/** Whom the sink refuses for now is tried again so soon. */
const RETRY_MS_MAX = 1_000;
/** Transactions at once: what a crash may repeat. */
const CONNECTIONS = 1;
/** What was in hand comes again after its ack_wait, of which mail's is the longest: 30 s. */
const AGAIN_MS_MAX = 180_000;
const TEST_MS_MAX = 600_000;
/** A node that starts appends so many records and sets so many rows: one a slot. */
const SLOTS = 64;
const HOUR_MS = 3_600_000;
/** More than one piece of 512 KiB. */
const LARGE_BYTES = 900_000;

let directory: string;
let sink: SinkProcess;
let site: TestSite;
let journal: JournalFile;
/** The node's wall clock, which may jump. */
let clock: MachineClock;
let posts = 0;
const kills: Kill[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-windows-'));
  journal = openJournalFile(join(directory, 'journal'));
  sink = await startSinkProcess({ moods: 'names' });
  clock = createMachineClock(directory, 'node');
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url, connections: CONNECTIONS }],
    env: {
      ...clock.env,
      TROUPE_OUTGOING_ACK_WAIT_MS: '10000',
      TROUPE_OUTGOING_RETRY_MS_MAX: String(RETRY_MS_MAX),
      TROUPE_BOUNCES_CHECKPOINT_EVENTS: '1',
    },
  });
  for (const { address, members } of [ALL, GREY, MUTE]) {
    await site.troupe('list', 'create', address, '--owner', 'owner@sink.example');
    await site.troupe('member', 'add', address, ...members);
  }
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
  journal?.close();
  if (directory) rmSync(directory, { recursive: true, force: true });
});

const copiesOf = (marker: string): string[] =>
  sink.lines().flatMap((line) => (line.marker === marker ? line.recipients : []));

type List = { readonly address: string; readonly members: readonly string[] };

/** Posts, and sends again until there is an answer. */
function post(marker: string, list: List, bytes = 800): Promise<Loaded> {
  posts += 1;
  const load = sendLoad({
    posts: [makePost(marker, list.address, POSTER, bytes)],
    connections: 1,
    port: () => site.ports().smtpPort,
    journal,
    postMsMax: AGAIN_MS_MAX,
  });
  load.catch(() => undefined); // Told where it is awaited.
  return load;
}

const copiesCame = (marker: string, { members }: List): Promise<unknown> =>
  until(
    `the copies of ${marker}`,
    () => (new Set(copiesOf(marker)).size === members.length ? true : null),
    AGAIN_MS_MAX,
  );

/** Each one that dies, of itself or not, may have a transaction in flight. */
const died = (what: string): void => void kills.push({ at: Date.now(), what });

async function killNode(): Promise<void> {
  died('killed');
  await site.killNode();
}

/** Posts once with a node that dies at `place`, and once more with the one that comes after it. */
async function crashAt(place: string, marker: string, list: List, bytes?: number): Promise<void> {
  await killNode();
  // It may die while it starts, of what an earlier window left it to do.
  await site.start({ CRASH_AT: place }).catch(() => undefined);
  const load = post(marker, list, bytes);
  await site.ended();
  died(place);
  await site.start();
  expect(await load).toMatchObject({ acked: 1, refused: 0 });
  await copiesCame(marker, list);
}

type Window = {
  readonly row: string;
  readonly place: string;
  readonly bytes?: number;
  readonly doubled?: number;
  readonly list?: List;
};

const WINDOWS: readonly Window[] = [
  {
    row: '1: parts stored, last message of a mail not',
    place: 'stored troupe.mail.part',
    bytes: LARGE_BYTES,
  },
  { row: '2 and 3: MAIL acknowledged, 250 not written', place: 'stored troupe.mail.post' },
  { row: '4 and 8: decided by its list, MAIL not acked', place: 'ack troupe.mail.post' },
  { row: '5: command delivered, not appended', place: `publish troupe.ledger:${SLOTS + 1}` },
  {
    row: '6 and 7: appended, answer lost, LMDB not committed',
    place: `stored troupe.ledger:${SLOTS + 1}`,
  },
  { row: '9: a chunk is to be put', place: 'publish troupe.outgoing' },
  { row: '10: effects done, `done` not appended', place: 'stored troupe.outgoing' },
  { row: "11: MTA's 250, journal not flushed", place: 'accepted:5', doubled: CONNECTIONS },
  { row: '12: journal flushed, RESULTS not', place: 'journaled:5' },
  { row: '13: RESULTS `done`, chunk not acked', place: 'ack troupe.outgoing' },
  { row: '15: LATER put, chunk not acked', place: 'stored troupe.later', list: GREY },
  { row: '16: due message forwarded, not acked', place: 'ack troupe.due', list: GREY },
];

test.each(WINDOWS)('window $row', { timeout: TEST_MS_MAX }, async (window) => {
  onTestFailed(() => console.error(site.log()));
  const marker = `w${WINDOWS.indexOf(window)}`;
  const list = window.list ?? ALL;
  await crashAt(window.place, marker, list, window.bytes);
  const more = copiesOf(marker).length - list.members.length;
  expect(more).toBeLessThanOrEqual(window.doubled ?? 0);
});

test('window 8: a command of MAILBOX committed, not acked: it counts once', {
  timeout: TEST_MS_MAX,
}, async () => {
  const late = { address: `late@${DOMAIN}`, members: [POSTER, 'late@sink.example'] };
  await site.troupe('list', 'create', late.address, '--owner', 'owner@sink.example');
  const { key } = await site.troupe<{ key: ListKey }>('list', 'show', late.address);
  await killNode();
  await site.start({ CRASH_AT: 'ack troupe.mailbox' });
  const nats = await connect({ ...site.nats(), name: 'by hand', log: silentLog });
  const members = late.members.map((address) => ({ address: address as Address, name: '' }));
  const command = { type: 'add-members', members, by: { kind: 'list' } } as const;
  await mailboxOut<Command>(createPublisher(nats)).put(key, { id: 'late', command });
  await nats.close();
  await site.ended();
  died('ack troupe.mailbox');
  await site.start();
  await post('late', late);
  await copiesCame('late', late);
  expect(copiesOf('late')).toHaveLength(late.members.length);
});

test('window 14: final dot sent, no reply: a maybe, which is tried again', {
  timeout: TEST_MS_MAX,
}, async () => {
  const marker = 'unanswered';
  await post(marker, MUTE);
  await until(
    'the second copy',
    () => {
      const copies = copiesOf(marker).filter((one) => one.startsWith('mute'));
      return copies.length === 2 ? true : null;
    },
    AGAIN_MS_MAX,
  );
  const page = await (await fetch(`http://127.0.0.1:${site.ports().httpPort}/metrics`)).text();
  expect(page).toMatch(/^troupe_outgoing_maybe_total\{.*\} 1$/m);
  expect(copiesOf(marker)).toHaveLength(MUTE.members.length + 1);
});

test('window 21: the clock jumps on, and back: time does not go back, a timer fires once', {
  timeout: 2 * TEST_MS_MAX,
}, async () => {
  const jumps = [
    { marker: 'ahead', ms: HOUR_MS, list: ALL },
    { marker: 'right', ms: -HOUR_MS, list: ALL },
    { marker: 'behind', ms: -HOUR_MS, list: GREY },
  ];
  let ahead = 0;
  for (const { marker, ms, list } of jumps) {
    clock.jump(ms);
    ahead += ms;
    await until('the node sees it', async () => {
      const { asOf } = await site.troupe<{ asOf: number }>('inspect', 'node');
      return Math.abs(asOf - Date.now() - ahead) < HOUR_MS / 2 ? true : null;
    });
    await post(marker, list);
    await copiesCame(marker, list);
    expect(copiesOf(marker)).toHaveLength(list.members.length);
  }
  clock.jump(HOUR_MS);
  // That it never goes back is in the account at the end.
  const records = await dumpStream(site.nats(), 'TROUPE_LEDGER');
  const times = records.map(
    ({ data }) => (JSON.parse(Buffer.from(data).toString()) as { at: number }).at,
  );
  expect(Math.max(...times)).toBeGreaterThan(Date.now() + HOUR_MS / 2);
});

test.each([
  ['`acquired` appended, bucket not set', 'stored troupe.ledger'],
  ['bucket set, `acquired` not appended', 'publish troupe.ledger'],
])('window 17: %s: one history', { timeout: TEST_MS_MAX }, async (_, place) => {
  await killNode();
  await expect(site.start({ CRASH_AT: place })).rejects.toThrow();
  died(place);
  await site.start();
  const { n } = await site.troupe<{ n: number }>('inspect', 'list', LIST);
  const { posts } = await site.troupe<{ posts: number }>('list', 'show', LIST);
  expect({ n: n > 0, posts: posts > 0 }).toEqual({ n: true, posts: true });
});

/** Posts with a node that dies at `place`, and is not started again; the load goes on (in an array, not to be awaited here). */
async function dieAt(place: string, marker: string): Promise<readonly [Promise<Loaded>]> {
  await killNode();
  await site.start({ CRASH_AT: place }).catch(() => undefined);
  const load = post(marker, ALL);
  await site.ended();
  died(place);
  return [load];
}

async function cameOut(load: Promise<Loaded>, marker: string): Promise<void> {
  expect(await load).toMatchObject({ acked: 1, refused: 0 });
  await copiesCame(marker, ALL);
  expect(copiesOf(marker)).toHaveLength(MEMBERS.length);
}

const inData = (name: string): string => join(site.data, name);

test.each([
  ['lost', () => rmSync(inData('state'), { recursive: true })],
  ['torn', () => truncateSync(join(inData('state'), 'data.mdb'), 10_000)],
])(
  'window 19: killed in a commit, and the rows are %s: folded again',
  {
    timeout: TEST_MS_MAX,
  },
  async (what, damage) => {
    const [load] = await dieAt('commit state', what);
    damage();
    await site.start();
    await cameOut(load, what);
  },
);

test('window 20: NATS goes away as mail is stored and before it is answered: kept, and one post', {
  timeout: TEST_MS_MAX,
}, async () => {
  const [load] = await dieAt('stored troupe.mail.post', 'away');
  await site.killNats();
  await site.start();
  await cameOut(load, 'away');
});

/** Sets how much mail NATS may keep; what it was. */
async function setMailBytes(bytes: (held: number) => number): Promise<number> {
  const nats = await connect({ ...site.nats(), name: 'by hand', log: silentLog });
  const { config, state } = await nats.jsm.streams.info('TROUPE_MAIL');
  await nats.jsm.streams.update('TROUPE_MAIL', { ...config, max_bytes: bytes(state.bytes) });
  await nats.close();
  return config.max_bytes;
}

test('window 20: NATS is full, before and after a crash: 452, and nothing is acknowledged', {
  timeout: TEST_MS_MAX,
}, async () => {
  const before = await setMailBytes((held) => held);
  const [load] = await dieAt('publish troupe.mail.post', 'full');
  await site.start();
  const { message, sender } = makePost('refused', LIST, POSTER, 800);
  const mail = { sender, recipients: [LIST], message };
  expect(await sendOnce(site.ports().smtpPort, mail)).toMatchObject({ code: 452, status: '4.3.1' });
  expect(copiesOf('full')).toEqual([]);
  await setMailBytes(() => before);
  await cameOut(load, 'full');
  expect(copiesOf('refused')).toEqual([]);
});

test('window 20: killed when a record is folded, and NATS has a shorter ledger: it stops and says so', {
  timeout: TEST_MS_MAX,
}, async () => {
  await site.stop();
  const [store, older, whole] = [inData('nats'), inData('nats.older'), inData('nats.whole')];
  cpSync(store, older, { recursive: true });
  await site.start();
  const [load] = await dieAt('stored troupe.outgoing', 'shorter');
  await site.killNats();
  renameSync(store, whole);
  renameSync(older, store);
  await expect(site.start()).rejects.toThrow(/the ledger ends at \d+, but this node has folded it/);
  await site.stop();
  rmSync(store, { recursive: true });
  renameSync(whole, store);
  await site.start();
  await cameOut(load, 'shorter');
});

/** Bounces that a member has by now. */
async function bouncesOf(member: string): Promise<number | null> {
  type Row = { readonly address: string; readonly bounces: number };
  const { members } = await site.troupe<{ members: readonly Row[] }>('bounces', 'ls', LIST);
  return members.find(({ address }) => address === member)?.bounces ?? null;
}

test.each([
  ['folded, not written', 'commit bounces', MEMBERS[1]],
  ['written, not asked', 'committed bounces', MEMBERS[2]],
])(
  'window 22: a bounce checkpoint interrupted: %s: nothing lost or counted twice',
  {
    timeout: TEST_MS_MAX,
  },
  async (_, place, member = '') => {
    const copy = sink.lines().find(({ recipients }) => recipients.includes(member));
    await killNode();
    await site.start({ CRASH_AT: place });
    const dsn = { sender: '', recipients: [copy?.sender ?? ''], message: dsnFrom({ to: member }) };
    expect((await sendOnce(site.ports().smtpPort, dsn)).code).toBe(250);
    await site.ended();
    died(place);
    await site.start();
    expect(await until('the bounce counts', () => bouncesOf(member), AGAIN_MS_MAX)).toBe(1);
  },
);

test('window 18: directory entry new, no create: created again it is one list', async () => {
  const address = `eighteen@${DOMAIN}`;
  const create = ['list', 'create', address, '--owner', 'owner@sink.example'];
  const crash = { ...site.env, CRASH_AT: 'stored $KV.troupe_directory' };
  expect((await runTroupe(crash, create)).code).not.toBe(0);
  await site.troupe(...create);
  const lists = await site.troupe<{ address: string }[]>('list', 'ls');
  expect(lists.filter((list) => list.address === address)).toHaveLength(1);
});

test('all windows together: 0 lost, 0 wrong, one history, duplicates ≤ in flight', async () => {
  const { lost, wrong, broken, duplicates, acked } = settle({
    journal: growing<JournalLine>(join(directory, 'journal'))(),
    sink: sink.lines(),
    ledger: await dumpStream(site.nats(), 'TROUPE_LEDGER'),
    archive: await dumpStream(site.nats(), 'TROUPE_ARCHIVE'),
    kills,
  });
  expect({ acked, lost, wrong, broken }).toEqual({
    acked: posts,
    ...{ lost: [], wrong: [], broken: [] },
  });
  const inFlight = duplicates.filter((one) => one.isFirstUnanswered !== true);
  const byKill = Map.groupBy(inFlight, ({ kill }) => kill);
  expect(byKill.get(null) ?? []).toEqual([]);
  for (const [kill, of] of byKill)
    expect(of.length, `of kill ${kill}`).toBeLessThanOrEqual(CONNECTIONS);
});
