/** Suspects, from outside: an address that dies on one list is asked about by another, over a real site. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { dsnFrom } from '../support/dsns.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkLine, type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

/** Each step is a process or more; on a busy machine a story of many takes minutes. */
const PATIENCE_MS = 120_000;
vi.setConfig({ testTimeout: 4 * PATIENCE_MS, hookTimeout: PATIENCE_MS });

const ANN = 'ann@sink.example';
const BOB = 'bob@sink.example';
const CAT = 'cat@sink.example';
const DAN = 'dan@sink.example';
const DEV = `dev@${DOMAIN}`;
const NEWS = `news@${DOMAIN}`;
const QUIET = `quiet@${DOMAIN}`;

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess({ keepHeader: true });
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url, connections: 2 }],
    env: { TROUPE_BOUNCES_CHECKPOINT_MS: '100' },
  });
  for (const list of [DEV, NEWS, QUIET]) {
    await site.troupe('list', 'create', list, '--owner', 'owner@sink.example');
    await site.troupe('list', 'set', list, 'posting=anyone', 'bounce-threshold=1');
    await site.troupe('member', 'add', list, ANN, BOB, CAT, DAN);
  }
  await site.troupe('list', 'set', QUIET, 'bounce-suspects=off');
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

type Shown = {
  mail: string;
  score: number;
  suspect: { list: string; reason: string } | null;
};
const shown = (list: string, who: string): Promise<Shown> =>
  site.troupe<Shown>('bounces', 'show', list, who);

function untilShown(list: string, who: string, wanted: Partial<Shown>): Promise<Shown> {
  return until(
    `${who} on ${list} as ${JSON.stringify(wanted)}`,
    async () => {
      const found = await shown(list, who);
      return expect.objectContaining(wanted).asymmetricMatch(found) ? found : null;
    },
    PATIENCE_MS,
  );
}

/** A copy to one recipient that says this in its header. */
function copyTo(to: string, text: string): Promise<SinkLine> {
  return until(
    `“${text}” to ${to}`,
    () => sink.lines().find((l) => l.recipients.includes(to) && l.header?.includes(text)) ?? null,
    PATIENCE_MS,
  );
}

async function bounceTo(returnPath: string, to: string): Promise<void> {
  const mail = { sender: '', recipients: [returnPath], message: dsnFrom({ to }) };
  expect((await sendOnce(site.ports().smtpPort, mail)).code).toBe(250);
}

const probesFrom = (list: string): readonly string[] =>
  sink
    .lines()
    .filter(({ header }) => header?.includes(`Does mail from ${list} reach you?`))
    .flatMap(({ recipients }) => recipients);

/** Bounces a member's copy of a post to the list, and the probe that follows. */
async function dies(list: string, who: string, marker: string): Promise<void> {
  const message = Buffer.from(
    `From: x@client.example\r\nTo: ${list}\r\nSubject: ${marker}\r\nMessage-ID: <${marker}@x>\r\n\r\nhello\r\n`,
  );
  const post = { sender: 'x@client.example', recipients: [list], message };
  expect((await sendOnce(site.ports().smtpPort, post)).code).toBe(250);
  await bounceTo((await copyTo(who, marker)).sender, who);
  await bounceTo((await copyTo(who, `Does mail from ${list} reach you?`)).sender, who);
  await untilShown(list, who, { mail: 'disabled' });
}

test('an address that dies on one list is asked about once by another, which says why', async () => {
  await bounceTo(NEWS.replace('@', '-bounces@'), ANN); // Forged: it makes nobody suspect.
  await copyTo(ANN, `Does mail from ${NEWS} reach you?`);
  await dies(DEV, BOB, 'first');
  await copyTo(BOB, `Does mail from ${NEWS} reach you?`);
  expect(await untilShown(NEWS, BOB, { mail: 'probing' })).toMatchObject({
    ...{ score: 0, suspect: { list: DEV, reason: 'user-unknown' } },
  });
  // What comes later on the same way comes after all that Bob's death caused.
  await dies(DEV, CAT, 'second');
  await copyTo(CAT, `Does mail from ${NEWS} reach you?`);
  expect(probesFrom(NEWS).toSorted()).toEqual([ANN, BOB, CAT]);
  expect(probesFrom(QUIET)).toEqual([]);
  expect(probesFrom(DEV).toSorted()).toEqual([BOB, CAT]);
  for (const who of [ANN, BOB, CAT])
    expect(await shown(QUIET, who)).toMatchObject({ mail: 'delivering', suspect: null });
  expect(await site.troupe('inspect', 'bounces', NEWS)).toMatchObject({ suspects: 2 });
});

test('a node without rows of its own tells the lists again, and they ask nobody twice', async () => {
  await site.killNode();
  for (const rows of ['state', 'bounces']) rmSync(join(site.data, rows), { recursive: true });
  await site.start();
  await dies(DEV, DAN, 'third');
  await copyTo(DAN, `Does mail from ${NEWS} reach you?`);
  expect(probesFrom(NEWS).toSorted()).toEqual([ANN, BOB, CAT, DAN]);
  expect(await shown(NEWS, BOB)).toMatchObject({ mail: 'probing', suspect: { list: DEV } });
});

test('who is sent to again by the list that stopped is suspect on none', async () => {
  await site.troupe('bounces', 'reset', DEV, BOB);
  await untilShown(NEWS, BOB, { suspect: null });
  expect(await shown(NEWS, CAT)).toMatchObject({ suspect: { list: DEV } });
});

test('a probe that comes back to the other list stops its mail there too', async () => {
  const probe = await copyTo(CAT, `Does mail from ${NEWS} reach you?`);
  await bounceTo(probe.sender, CAT);
  await untilShown(NEWS, CAT, { mail: 'disabled' });
  expect(await shown(QUIET, CAT)).toMatchObject({ mail: 'delivering' });
});
