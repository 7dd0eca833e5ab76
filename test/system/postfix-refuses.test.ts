/**
 * A real Postfix as the route, one that refuses: it takes few recipients an envelope, greylists one provider and knows some
 * recipients not to be there. Its own words stand in the delivery record.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DeliveryReport, DeliveryStory } from '../../src/nats/delivery-view.ts';
import { freePort } from '../support/free-port.ts';
import { type Postfix, startPostfix, whyNoPostfix } from '../support/postfix.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

const LIST = `dev@${DOMAIN}`;
const FINE = Array.from({ length: 40 }, (_, i) => `fine${i}@fine.example`);
const GREY = Array.from({ length: 10 }, (_, i) => `grey${i}@grey.example`);
const GONE = Array.from({ length: 3 }, (_, i) => `gone${i}@gone.example`);
const TAKEN_AN_ENVELOPE = 7;
const MS_MAX = 600_000;

const why = whyNoPostfix();
if (why !== null) console.warn(`SKIPPED: the tests with a real Postfix that refuses: ${why}`);

let sink: SinkProcess;
let site: TestSite;
let postfix: Postfix;

beforeAll(async () => {
  if (why !== null) return;
  sink = await startSinkProcess();
  const port = await freePort();
  const routes = [{ name: 'postfix', url: `smtp://127.0.0.1:${port}`, connections: 2 }];
  site = await startTestSite({ routes });
  postfix = await startPostfix({
    ...{ port, domain: DOMAIN, lmtpPort: site.ports().lmtpPort, relayPort: sink.port },
    more: [
      `smtpd_recipient_limit = ${TAKEN_AN_ENVELOPE}`,
      'smtpd_recipient_restrictions = check_recipient_access texthash:$etc/access',
      '',
    ].join('\n'),
    files: {
      access: [
        'grey.example 450 4.2.0 Greylisted, see http://postgrey.example/help',
        'gone.example 550 5.1.1 User unknown',
        '',
      ].join('\n'),
    },
  });
  await site.troupe('list', 'create', LIST, '--owner', FINE[0] ?? '');
  await site.troupe('member', 'add', LIST, ...FINE, ...GREY, ...GONE);
}, MS_MAX);

afterAll(async () => {
  await postfix?.stop();
  await site?.close();
  await sink?.close();
});

async function send(marker: string): Promise<void> {
  const sender = FINE[0] ?? '';
  const header = [`From: ${sender}`, `To: ${LIST}`, `Subject: ${marker}`, `X-Marker: ${marker}`];
  const message = Buffer.from(`${header.join('\r\n')}\r\n\r\nHello.\r\n`);
  const mail = { sender, recipients: [LIST], message };
  expect((await sendOnce(site.ports().smtpPort, mail)).code).toBe(250);
}

const COUNTS = {
  ...{ handed: FINE.length, deferred: GREY.length, refused: GONE.length },
  ...{ queued: 0, cancelled: 0 },
};
const reported = (post: number): Promise<DeliveryReport> =>
  until(
    `all of post ${post} is told of`,
    async () => {
      const report = await site.troupe<DeliveryReport>('delivery', 'show', LIST, String(post));
      if (report.counts.queued === 0) return report;
      throw new Error(`${JSON.stringify(report.counts)}\n${postfix.log().slice(-2_000)}`);
    },
    MS_MAX,
  );
const copies = (marker: string): string[] =>
  sink.lines().flatMap((line) => (line.marker === marker ? [...line.recipients] : []));

test.skipIf(why !== null).each(['individual', 'shared'])(
  'in mode %s each recipient ends as Postfix says, in its words, and nobody waits for another',
  { timeout: MS_MAX },
  async (mode) => {
    const marker = `refuses-${mode}`;
    const post = mode === 'individual' ? 1 : 2;
    await site.troupe('list', 'set', LIST, `mode=${mode}`);
    await send(marker);
    const { counts, reasons } = await reported(post);
    expect(counts).toEqual(COUNTS);
    expect(reasons.map(({ state, code, status }) => [state, code, status])).toEqual([
      ['deferred', 450, '4.2.0'],
      ['refused', 550, '5.1.1'],
    ]);
    const storyOf = (address = ''): Promise<DeliveryStory> =>
      site.troupe<DeliveryStory>('delivery', 'show', LIST, String(post), address);
    const [handed] = (await storyOf(FINE[5])).story;
    expect(handed?.reply).toMatch(/^2\.0\.0 Ok: queued as [0-9A-Za-z]+$/);
    // The id by which Postfix speaks of it in its own log.
    const id = handed?.reply.split(' ').at(-1) ?? '?';
    expect(postfix.log()).toContain(`${id}: `);
    const [grey] = (await storyOf(GREY[0])).story;
    expect(grey?.reply).toContain('Greylisted');
    // Six minutes, give or take a tenth: not the five of any other 4xx.
    const waitMs = (grey?.next ?? 0) - (grey?.at ?? 0);
    expect(waitMs).toBeGreaterThan(300_000);
    expect(waitMs).toBeLessThan(400_000);
    await until(
      'every copy is behind Postfix',
      () => (copies(marker).length >= FINE.length ? true : null),
      MS_MAX,
    );
    expect(copies(marker).sort()).toEqual([...FINE].sort());
  },
);
