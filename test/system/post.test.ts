/**
 * The whole program, from outside: a post by SMTP or LMTP comes out once per member, and everything
 * around it answers.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { greet, sendMail, sendMailToEach, sendOnce } from '../support/send-mail.ts';
import { type SinkLine, type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { connectSmtp } from '../support/smtp-client.ts';
import { plainNats } from '../support/streams-dump.ts';
import { until } from '../support/until.ts';

const MEMBERS = ['ann@sink.example', 'bob@sink.example', 'cyd@sink.example'];
const OWNER = 'owner@sink.example';
const BODY = 'Hello all,\r\n.a line with a dot\r\n>From here on\r\n\r\n\ttabs and  spaces \r\n';

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess({ keepHeader: true });
  site = await startTestSite({ routes: [{ name: 'sink', url: sink.url, connections: 2 }] });
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

let lists = 0;

/** A list of its own for each test, so that they do not see each other. */
async function newList(...flags: readonly string[]): Promise<string> {
  const list = `list${++lists}@${DOMAIN}`;
  await site.troupe('list', 'create', list, '--owner', OWNER, ...flags);
  await site.troupe('member', 'add', list, ...MEMBERS);
  return list;
}

type Mail = {
  readonly to: string;
  readonly marker: string;
  readonly from?: string;
  readonly fields?: readonly string[];
};

function messageOf({ to, marker, from = 'ann@sink.example', fields = [] }: Mail): Buffer {
  const header = [
    `From: Somebody <${from}>`,
    `To: ${to}`,
    `Subject: About ${marker}`,
    `Message-ID: <${marker}@client.example>`,
    `X-Marker: ${marker}`,
    ...fields,
  ];
  return Buffer.from(`${header.join('\r\n')}\r\n\r\n${BODY}`);
}

const send = (mail: Mail, sender = mail.from ?? 'ann@sink.example') =>
  sendOnce(site.ports().smtpPort, { sender, recipients: [mail.to], message: messageOf(mail) });

const linesOf = (marker: string): SinkLine[] =>
  sink.lines().filter((line) => line.marker === marker);

/** The copies of a post, once there is one for each member. */
function copiesOf(marker: string, count = MEMBERS.length): Promise<SinkLine[]> {
  return until(`${count} copies of ${marker}`, () => {
    const lines = linesOf(marker);
    return lines.length >= count ? lines : null;
  });
}

/** Unfolded fields of a header, in order. */
function fieldsOf(line: SinkLine): [name: string, value: string][] {
  const unfolded = (line.header ?? '').replaceAll(/\r\n[ \t]+/g, ' ');
  return unfolded
    .split('\r\n')
    .filter((text) => text !== '')
    .map((text) => [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1).trim()]);
}

const fieldOf = (line: SinkLine, name: string): string =>
  fieldsOf(line).find(([found]) => found.toLowerCase() === name.toLowerCase())?.[1] ?? '';

const sha = async (text: string): Promise<string> =>
  Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text))).toString('hex');

test('a post by SMTP comes out once per member, cooked, its body unchanged', async () => {
  const list = await newList('--prefix', '[pre]');
  expect(await send({ to: list, marker: 'smtp-1' })).toMatchObject({ code: 250 });
  const copies = await copiesOf('smtp-1');
  expect(copies.flatMap(({ recipients }) => recipients).sort()).toEqual(MEMBERS);
  const body = await sha(BODY);
  for (const copy of copies) {
    expect(copy.bodySha).toBe(body);
    expect(copy.sender).toMatch(new RegExp(`^b\\+[a-z2-7]{37}@${DOMAIN}$`));
    expect(fieldOf(copy, 'List-Id')).toContain(`<${list.replace('@', '.')}>`);
    expect(fieldOf(copy, 'List-Post')).toBe(`<mailto:${list}>`);
    expect(fieldOf(copy, 'List-Unsubscribe')).toMatch(
      /^<https:\/\/lists\.example\.org\/u\/[a-z2-7]{37}>, <mailto:u\+[a-z2-7]{37}@lists\.example\.org>$/,
    );
    expect(fieldOf(copy, 'List-Unsubscribe-Post')).toBe('List-Unsubscribe=One-Click');
    expect(fieldOf(copy, 'Precedence')).toBe('list');
    expect(fieldOf(copy, 'Subject')).toBe('[pre] About smtp-1');
    expect(copy.messageId).toBe('<smtp-1@client.example>');
  }
  expect(new Set(copies.map(({ sender }) => sender)).size).toBe(MEMBERS.length);
});

