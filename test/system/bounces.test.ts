/** Bounces, from outside: real DSNs by SMTP, to return paths that a sink saw, and what becomes of them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type DsnOf, dsnFrom } from '../support/dsns.ts';
import { greet, sendMail } from '../support/send-mail.ts';
import { type SinkLine, type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { connectSmtp } from '../support/smtp-client.ts';
import { until } from '../support/until.ts';

const MEMBERS = ['ann@sink.example', 'bob@sink.example'];
const [ANN = '', BOB = ''] = MEMBERS;
const OWNER = 'owner@sink.example';

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess({ keepHeader: true, keepBody: true });
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url, connections: 2 }],
    env: { TROUPE_BOUNCES_CHECKPOINT_MS: '100' },
  });
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

let lists = 0;

async function newList(...settings: readonly string[]): Promise<string> {
  const list = `b${++lists}@${DOMAIN}`;
  await site.troupe('list', 'create', list, '--owner', OWNER, '--posting', 'anyone');
  await site.troupe('member', 'add', list, ...MEMBERS);
  if (settings.length > 0) await site.troupe('list', 'set', list, ...settings);
  return list;
}

async function smtp(sender: string, to: string, message: Buffer) {
  const client = await connectSmtp(site.ports().smtpPort);
  await greet(client);
  const reply = await sendMail(client, { sender, recipients: [to], message });
  client.drop();
  expect(reply.code).toBe(250);
}

async function post(list: string, marker: string, copies = MEMBERS.length): Promise<SinkLine[]> {
  const header = `From: x@client.example\r\nTo: ${list}\r\nSubject: ${marker}\r\nX-Marker: ${marker}`;
  const message = Buffer.from(`${header}\r\nMessage-ID: <${marker}@x>\r\n\r\nhello\r\n`);
  await smtp('x@client.example', list, message);
  return await until(`${copies} copies of ${marker}`, () => {
    const lines = sink.lines().filter((line) => line.marker === marker);
    return lines.length >= copies ? lines : null;
  });
}

const bounceTo = (returnPath: string, dsn: DsnOf): Promise<void> =>
  smtp('', returnPath, dsnFrom(dsn));

/** What goes to one recipient and says this in its subject. */
function noticeTo(to: string, subject: string): Promise<SinkLine> {
  return until(`“${subject}” to ${to}`, () => {
    const lines = sink.lines();
    return lines.find((l) => l.recipients.includes(to) && l.header?.includes(subject)) ?? null;
  });
}

type Listed = { members: { address: string; score: number; mail: string; bounces: number }[] };

const listed = (list: string): Promise<Listed['members']> =>
  site.troupe<Listed>('bounces', 'ls', list).then(({ members }) => members);

function untilListed(list: string, wanted: Partial<Listed['members'][number]>) {
  return until(`${JSON.stringify(wanted)} in bounces ls`, async () => {
    const [member] = await listed(list);
    return member !== undefined && expect.objectContaining(wanted).asymmetricMatch(member)
      ? member
      : null;
  });
}

const returnPathOf = (lines: readonly SinkLine[], to: string): string =>
  lines.find(({ recipients }) => recipients.includes(to))?.sender ?? '';

test('a member whose probe comes back gets no more posts, and comes back by one button', async () => {
  const list = await newList('bounce-threshold=1');
  const first = await post(list, 'first');
  await bounceTo(returnPathOf(first, BOB), { to: BOB });
  const probe = await noticeTo(BOB, `Does mail from ${list} reach you?`);
  expect(probe.sender).toMatch(new RegExp(`^b\\+[a-z2-7]{37}@${DOMAIN}$`));
  await untilListed(list, { address: BOB, score: 1, mail: 'probing' });
  const second = await post(list, 'second');
  expect(returnPathOf(second, BOB)).not.toBe('');

  await bounceTo(probe.sender, { to: BOB });
  const warning = await noticeTo(BOB, `${list} has stopped sending you mail`);
  expect(warning.sender).toBe('');
  await untilListed(list, { address: BOB, mail: 'disabled' });
  await noticeTo(OWNER, `Bounces on ${list}: 1 disabled, 0 removed`);
  const third = await post(list, 'third', 1);
  expect(third.flatMap(({ recipients }) => recipients)).toEqual([ANN]);

  const history = await site.troupe<{ history: { what: string }[]; dsns: { dsn: string }[] }>(
    ...['bounces', 'show', list, BOB],
  );
  expect(history.history.map(({ what }) => what)).toEqual([
    ...['user-unknown 5.1.1', 'probed 1', 'probe: user-unknown 5.1.1', 'disabled'],
  ]);
  expect(history.dsns[0]?.dsn).toContain('Final-Recipient: rfc822; bob@sink.example');

  const body = warning.body ?? '';
  const token = /\/d\/([a-z2-7]{37})/.exec(body.replaceAll('=\r\n', ''))?.[1] ?? '';
  const page = `http://127.0.0.1:${site.ports().httpPort}/d/${token}`;
  expect((await fetch(page)).status).toBe(200);
  const pressed = await fetch(page, {
    method: 'POST',
    body: new URLSearchParams({ confirm: 'deliver' }),
  });
  expect(pressed.status).toBe(200);
  await untilListed(list, { address: BOB, mail: 'delivering', score: 0 });
  await post(list, 'fourth');
});
