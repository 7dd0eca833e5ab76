/**
 * The crash windows of reliability §2.9: the process dies at a place between two steps, is started
 * again, and the mail comes out as if nothing had been. At the end the accountant settles the books
 * of all of them.
 *
 * Rows that are shown elsewhere:
 *   14   test/runners/outgoing.test.ts       a connection lost after the final dot is a maybe
 *   15   test/runners/outgoing.test.ts       O3
 *   16   test/runners/later.test.ts          W1: the id that it has
 *   19   test/host/host.test.ts              window 19; test/faults/store-lost.test.ts
 *   20   test/faults/nats-away.test.ts
 *   21   test/contract/clock.ts; test/host/host.test.ts: their time never goes back
 *   22   comes with bounces
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import { type Kill, settle } from '../support/accountant.ts';
import { type JournalFile, type JournalLine, openJournalFile } from '../support/journal.ts';
import { growing, type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, runTroupe, startTestSite, type TestSite } from '../support/site.ts';
import { makePost, sendLoad } from '../support/smtp-load.ts';
import { dumpStream } from '../support/streams-dump.ts';
import { until } from '../support/until.ts';

const LIST = `dev@${DOMAIN}`;
const MEMBERS = Array.from({ length: 12 }, (_, i) => `m${i}@sink.example`);
/** Transactions at once: what a crash may repeat. */
const CONNECTIONS = 1;
/** What was in hand comes again after its ack_wait, of which mail's is the longest: 30 s. */
const AGAIN_MS_MAX = 60_000;
const TEST_MS_MAX = 120_000;
/** A node that starts appends so many records and sets so many rows: one a slot. */
const SLOTS = 64;
/** More than one piece of 512 KiB. */
const LARGE_BYTES = 900_000;

let directory: string;
let sink: SinkProcess;
let site: TestSite;
let journal: JournalFile;
const kills: Kill[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-windows-'));
  journal = openJournalFile(join(directory, 'journal'));
  sink = await startSinkProcess();
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url, connections: CONNECTIONS }],
    env: { TROUPE_OUTGOING_ACK_WAIT_MS: '10000' },
  });
  await site.troupe('list', 'create', LIST, '--owner', 'owner@sink.example');
  await site.troupe('member', 'add', LIST, ...MEMBERS);
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
  journal?.close();
  if (directory) rmSync(directory, { recursive: true, force: true });
});

const copiesOf = (marker: string): string[] =>
  sink.lines().flatMap((line) => (line.marker === marker ? line.recipients : []));

/** Posts once with a node that dies at `place`, and once more with the one that comes after it. */
async function crashAt(place: string, marker: string, bytes = 800): Promise<void> {
  await site.killNode();
  // It may die while it starts, of what an earlier window left it to do.
  await site.start({ CRASH_AT: place }).catch(() => undefined);
  const load = sendLoad({
    posts: [makePost(marker, LIST, MEMBERS[0] ?? '', bytes)],
    connections: 1,
    port: () => site.ports().smtpPort,
    journal,
    postMsMax: AGAIN_MS_MAX,
  });
  load.catch(() => undefined); // Told where it is awaited.
  await site.ended();
  kills.push({ at: Date.now(), what: place });
  await site.start();
  expect(await load).toMatchObject({ acked: 1, refused: 0 });
  await until(
    `the copies of ${marker}`,
    () => (new Set(copiesOf(marker)).size === MEMBERS.length ? true : null),
    AGAIN_MS_MAX,
  );
}

const WINDOWS: readonly { row: string; place: string; bytes?: number; doubled?: number }[] = [
  {
    row: '1: parts stored, last message of a mail not',
    place: 'stored troupe.mail.part',
    bytes: LARGE_BYTES,
  },
  { row: '2 and 3: MAIL acknowledged, 250 not written', place: 'stored troupe.mail.post' },
  { row: '4: MAILBOX put, MAIL not acked', place: 'ack troupe.mail.post' },
  { row: '5: command delivered, not appended', place: `publish troupe.ledger:${SLOTS + 1}` },
  {
    row: '6 and 7: appended, answer lost, LMDB not committed',
    place: `stored troupe.ledger:${SLOTS + 1}`,
  },
  { row: '8: committed, not answered or acked', place: 'ack troupe.mailbox' },
  { row: '9: a chunk is to be put', place: 'publish troupe.outgoing' },
  { row: '10: effects done, `done` not appended', place: 'stored troupe.outgoing' },
  { row: "11: MTA's 250, journal not flushed", place: 'accepted:5', doubled: CONNECTIONS },
  { row: '12: journal flushed, RESULTS not', place: 'journaled:5' },
  { row: '13: RESULTS `done`, chunk not acked', place: 'ack troupe.outgoing' },
];

test.each(WINDOWS)('window $row', { timeout: TEST_MS_MAX }, async (window) => {
  onTestFailed(() => console.error(site.log()));
  const marker = `w${WINDOWS.indexOf(window)}`;
  await crashAt(window.place, marker, window.bytes);
  const more = copiesOf(marker).length - MEMBERS.length;
  expect(more).toBeLessThanOrEqual(window.doubled ?? 0);
});

test.each([
  ['`acquired` appended, bucket not set', 'stored troupe.ledger'],
  ['bucket set, `acquired` not appended', 'publish troupe.ledger'],
])('window 17: %s: one history', { timeout: TEST_MS_MAX }, async (_, place) => {
  await site.killNode();
  await expect(site.start({ CRASH_AT: place })).rejects.toThrow();
  await site.start();
  const { n } = await site.troupe<{ n: number }>('inspect', 'list', LIST);
  const { posts } = await site.troupe<{ posts: number }>('list', 'show', LIST);
  expect({ n: n > 0, posts: posts > 0 }).toEqual({ n: true, posts: true });
});

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
    acked: WINDOWS.length,
    ...{ lost: [], wrong: [], broken: [] },
  });
  expect(duplicates.length).toBeLessThanOrEqual(CONNECTIONS);
});
