/**
 * Who got it, and by which way: an MTA that keeps one waiting and refuses another goes away, and the fallback, which speaks LMTP,
 * answers each recipient of an envelope by itself. One member's mail is disabled for it.
 */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type {
  DeliveryFailures,
  DeliveryReport,
  DeliveryStory,
} from '../../src/nats/delivery-view.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type Sink, startSink } from '../support/sink.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

/** For a verb or two on a machine that does much else. */
const MS_MAX = 600_000;
vi.setConfig({ testTimeout: MS_MAX, hookTimeout: MS_MAX });

const LIST = `ways@${DOMAIN}`;
const [ANN, BEN, GREY, GONE, SPAM] = ['ann', 'ben', 'grey', 'gone', 'spam'].map(
  (name) => `${name}@sink.example`,
) as [string, string, string, string, string];

let first: Sink;
let box: Sink;
let site: TestSite;
let isSpam = true;
beforeAll(async () => {
  first = await startSink({
    rule({ command, argument }) {
      if (command === 'dot') return '250 2.0.0 Ok: queued as 4XyZ';
      if (command !== 'rcpt') return null;
      if (argument.includes(`<${GREY}>`)) return '450 4.2.0 Greylisted, come back later';
      return argument.includes(`<${GONE}>`) ? '550 5.1.1 no such user' : null;
    },
  });
  box = await startSink({
    isLmtp: true,
    rule({ command, argument }) {
      if (command !== 'dot') return null;
      if (argument === SPAM && isSpam) return '554 5.7.1 rejected as spam';
      return argument === GONE ? '550 5.1.1 no such user' : `250 2.0.0 saved for ${argument}`;
    },
  });
  site = await startTestSite({
    routes: [
      { name: 'first', url: first.url },
      { name: 'box', url: box.url, role: 'fallback' },
    ],
    env: { TROUPE_OUTGOING_RETRY_MS_MAX: '1000', TROUPE_BOUNCES_CHECKPOINT_MS: '100' },
  });
  const created = ['--owner', ANN, '--posting', 'anyone', '--mode', 'shared'];
  await site.troupe('list', 'create', LIST, ...created);
  await site.troupe('list', 'set', LIST, 'bounce-threshold=1');
  await site.troupe('member', 'add', LIST, ANN, BEN, GREY, GONE, SPAM);
});
afterAll(async () => {
  await site?.close();
  await first?.close();
  await box?.close();
});

async function send(subject: string): Promise<void> {
  const message = Buffer.from(
    `From: ${ANN}\r\nTo: ${LIST}\r\nSubject: ${subject}\r\n\r\nHello.\r\n`,
  );
  const mail = { sender: ANN, recipients: [LIST], message };
  expect((await sendOnce(site.ports().smtpPort, mail)).code).toBe(250);
}

const story = (post: number, to: string): Promise<DeliveryStory> =>
  site.troupe<DeliveryStory>('delivery', 'show', LIST, String(post), to);
const failures = (post: number): Promise<DeliveryFailures> =>
  site.troupe<DeliveryFailures>('delivery', 'failed', LIST, String(post));
/** The report, once it has these counts. */
const reported = (post: number, counts: Partial<DeliveryReport['counts']>) =>
  until(
    `post ${post} has ${JSON.stringify(counts)}`,
    async () => {
      const found = await site.troupe<DeliveryReport>('delivery', 'show', LIST, String(post));
      const isSo = (name: string): boolean =>
        found.counts[name as keyof typeof counts] === counts[name as keyof typeof counts];
      if (Object.keys(counts).every(isSo)) return found;
      throw new Error(JSON.stringify(found.counts));
    },
    MS_MAX,
  );

test('who is kept waiting by one MTA and taken by another has both in their story', async () => {
  await send('one');
  await reported(1, { handed: 3, deferred: 1, refused: 1 });
  await first.close();
  const { routes, counts } = await reported(1, { handed: 4, deferred: 0, refused: 1 });
  expect(counts).toEqual({ handed: 4, deferred: 0, refused: 1, cancelled: 0, queued: 0 });
  expect(routes).toEqual({ first: 3, box: 1 });
  const waited = await story(1, GREY);
  const greylisted = { state: 'deferred', route: 'first', code: 450, status: '4.2.0' };
  expect(waited.story[0]).toMatchObject({ ...greylisted, reply: 'Greylisted, come back later' });
  expect(waited.story.at(-1)).toMatchObject({
    ...{ state: 'handed', route: 'box', reply: `2.0.0 saved for ${GREY}`, next: null },
  });
  expect(waited.story.filter(({ state }) => state === 'handed')).toHaveLength(1);
  const times = waited.story.map(({ at }) => at);
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  expect((await story(1, BEN)).story).toMatchObject([
    { state: 'handed', route: 'first', reply: '2.0.0 Ok: queued as 4XyZ' },
  ]);
  expect(await failures(1)).toMatchObject({
    failures: [{ address: GONE, route: 'first', code: 550, status: '5.1.1' }],
  });
});

test('each recipient of an LMTP envelope has an answer of their own, and who gets no mail none', async () => {
  type Listed = { members: { address: string; mail: string }[] };
  const isDisabled = async () => {
    const { members } = await site.troupe<Listed>('bounces', 'ls', LIST);
    return members.some(({ address, mail }) => address === GONE && mail === 'disabled') || null;
  };
  await until('a probe was refused too', isDisabled, MS_MAX);
  await send('two');
  const { routes, reasons } = await reported(2, { handed: 3, refused: 1, queued: 0 });
  expect(routes).toEqual({ box: 3 });
  expect(reasons).toMatchObject([{ state: 'refused', code: 554, recipients: 1 }]);
  for (const to of [ANN, BEN, GREY]) {
    expect((await story(2, to)).story).toMatchObject([{ reply: `2.0.0 saved for ${to}` }]);
  }
  expect(await story(2, GONE)).toMatchObject({ state: null, story: [] });
});

test('the post is sent again to whom it failed, and to nobody else', async () => {
  expect(await failures(2)).toMatchObject({
    failures: [{ address: SPAM, route: 'box', code: 554, reply: 'rejected as spam' }],
  });
  isSpam = false;
  const before = box.mails.length;
  expect((await site.run('delivery', 'failed', LIST, '2', '--resend')).stdout).toContain(
    'sent again to 1 of 1',
  );
  await reported(2, { handed: 4, refused: 0 });
  const since = box.mails.slice(before).flatMap(({ recipients }) => recipients);
  expect(since).toEqual([SPAM]);
  expect((await story(2, SPAM)).story.map(({ state }) => state)).toEqual(['refused', 'handed']);
});
