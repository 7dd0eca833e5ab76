/**
 * A real Postfix before us, set up as the README says: while posts are sent bounces are let in some at a time, and what else comes
 * for a list waits behind none of them.
 */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { dsnFrom } from '../support/dsns.ts';
import { freePort } from '../support/free-port.ts';
import { type Postfix, startPostfix, whyNoPostfix } from '../support/postfix.ts';
import { blocksOf } from '../support/readme.ts';
import { greet, sendMail } from '../support/send-mail.ts';
import { type Sink, startSink } from '../support/sink.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { connectSmtp } from '../support/smtp-client.ts';
import { until } from '../support/until.ts';

const PATIENCE_MS = 120_000;
vi.setConfig({ testTimeout: 4 * PATIENCE_MS, hookTimeout: PATIENCE_MS });

const [LIST, STUCK, QUICK] = [`dev@${DOMAIN}`, `stuck@${DOMAIN}`, `quick@${DOMAIN}`];
const OWNERS = QUICK.replace('@', '-owner@');
const [ANN, SLOW] = ['ann@sink.example', 'slow@sink.example'];
/** Ten seconds' worth of what is let in while posts are sent. */
const BOUNCES = 200;
const MEMBERS = Array.from({ length: BOUNCES }, (_, i) => `m${i}@sink.example`);

const why = whyNoPostfix();
if (why !== null) console.warn(`SKIPPED: the test of bounces behind a real Postfix: ${why}`);

let sink: Sink;
let site: TestSite;
let postfix: Postfix;
let isStuck = false;

beforeAll(async () => {
  if (why !== null) return;
  sink = await startSink({
    rule: ({ command, argument }) => {
      if (command !== 'rcpt' || !argument.includes(SLOW)) return null;
      isStuck = true;
      return 'hang';
    },
  });
  site = await startTestSite({ routes: [{ name: 'sink', url: sink.url, connections: 4 }] });
  const { lmtpPort } = site.ports();
  postfix = await startPostfix({
    ...{ port: await freePort(), domain: DOMAIN, lmtpPort, relayPort: sink.port },
    more: `
${shown('main.cf', lmtpPort)}
smtpd_recipient_restrictions = check_recipient_access regexp:$etc/hold
`,
    services: shown('master.cf', lmtpPort),
    files: { troupe: shown('/etc/postfix/troupe', lmtpPort), hold: '/^b[+]/ HOLD\n' },
  });
});

afterAll(async () => {
  await postfix?.stop();
  await site?.close();
  await sink?.close();
});

/** What the README has for a file of Postfix, with our port. */
function shown(file: string, lmtpPort: number): string {
  const blocks = blocksOf('').filter((text) => text.startsWith(`# ${file}\n`));
  expect(blocks, file).not.toEqual([]);
  return blocks.join('').replaceAll(':8024', `:${lmtpPort}`).replaceAll('/etc/postfix', '$etc');
}

async function newList(list: string, members: readonly string[]): Promise<void> {
  await site.troupe('list', 'create', list, '--owner', ANN, '--posting', 'anyone');
  await site.troupe('member', 'add', list, ...members);
}

/** All over one connection, one after the other. */
async function send(...mails: readonly (readonly [sender: string, to: string, mail: Buffer])[]) {
  const client = await connectSmtp(postfix.port);
  await greet(client);
  for (const [sender, to, message] of mails)
    expect(await sendMail(client, { sender, recipients: [to], message })).toMatchObject({
      code: 250,
    });
  client.drop();
}

const mailOf = (marker: string): Buffer =>
  Buffer.from(`From: ${ANN}\r\nMessage-ID: <${marker}@x>\r\n\r\nhello\r\n`);

/** To whom Postfix delivered, in order. */
const delivered = (): readonly string[] =>
  [...postfix.log().matchAll(/ to=<([^>]+)>.* status=sent /g)].map(([, to = '']) => to);
const isBounce = (to: string): boolean => to.startsWith('b+');

const patiently = <T>(what: string, look: () => Promise<T | null> | T | null): Promise<T> =>
  until(what, look, PATIENCE_MS);

test.skipIf(why !== null)(
  'a post and mail to owners pass the bounces that wait in the queue of Postfix',
  async () => {
    await Promise.all([newList(LIST, MEMBERS), newList(STUCK, [SLOW]), newList(QUICK, [ANN])]);
    await send([ANN, LIST, mailOf('first')]);
    const copies = await patiently('every copy', () =>
      sink.mails.length >= BOUNCES ? sink.mails : null,
    );
    const dsns = copies.map(
      ({ sender, recipients: [to = ''] }) => ['', sender, dsnFrom({ to })] as const,
    );
    await send([ANN, STUCK, mailOf('second')]);
    await patiently('another post is stuck', () => isStuck || null);

    await send(...dsns); // They are held, so that all of them are there before the first is let in.
    await postfix.release();
    await patiently('a bounce is let in', () => delivered().some(isBounce) || null);
    await send([ANN, QUICK, mailOf('third')], [ANN, OWNERS, mailOf('fourth')]);
    const order = await patiently('both are here', () => {
      const all = delivered();
      return all.includes(QUICK) && all.includes(OWNERS) ? all : null;
    });
    const before = order.slice(0, Math.max(order.indexOf(QUICK), order.indexOf(OWNERS)));
    expect(before.filter(isBounce).length).toBeLessThan(BOUNCES / 2);

    sink.setRule(() => null);
    sink.dropAll();
    await patiently('every bounce counts', async () => {
      type Report = { readonly days: readonly { readonly bounces: number }[] };
      const { days } = await site.troupe<Report>('inspect', 'bounces', LIST);
      return days.reduce((sum, { bounces }) => sum + bounces, 0) === BOUNCES || null;
    });
  },
);
