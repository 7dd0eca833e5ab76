/**
 * Who got it: a post to members whose MTA takes some, keeps some waiting and refuses some; asked by the command line, by a NATS
 * request and over HTTP; sent again to whom it failed; paused, resumed and cancelled while it is sent.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { connect } from '../../src/nats/connect.ts';
import type { DeliveryReport, DeliveryStory } from '../../src/nats/delivery-view.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type Sink, startSink } from '../support/sink.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

const LIST = `dev@${DOMAIN}`;
const MEMBERS = Array.from({ length: 60 }, (_, i) => `m${i}@sink.example`);
const [OWNER = '', GREY = '', GONE = ''] = MEMBERS;
/** For a verb or two on a machine that does much else. */
const MS_MAX = 600_000;

let sink: Sink;
let site: TestSite;
beforeAll(async () => {
  sink = await startSink();
  site = await startTestSite({ routes: [{ name: 'sink', url: sink.url, connections: 2 }] });
  await site.troupe('list', 'create', LIST, '--owner', OWNER);
  await site.troupe('member', 'add', LIST, ...MEMBERS);
}, MS_MAX);
afterAll(async () => {
  await site?.close();
  await sink?.close();
});

async function send(subject: string): Promise<void> {
  const lines = [`From: ${OWNER}`, `To: ${LIST}`, `Subject: ${subject}`, '', 'Hello.', ''];
  const message = Buffer.from(lines.join('\r\n'));
  const mail = { sender: OWNER, recipients: [LIST], message };
  expect((await sendOnce(site.ports().smtpPort, mail)).code).toBe(250);
}

const report = (post: number): Promise<DeliveryReport> =>
  site.troupe<DeliveryReport>('delivery', 'show', LIST, String(post));
const story = (post: number, to: string): Promise<DeliveryStory> =>
  site.troupe<DeliveryStory>('delivery', 'show', LIST, String(post), to);
/** The report, once it says so. */
const reported = (post: number, counts: Partial<DeliveryReport['counts']>) =>
  until(
    `post ${post} has ${JSON.stringify(counts)}`,
    async () => {
      const found = await report(post);
      const wanted = Object.entries(counts) as [keyof typeof found.counts, number][];
      if (wanted.every(([state, count]) => found.counts[state] === count)) return found;
      throw new Error(JSON.stringify(found.counts));
    },
    MS_MAX,
  );

test('the report has the counts, and each recipient has a story', { timeout: MS_MAX }, async () => {
  sink.setRule(({ command, argument }) => {
    if (command === 'dot') return '250 2.0.0 Ok: queued as 4XyZ';
    if (command !== 'rcpt') return null;
    if (argument.includes(`<${GREY}>`)) return '450 4.2.0 Greylisted, come back later';
    return argument.includes(`<${GONE}>`) ? '550 5.1.1 no such user' : null;
  });
  await send('first');
  const counts = { handed: 58, deferred: 1, refused: 1, queued: 0, cancelled: 0 };
  const first = await reported(1, counts);
  expect(first).toMatchObject({ list: LIST, number: 1, subject: 'first', recipients: 60, counts });
  expect(first.routes).toEqual({ sink: 58 });
  expect(first.nextAt).toBeGreaterThan(first.lastAt ?? Number.POSITIVE_INFINITY);
  expect(first.reasons).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ state: 'deferred', code: 450, status: '4.2.0', recipients: 1 }),
      expect.objectContaining({ state: 'refused', code: 550, reply: 'no such user' }),
    ]),
  );
  const handed = await story(1, OWNER);
  expect(handed).toMatchObject({ recipient: OWNER, state: 'handed', mayHaveTwice: false });
  expect(handed.story).toMatchObject([{ route: 'sink', reply: '2.0.0 Ok: queued as 4XyZ' }]);
  expect(await story(1, GREY)).toMatchObject({
    state: 'deferred',
    story: [{ code: 450, reply: 'Greylisted, come back later', next: first.nextAt }],
  });
  expect(await story(1, GONE)).toMatchObject({ state: 'refused', story: [{ next: null }] });
  expect(await story(1, 'nobody@else.example')).toMatchObject({ state: null, story: [] });
});

test('the same is told over HTTP and by a NATS request', { timeout: MS_MAX }, async () => {
  const { counts } = await report(1);
  const url = `http://127.0.0.1:${site.ports().httpPort}/delivery/${LIST}/1`;
  expect(await (await fetch(url)).json()).toMatchObject({ number: 1, counts });
  expect(await (await fetch(`${url}?recipient=${GONE}`)).json()).toMatchObject({
    state: 'refused',
  });
  const nats = await connect({ ...site.nats(), name: 'test', log: silentLog });
  const subject = `troupe.inspect.delivery.${LIST}`;
  const reply = await nats.nc.request(subject, JSON.stringify({ post: 1, recipient: GREY }));
  expect(reply.json()).toMatchObject({ state: 'deferred', node: expect.any(String) });
  const none = await nats.nc.request(subject, JSON.stringify({ post: 99 }));
  expect(none.json()).toMatchObject({ error: { text: 'the list has no post 99' } });
  await nats.close();
});

