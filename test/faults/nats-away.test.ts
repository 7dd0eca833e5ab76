/**
 * NATS does not answer: mail is put off with 451 and nothing is lost; when it is back, everything
 * goes on by itself.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { greet, sendOnce } from '../support/send-mail.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { connectSmtp } from '../support/smtp-client.ts';
import { makePost } from '../support/smtp-load.ts';
import { until } from '../support/until.ts';

const LIST = `dev@${DOMAIN}`;
const MEMBERS = ['ann@sink.example', 'bob@sink.example'];
/** Longer than a publish or a request waits. */
const SILENT_MS_MAX = 240_000;

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess();
  site = await startTestSite({ routes: [{ name: 'sink', url: sink.url }] });
  await site.troupe('list', 'create', LIST, '--owner', MEMBERS[0] ?? '');
  await site.troupe('member', 'add', LIST, ...MEMBERS);
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

/** One try on a connection of its own; the code and status of the reply that ended it. */
async function send(marker: string) {
  const { message, sender } = makePost(marker, LIST, MEMBERS[0] ?? '', 800);
  return sendBytes(message, sender);
}

const sendBytes = (message: Buffer, sender: string) =>
  sendOnce(site.ports().smtpPort, { sender, recipients: [LIST], message });

const copiesOf = (marker: string) => sink.lines().filter((line) => line.marker === marker);

async function untilCopies(marker: string): Promise<void> {
  await until(`the copies of ${marker}`, () =>
    copiesOf(marker).length >= MEMBERS.length ? true : null,
  );
}

test('a server that is silent: 451 while it is, 250 when it is back, and one post', {
  timeout: 2 * SILENT_MS_MAX,
}, async () => {
  const { message, sender } = makePost('silent', LIST, MEMBERS[0] ?? '', 800);
  const { pid } = site.nats();
  process.kill(pid, 'SIGSTOP');
  try {
    expect(await sendBytes(message, sender)).toMatchObject({ code: 451, status: '4.3.0' });
    expect(copiesOf('silent')).toEqual([]);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await until('it is taken', async () => {
    return (await sendBytes(message, sender)).code === 250 ? true : null;
  });
  await untilCopies('silent');
  await send('after-silent');
  await untilCopies('after-silent');
  expect(copiesOf('silent')).toHaveLength(MEMBERS.length);
  expect(await site.troupe('list', 'show', LIST)).toMatchObject({ posts: 2 });
});

test('a server that was killed is started again, on its port, and clients find it', async () => {
  const before = site.nats();
  await site.killNats();
  const after = await until('another runs', () => {
    const note = site.nats();
    return note.pid !== before.pid && note.pid > 0 ? note : null;
  });
  expect(after.url).toBe(before.url);
  await until('posts are taken', async () => ((await send('revived')).code === 250 ? true : null));
  await untilCopies('revived');
});

test('nothing is taken or lost that was not whole when the client went away in DATA', async () => {
  const { posts } = await site.troupe<{ posts: number }>('list', 'show', LIST);
  const client = await connectSmtp(site.ports().smtpPort);
  await greet(client);
  await client.sayAll(`MAIL FROM:<${MEMBERS[0]}>`, `RCPT TO:<${LIST}>`, 'DATA');
  await client.write('Subject: half\r\nX-Marker: half\r\n\r\nhalf a message\r\n');
  client.drop();
  await client.closed;
  await send('after-half');
  await untilCopies('after-half');
  expect(copiesOf('half')).toEqual([]);
  expect(await site.troupe('list', 'show', LIST)).toMatchObject({ posts: posts + 1 });
});