test('a post by LMTP is answered per recipient and comes out once per member', async () => {
  const list = await newList();
  const client = await connectSmtp(site.ports().lmtpPort);
  await greet(client, true);
  const other = await newList();
  const replies = await sendMailToEach(
    client,
    {
      sender: 'ann@sink.example',
      recipients: [list, other],
      message: messageOf({ to: list, marker: 'lmtp-1' }),
    },
    2,
  );
  client.drop();
  expect(replies.map(({ code }) => code)).toEqual([250, 250]);
  const copies = await copiesOf('lmtp-1', 2 * MEMBERS.length);
  for (const name of [list, other]) {
    const ofList = copies.filter((copy) => fieldOf(copy, 'List-Post').includes(name));
    expect(ofList.flatMap(({ recipients }) => recipients).sort()).toEqual(MEMBERS);
  }
});

test('the same bytes from the same sender are one post', async () => {
  const list = await newList();
  await send({ to: list, marker: 'twice' });
  await send({ to: list, marker: 'twice' });
  await send({ to: list, marker: 'after-twice' });
  await copiesOf('twice');
  await copiesOf('after-twice');
  expect(linesOf('twice')).toHaveLength(MEMBERS.length);
  expect(await site.troupe('list', 'show', list)).toMatchObject({ posts: 2 });
});

type Held = { readonly hold: number; readonly reasons: readonly string[] };

test('a post of a stranger is held, its moderators are told, and approving sends it', async () => {
  const list = await newList();
  await send({ to: list, marker: 'held-1', from: 'stranger@else.example' });
  const [held] = await until('the hold', async () => {
    const holds = await site.troupe<Held[]>('hold', 'ls', list);
    return holds.length > 0 ? holds : null;
  });
  expect(held).toMatchObject({ hold: 1, reasons: ['not-a-member'] });
  const notice = await until('the notice', () => {
    const found = sink.lines().find((line) => {
      return line.sender === '' && (line.header ?? '').includes(list.split('@')[0] ?? '');
    });
    return found ?? null;
  });
  expect(notice.recipients).toEqual([OWNER]);
  expect(fieldOf(notice, 'Auto-Submitted')).toMatch(/^auto-/);
  expect(linesOf('held-1')).toEqual([]);
  await site.troupe('hold', 'show', list, '1');
  await site.troupe('hold', 'approve', list, '1');
  const copies = await copiesOf('held-1');
  expect(copies.flatMap(({ recipients }) => recipients).sort()).toEqual(MEMBERS);
  expect(await site.troupe('hold', 'ls', list)).toEqual([]);
});

test('a rejected post goes back to its sender with the comment, a discarded one to nobody', async () => {
  const list = await newList();
  await send({ to: list, marker: 'rejected', from: 'one@else.example' });
  await send({ to: list, marker: 'discarded', from: 'two@else.example' });
  const holds = await until('two holds', async () => {
    const found = await site.troupe<Held[]>('hold', 'ls', list);
    return found.length === 2 ? found : null;
  });
  expect(holds.map(({ hold }) => hold)).toEqual([1, 2]);
  await site.troupe('hold', 'reject', list, '1', '--comment', 'Not here, please.');
  await site.troupe('hold', 'discard', list, '2');
  const told = await until('the rejection', () => {
    return sink.lines().find(({ recipients }) => recipients[0] === 'one@else.example') ?? null;
  });
  expect(told.sender).toBe('');
  expect(sink.lines().some(({ recipients }) => recipients[0] === 'two@else.example')).toBe(false);
  expect(linesOf('rejected')).toEqual([]);
});

test('mail to -owner is forwarded to the owners, whoever sent it', async () => {
  const list = await newList();
  const to = list.replace('@', '-owner@');
  expect(await send({ to, marker: 'owner-1', from: 'who@else.example' })).toMatchObject({
    code: 250,
  });
  const [copy] = await copiesOf('owner-1', 1);
  expect(copy?.recipients).toEqual([OWNER]);
  expect(copy?.bodySha).toBe(await sha(BODY));
});

const addressesOf = async (list: string): Promise<string[]> => {
  const members = await site.troupe<{ address: string }[]>('member', 'ls', list);
  return members.map(({ address }) => address);
};

test('a one-click POST removes at once, again is 200, and GET removes nobody', async () => {
  const list = await newList();
  await send({ to: list, marker: 'leave-1' });
  const copies = await copiesOf('leave-1');
  const bob = copies.find(({ recipients }) => recipients[0] === 'bob@sink.example');
  if (bob === undefined) throw new Error('no copy for bob');
  const [, path = ''] =
    /<https:\/\/[^/]+(\/u\/[^>]+)>/.exec(fieldOf(bob, 'List-Unsubscribe')) ?? [];
  const url = `http://127.0.0.1:${site.ports().httpPort}${path}`;
  expect((await fetch(url)).status).toBe(200);
  expect(await addressesOf(list)).toEqual(MEMBERS);
  for (const _ of ['once', 'and again']) {
    const body = new URLSearchParams({ 'List-Unsubscribe': 'One-Click' });
    expect((await fetch(url, { method: 'POST', body })).status).toBe(200);
    expect(await addressesOf(list)).toEqual(
      MEMBERS.filter((address) => !address.startsWith('bob')),
    );
  }
  await send({ to: list, marker: 'leave-2' });
  await copiesOf('leave-2', 2);
  await send({ to: list, marker: 'leave-3' });
  await copiesOf('leave-3', 2);
  expect(linesOf('leave-2')).toHaveLength(2);
});

