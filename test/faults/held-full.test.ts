/**
 * Strangers fill HELD with large mail to a list that holds it: its own posts and other lists' go on, and every mail that was
 * accepted is there to be approved.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { HeldPost } from '../../actors/protocol.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { makePost } from '../support/smtp-load.ts';
import { until } from '../support/until.ts';

const DEV = `dev@${DOMAIN}`;
const OTHER = `other@${DOMAIN}`;
const MEMBER = 'm0@sink.example';
const STRANGER = 'eve@elsewhere.example';
/** HELD has 2 % of it: 5 MiB. */
const STORAGE = '256MiB';
const LARGE_BYTES = 1_500_000;
const LARGE_MAILS = 6;
const TEST_MS_MAX = 300_000;

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess();
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url }],
    env: { TROUPE_NATS_STORAGE: STORAGE },
  });
  for (const list of [DEV, OTHER]) {
    await site.troupe('list', 'create', list, '--owner', 'owner@sink.example');
    await site.troupe('member', 'add', list, MEMBER);
  }
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

async function send(marker: string, list: string, sender: string, bytes = 2_000) {
  const post = makePost(marker, list, sender, bytes);
  const { message } = post;
  const answer = await sendOnce(site.ports().smtpPort, { sender, recipients: [list], message });
  expect(answer).toMatchObject({ code: 250 });
  return post;
}

const untilOut = (marker: string) =>
  until(`${marker} comes out`, () => sink.lines().find((line) => line.marker === marker) ?? null);

test('who fills HELD stops no post, and nothing that was accepted is lost', {
  timeout: TEST_MS_MAX,
}, async () => {
  const large = [];
  for (let i = 0; i < LARGE_MAILS; i++) {
    large.push(await send(`large${i}`, DEV, STRANGER, LARGE_BYTES));
  }
  const holds = await until('all are held', async () => {
    const all = await site.troupe<HeldPost[]>('hold', 'ls', DEV);
    return all.length === LARGE_MAILS ? all : null;
  });
  await until('HELD is full', () => (site.log().includes('HELD is full') ? true : null));
  await send('dev', DEV, MEMBER);
  await untilOut('dev');
  await send('held', OTHER, STRANGER);
  await send('other', OTHER, MEMBER);
  await untilOut('other');
  for (const { hold } of holds) {
    await site.troupe('hold', 'approve', DEV, String(hold));
  }
  for (const { marker, bodySha } of large) {
    expect(await untilOut(marker)).toMatchObject({ bodySha });
  }
});
