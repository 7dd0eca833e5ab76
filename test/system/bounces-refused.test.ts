/** An MTA that refuses members itself: what no DSN tells is a bounce all the same. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { sendOnce } from '../support/send-mail.ts';
import { type Sink, startSink } from '../support/sink.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

const PATIENCE_MS = 120_000;
vi.setConfig({ testTimeout: 4 * PATIENCE_MS, hookTimeout: PATIENCE_MS });

const LIST = `refused@${DOMAIN}`;
const [ANN, BOB, CYD] = ['ann@sink.example', 'bob@sink.example', 'cyd@sink.example'];
/** Bob is gone; Cyd's provider does not like the post. */
const WORDS: Readonly<Record<string, string>> = {
  [BOB]: '550 5.1.1 no such user',
  [CYD]: '554 5.7.1 message rejected as spam',
};

let sink: Sink;
let site: TestSite;

beforeAll(async () => {
  sink = await startSink({
    rule: ({ command, argument }) => {
      const to = /^TO:<([^>]*)>/i.exec(argument)?.[1] ?? '';
      return command === 'rcpt' ? (WORDS[to] ?? null) : null;
    },
  });
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url, connections: 2 }],
    env: { TROUPE_BOUNCES_CHECKPOINT_MS: '100' },
  });
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

type Listed = { members: { address: string; score: number; mail: string }[] };

test('who is refused for good is probed, and disabled when the probe is refused too', async () => {
  await site.troupe('list', 'create', LIST, '--owner', 'o@sink.example', '--posting', 'anyone');
  await site.troupe('list', 'set', LIST, 'bounce-threshold=1');
  await site.troupe('member', 'add', LIST, ANN, BOB, CYD);
  const message = Buffer.from('From: x@client.example\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n');
  const mail = { sender: 'x@client.example', recipients: [LIST], message };
  expect((await sendOnce(site.ports().smtpPort, mail)).code).toBe(250);
  const members = await until(
    'bob is disabled',
    async () => {
      const found = await site.troupe<Listed>('bounces', 'ls', LIST);
      return found.members.some(({ mail }) => mail === 'disabled') ? found.members : null;
    },
    PATIENCE_MS,
  );
  expect(members).toMatchObject([
    { address: BOB, mail: 'disabled' },
    { address: CYD, mail: 'delivering', score: 0 },
  ]);
  const report = await site.troupe<{ days: { routes: Record<string, number> }[] }>(
    ...['bounces', 'report', LIST],
  );
  // Bob's copy and Cyd's: what came back of a probe is no bounce of a post.
  expect(report.days[0]?.routes).toEqual({ sink: 2 });
});