test('a mail to the address in List-Unsubscribe removes that member', async () => {
  const list = await newList();
  await send({ to: list, marker: 'mailto-1' });
  const [copy] = await copiesOf('mailto-1');
  if (copy === undefined) throw new Error('no copy');
  const [, to = ''] = /<mailto:(u\+[^>]+)>/.exec(fieldOf(copy, 'List-Unsubscribe')) ?? [];
  const from = copy.recipients[0] ?? '';
  expect(await send({ to, marker: 'mailto-leave', from })).toMatchObject({ code: 250 });
  await until('it is removed', async () => {
    return (await addressesOf(list)).includes(from) ? null : true;
  });
  const forged = to.replace(/.@/, (last) => (last === 'a@' ? 'b@' : 'a@'));
  expect(await send({ to: forged, marker: 'forged' })).toMatchObject({ code: 550 });
});

test('an unknown list is refused with 550 5.1.1, and mail for elsewhere is not relayed', async () => {
  const unknown = await send({ to: `nobody@${DOMAIN}`, marker: 'unknown' });
  expect(unknown).toMatchObject({ code: 550, status: '5.1.1' });
  const relay = await send({ to: 'someone@else.example', marker: 'relay' });
  expect(relay).toMatchObject({ code: 550, status: '5.7.1' });
});

test('a list made a moment ago takes posts at once, and a retired one no more', async () => {
  const list = `fresh@${DOMAIN}`;
  expect(await send({ to: list, marker: 'early' })).toMatchObject({ code: 550 });
  await site.troupe('list', 'create', list, '--owner', OWNER, '--posting', 'anyone');
  await until('the name is known', async () => {
    return (await send({ to: list, marker: 'fresh' })).code === 250 ? true : null;
  });
  await site.troupe('list', 'retire', list, '--yes');
  await until('the name is gone', async () => {
    return (await send({ to: list, marker: 'late' })).code === 550 ? true : null;
  });
});

test('over-size is refused by SIZE and by the bytes', async () => {
  const list = await newList('--max-size', '20KB');
  const client = await connectSmtp(site.ports().smtpPort);
  await greet(client);
  await client.sayAll('MAIL FROM:<ann@sink.example> SIZE=50000');
  expect(await client.say(`RCPT TO:<${list}>`)).toMatchObject({ code: 552, status: '5.3.4' });
  await client.say('RSET');
  const message = Buffer.concat([
    messageOf({ to: list, marker: 'large' }),
    Buffer.from('x'.repeat(70).concat('\r\n').repeat(500)),
  ]);
  const mail = { sender: 'ann@sink.example', recipients: [list], message };
  expect(await sendMail(client, mail)).toMatchObject({ code: 552, status: '5.3.4' });
  client.drop();
});

test('`troupe inspect` and a plain NATS request give the same answer', async () => {
  const list = await newList();
  const byVerb = await site.troupe<Record<string, unknown>>('inspect', 'list', list);
  const nc = await plainNats(site.nats());
  const reply = await nc.request(`troupe.inspect.list.${list}`, '', { timeout: 60_000 });
  await nc.close();
  const byRequest = reply.json<Record<string, unknown>>();
  for (const field of ['node', 'epoch', 'seq', 'n', 'members', 'outbox', 'blocked', 'state']) {
    expect(byVerb).toHaveProperty(field);
  }
  const stable = ({ asOf: _, leaseMsLeft: __, ...rest }: Record<string, unknown>) => rest;
  expect(stable(byRequest)).toEqual(stable(byVerb));
  expect(byVerb).toMatchObject({ members: 3, state: 'open', blocked: false });
});

test('/metrics, /health and /ready answer, and say what was done', async () => {
  const base = `http://127.0.0.1:${site.ports().httpPort}`;
  expect((await fetch(`${base}/ready`)).status).toBe(200);
  const health = await fetch(`${base}/health`);
  expect(health.status).toBe(200);
  expect(await health.json()).toMatchObject({ isReady: true });
  const metrics = await (await fetch(`${base}/metrics`)).text();
  expect(metrics).toMatch(/^troupe_\w+(\{[^}]*\})? \d/m);
  expect(metrics).toMatch(/^troupe_outgoing_accepted\w*\{[^}]*route="sink"[^}]*\} [1-9]/m);
  expect(metrics).toMatch(/^troupe_route_replies_total\{route="sink",outcome="accepted"\} [1-9]/m);
  expect(metrics).toContain('troupe_route_state{route="sink",state="closed",role="primary"} 1');
});
