/**
 * A real Postfix before us and behind us: it relays posts into our LMTP, and is the route that our
 * copies take.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { type Postfix, startPostfix, whyNoPostfix } from '../support/postfix.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

const LIST = `dev@${DOMAIN}`;
const MEMBERS = Array.from({ length: 20 }, (_, i) => `member${i}@sink.example`);
const BODY = 'Über Postfix.\r\n.a dot\r\nFrom the start\r\n';

const why = whyNoPostfix();
if (why !== null) console.warn(`SKIPPED: the tests with a real Postfix: ${why}`);

let sink: SinkProcess;
let site: TestSite;
let postfix: Postfix;

beforeAll(async () => {
  if (why !== null) return;
  sink = await startSinkProcess({ keepHeader: true });
  const port = await freePort();
  const routes = [{ name: 'postfix', url: `smtp://127.0.0.1:${port}`, connections: 5 }];
  site = await startTestSite({ routes });
  const lmtpPort = site.ports().lmtpPort;
  postfix = await startPostfix({ port, domain: DOMAIN, lmtpPort, relayPort: sink.port });
  await site.troupe('list', 'create', LIST, '--owner', MEMBERS[0] ?? '');
  await site.troupe('member', 'add', LIST, ...MEMBERS);
});

afterAll(async () => {
  await postfix?.stop();
  await site?.close();
  await sink?.close();
});

function sendThere(marker: string, to: string) {
  const header = [
    `From: ${MEMBERS[0]}`,
    `To: ${to}`,
    `Subject: ${marker}`,
    `Message-ID: <${marker}@client.example>`,
    `X-Marker: ${marker}`,
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: 8bit',
  ];
  const message = Buffer.from(`${header.join('\r\n')}\r\n\r\n${BODY}`);
  const sender = MEMBERS[0] ?? '';
  return sendOnce(postfix.port, { sender, recipients: [to], message, eightBit: true });
}

test.skipIf(why !== null)(
  'a post that goes in at Postfix comes back out of Postfix, once per member, its body unchanged',
  async () => {
    const markers = ['postfix-1', 'postfix-2', 'postfix-3'];
    for (const marker of markers)
      expect(await sendThere(marker, LIST)).toMatchObject({ code: 250 });
    const count = markers.length * MEMBERS.length;
    const copies = await until(
      `${count} copies behind Postfix`,
      () => {
        const found = sink.lines().filter(({ marker }) => markers.includes(marker));
        if (found.flatMap(({ recipients }) => recipients).length >= count) return found;
        throw new Error(`${found.length} came; Postfix says:\n${postfix.log().slice(-3_000)}`);
      },
      60_000,
    );
    const body = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(BODY)));
    for (const marker of markers) {
      const own = copies.filter((copy) => copy.marker === marker);
      expect(own.flatMap(({ recipients }) => recipients).sort()).toEqual([...MEMBERS].sort());
      for (const { bodySha, sender } of own) {
        expect(bodySha).toBe(body.toString('hex'));
        expect(sender).toMatch(/^b\+[a-z2-7]{37}@/);
      }
    }
    expect(await site.troupe('list', 'show', LIST)).toMatchObject({ posts: markers.length });
  },
  90_000,
);

test.skipIf(why !== null)(
  'Postfix keeps mail for a list that is not there as undeliverable, by our 550',
  async () => {
    const from = sink.lines().length;
    expect(await sendThere('postfix-unknown', `nobody@${DOMAIN}`)).toMatchObject({ code: 250 });
    const bounce = await until('the bounce', () => {
      const fresh = sink.lines().slice(from);
      return fresh.find(({ sender }) => sender === '') ?? null;
    });
    expect(bounce.recipients).toEqual([MEMBERS[0]]);
    expect(postfix.log()).toContain('550 5.1.1');
  },
);
