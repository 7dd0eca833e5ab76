/**
 * The MTA behind us is away: mail waits, posts go on being taken, and when it is back each copy
 * comes out once.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { makePost } from '../support/smtp-load.ts';
import { until } from '../support/until.ts';

const LIST = `dev@${DOMAIN}`;
const MEMBERS = Array.from({ length: 200 }, (_, i) => `m${i}@sink.example`);
const CONNECTIONS = 4;
/** A next try after the route failed comes after 5 s and as long as the mail is old. */
const BACK_MS_MAX = 240_000;

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess();
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url, connections: CONNECTIONS }],
  });
  await site.troupe('list', 'create', LIST, '--owner', MEMBERS[0] ?? '');
  await site.troupe('member', 'add', LIST, ...MEMBERS);
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

function send(marker: string) {
  const { message, sender } = makePost(marker, LIST, MEMBERS[0] ?? '', 4_096);
  return sendOnce(site.ports().smtpPort, { sender, recipients: [LIST], message });
}

const recipientsOf = (marker: string): string[] =>
  sink
    .lines()
    .filter((line) => line.marker === marker)
    .flatMap(({ recipients }) => recipients);

async function untilAllHave(marker: string): Promise<string[]> {
  return until(
    `all copies of ${marker}`,
    () => {
      const all = recipientsOf(marker);
      if (new Set(all).size === MEMBERS.length) return all;
      throw new Error(`${new Set(all).size} have one`);
    },
    BACK_MS_MAX,
  );
}

test('away before the post: it is taken, waits, and comes out when the MTA is back', {
  timeout: 2 * BACK_MS_MAX,
}, async () => {
  await sink.kill();
  expect(await send('waits')).toMatchObject({ code: 250 });
  await until('it is accepted', async () => {
    const { posts } = await site.troupe<{ posts: number }>('list', 'show', LIST);
    return posts === 1 ? true : null;
  });
  await sink.restart();
  expect(await untilAllHave('waits')).toHaveLength(MEMBERS.length);
});

test('gone in mid fan-out: all get it, and only what was in flight comes twice', {
  timeout: 2 * BACK_MS_MAX,
}, async () => {
  expect(await send('cut')).toMatchObject({ code: 250 });
  await until('the first copies', () => (recipientsOf('cut').length > 0 ? true : null));
  await sink.kill();
  await sink.restart();
  const all = await untilAllHave('cut');
  expect(all.length - MEMBERS.length).toBeLessThanOrEqual(CONNECTIONS);
});
