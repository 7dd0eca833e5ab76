/** SIGKILL of the node, again and again, while bounces come in: none is lost after its 250, and none counts twice. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { dsnFrom } from '../support/dsns.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

const PATIENCE_MS = 180_000;
vi.setConfig({ testTimeout: 5 * PATIENCE_MS, hookTimeout: PATIENCE_MS });

const LIST = `killed@${DOMAIN}`;
const MEMBERS = Array.from({ length: 60 }, (_, i) => `k${i}@sink.example`);
/** The node is killed when so many DSNs are still to be sent. */
const KILLS_AT = [45, 30, 15];

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess();
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url, connections: 2 }],
    // Small checkpoints, so that kills fall before, between and after them.
    env: { TROUPE_BOUNCES_CHECKPOINT_EVENTS: '7', TROUPE_BOUNCES_CHECKPOINT_MS: '500' },
  });
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

async function smtp(sender: string, to: string, message: Buffer): Promise<boolean> {
  const mail = { sender, recipients: [to], message };
  return (await sendOnce(site.ports().smtpPort, mail)).code === 250;
}

/** As an MTA does: again until there is a 250, whatever happens to the site meanwhile. */
const insist = (sender: string, to: string, message: Buffer): Promise<true> =>
  until(
    `a 250 for ${to}`,
    async () => ((await smtp(sender, to, message)) ? true : null),
    PATIENCE_MS,
  );

type Bouncing = { readonly members: readonly { readonly bounces: number }[] };
type Report = { readonly days: readonly { readonly bounces: number }[] };

test('no bounce is lost and none counts twice, whenever the node is killed', async () => {
  await site.troupe('list', 'create', LIST, '--owner', 'o@sink.example', '--posting', 'anyone');
  await site.troupe('list', 'set', LIST, 'bounce-threshold=30');
  await site.troupe('member', 'add', LIST, ...MEMBERS);
  await insist('x@client.example', LIST, Buffer.from('From: x@client.example\r\n\r\nhello\r\n'));
  const copies = await sink.waitFor(MEMBERS.length, PATIENCE_MS);
  const left = [...copies];
  const send = async (): Promise<void> => {
    for (let next = left.pop(); next !== undefined; next = left.pop())
      await insist('', next.sender, dsnFrom({ to: next.recipients[0] ?? '' }));
  };
  const sending = Promise.all([send(), send(), send()]);
  for (const remaining of KILLS_AT) {
    await until(
      `${remaining} left to send`,
      () => (left.length <= remaining ? true : null),
      PATIENCE_MS,
    );
    await site.killNode();
    await site.start();
  }
  await sending;
  const { members } = await until(
    'every bounce in the scores',
    async () => {
      const found = await site.troupe<Bouncing>('bounces', 'ls', LIST);
      return found.members.length >= MEMBERS.length ? found : null;
    },
    PATIENCE_MS,
  );
  expect(members.map(({ bounces }) => bounces)).toEqual(MEMBERS.map(() => 1));
  const { days } = await site.troupe<Report>('bounces', 'report', LIST);
  expect(days.reduce((sum, { bounces }) => sum + bounces, 0)).toBe(MEMBERS.length);
});