test('a refusal stands in BOUNCES with the whole reply', { timeout: MS_MAX }, async () => {
  const nats = await connect({ ...site.nats(), name: 'test', log: silentLog });
  const { state } = await nats.jsm.streams.info('TROUPE_BOUNCES');
  expect(state.messages).toBe(1);
  const message = await nats.jsm.streams.getMessage('TROUPE_BOUNCES', { seq: state.last_seq });
  expect(message.json()).toMatchObject({
    ...{ address: GONE, code: 550, status: '5.1.1', verified: true, post: 1 },
    diagnostic: '550 5.1.1 no such user',
  });
  await nats.close();
});

test('those who were refused are listed, and sent to again once', { timeout: MS_MAX }, async () => {
  const listed = await site.run('delivery', 'failed', LIST, '1');
  expect(listed.stdout).toMatch(new RegExp(`^ +3 +${GONE} .* 550 +5\\.1\\.1 +no such user$`, 'm'));
  sink.setRule(() => null);
  const before = sink.mails.length;
  const again = await site.run('delivery', 'failed', LIST, '1', '--resend');
  expect(again.stdout).toContain('sent again to 1 of 1');
  await until('it has come', () => (sink.mails.length > before ? true : null), MS_MAX);
  expect(sink.mails.slice(before).flatMap(({ recipients }) => recipients)).toEqual([GONE]);
  await reported(1, { refused: 0, handed: 59 });
  expect((await story(1, GONE)).story.map(({ state }) => state)).toEqual(['refused', 'handed']);
  expect((await site.run('delivery', 'failed', LIST, '1')).stdout).toBe('Nobody was refused.\n');
});

test('a post that is paused waits, and goes on when it is resumed', {
  timeout: MS_MAX,
}, async () => {
  const nats = await connect({ ...site.nats(), name: 'test', log: silentLog });
  const told = nats.nc.subscribe('troupe.results.*.*.2.order', { max: 1 });
  let sent = 0;
  const hanging = Promise.withResolvers<number>();
  // Both connections hang after ten copies, until it is paused: nothing depends on how fast this machine is.
  sink.setRule(({ command }) => {
    if (command !== 'mail') return null;
    sent += 1;
    if (sent === 12) hanging.resolve(performance.now());
    return sent > 10 && sent <= 12 ? 'hang' : null;
  });
  await send('second');
  const since = await hanging.promise;
  expect((await site.run('post', 'pause', LIST, '2')).stdout).toBe(`paused post 2 of ${LIST}\n`);
  for await (const _ of told) break;
  await nats.close();
  // What is known of its order is two seconds old at most: then it is looked at again.
  await until('two seconds have passed', () => (performance.now() - since > 2_100 ? true : null));
  sink.dropAll();
  const waiting = await until(
    'it waits',
    async () => {
      const found = await report(2);
      return found.counts.handed > 0 && found.order === 'pause' ? found : null;
    },
    MS_MAX,
  );
  expect(waiting.counts.handed).toBeLessThanOrEqual(12);
  sink.setRule(() => null);
  expect((await site.run('post', 'resume', LIST, '2')).code).toBe(0);
  await reported(2, { handed: 60 });
  const got = sink.mails.filter(({ message }) => message.includes('Subject: second'));
  expect(new Set(got.flatMap(({ recipients }) => recipients)).size).toBe(60);
  expect(got).toHaveLength(60);
});

test(
  'a post that is cancelled goes to nobody more, and each of them is accounted for',
  async () => {
    sink.setRule(({ command }) => (command === 'rcpt' ? '451 4.3.0 busy' : null));
    await send('third');
    await reported(3, { deferred: 60 });
    expect((await site.run('post', 'cancel', LIST, '3')).code).toBe(0);
    await reported(3, { cancelled: 60, deferred: 0 });
    const again = await site.run('post', 'resume', LIST, '3');
    expect(again).toMatchObject({ code: 1 });
    expect(again.stderr).toContain('post 3 was cancelled');
    const { stdout } = await site.run('post', 'ls', LIST);
    expect(stdout).toMatch(/^ +3 .* 60 +cancelled +third$/m);
  },
  MS_MAX,
);

test('what is no post is refused in words', { timeout: MS_MAX }, async () => {
  const none = await site.run('delivery', 'show', LIST, '99');
  expect(none).toMatchObject({ code: 1 });
  expect(none.stderr).toContain('the list has no post 99\nSee `troupe post ls LIST`.');
  const wrong = await site.run('post', 'pause', LIST, 'x');
  expect(wrong).toMatchObject({ code: 2 });
  expect(wrong.stderr).toContain('troupe post ls LIST');
});
