/** Bounces are idle work: they wait while mail goes out, for all to see, and mail to owners does not wait with them. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { dsnFrom } from '../support/dsns.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type Sink, startSink } from '../support/sink.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

const PATIENCE_MS = 120_000;
vi.setConfig({ testTimeout: 4 * PATIENCE_MS, hookTimeout: PATIENCE_MS });

const LIST = `quick@${DOMAIN}`;
const STUCK = `stuck@${DOMAIN}`;
const [ANN, SLOW, OWNER] = ['ann@sink.example', 'slow@sink.example', 'owner@sink.example'];

let sink: Sink;
let site: TestSite;
let isStuck = false;

beforeAll(async () => {
  sink = await startSink({
    rule: ({ command, argument }) => {
      if (command !== 'rcpt' || !argument.includes(SLOW)) return null;
      isStuck = true;
      return 'hang';
    },
  });
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url, connections: 4 }],
    env: { TROUPE_BOUNCES_CHECKPOINT_MS: '100' },
  });
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

async function send(sender: string, to: string, message: Buffer): Promise<void> {
  const mail = { sender, recipients: [to], message };
  expect((await sendOnce(site.ports().smtpPort, mail)).code).toBe(250);
}

const mailOf = (marker: string): Buffer =>
  Buffer.from(`From: x@client.example\r\nMessage-ID: <${marker}@x>\r\n\r\nhello\r\n`);

async function newList(list: string, member: string): Promise<void> {
  await site.troupe('list', 'create', list, '--owner', OWNER, '--posting', 'anyone');
  await site.troupe('member', 'add', list, member);
}

type Report = {
  readonly yields: { readonly why: string } | null;
  readonly days: readonly { readonly bounces: number }[];
};
const report = (): Promise<Report> => site.troupe<Report>('inspect', 'bounces', LIST);
const patiently = <T>(what: string, look: () => Promise<T | null> | T | null): Promise<T> =>
  until(what, look, PATIENCE_MS);

test('while a chunk is in hand a bounce waits, and mail to the owners goes its way', async () => {
  await newList(LIST, ANN);
  await newList(STUCK, SLOW);
  await send('x@client.example', LIST, mailOf('first'));
  const copy = await patiently(
    'the post comes to Ann',
    () => sink.mails.find(({ recipients }) => recipients.includes(ANN)) ?? null,
  );
  await send('x@client.example', STUCK, mailOf('second'));
  await patiently('another post is stuck', () => isStuck || null);

  await send('', copy.sender, dsnFrom({ to: ANN }));
  await send('x@client.example', LIST.replace('@', '-owner@'), mailOf('third'));
  await patiently(
    'the owner hears',
    () => sink.mails.find(({ recipients }) => recipients.includes(OWNER)) ?? null,
  );
  const waiting = await patiently('bounces yield', async () => {
    const seen = await report();
    return seen.yields === null ? null : seen;
  });
  expect(waiting).toMatchObject({ yields: { why: '1 chunks in outgoing' }, days: [] });

  sink.setRule(() => null);
  sink.dropAll();
  const { days } = await patiently('the bounce counts', async () => {
    const seen = await report();
    return seen.days.length > 0 ? seen : null;
  });
  expect(days).toMatchObject([{ bounces: 1 }]);
});
