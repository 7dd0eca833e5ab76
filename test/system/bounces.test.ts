/** Bounces, from outside: real DSNs by SMTP, to return paths that a sink saw, and what becomes of them. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type DsnOf, dsnFrom } from '../support/dsns.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkLine, type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

/** Each step is a process or more; on a busy machine a story of many takes minutes. */
const PATIENCE_MS = 120_000;
vi.setConfig({ testTimeout: 4 * PATIENCE_MS, hookTimeout: PATIENCE_MS });

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
  const mail = { sender, recipients: [to], message };
  expect((await sendOnce(site.ports().smtpPort, mail)).code).toBe(250);
}

async function post(list: string, marker: string, copies = MEMBERS.length): Promise<SinkLine[]> {
  const header = `From: x@client.example\r\nTo: ${list}\r\nSubject: ${marker}\r\nX-Marker: ${marker}`;
  const message = Buffer.from(`${header}\r\nMessage-ID: <${marker}@x>\r\n\r\nhello\r\n`);
  await smtp('x@client.example', list, message);
  return await until(
    `${copies} copies of ${marker}`,
    () => {
      const lines = sink.lines().filter((line) => line.marker === marker);
      return lines.length >= copies ? lines : null;
    },
    PATIENCE_MS,
  );
}

const bounceTo = (returnPath: string, dsn: DsnOf): Promise<void> =>
  smtp('', returnPath, dsnFrom(dsn));

/** What goes to one recipient and says this in its subject. */
function noticeTo(to: string, subject: string): Promise<SinkLine> {
  return until(
    `“${subject}” to ${to}`,
    () => {
      const lines = sink.lines();
      return lines.find((l) => l.recipients.includes(to) && l.header?.includes(subject)) ?? null;
    },
    PATIENCE_MS,
  );
}

type Listed = { members: { address: string; score: number; mail: string; bounces: number }[] };

const listed = (list: string): Promise<Listed['members']> =>
  site.troupe<Listed>('bounces', 'ls', list).then(({ members }) => members);

function untilListed(list: string, wanted: Partial<Listed['members'][number]>) {
  return until(
    `${JSON.stringify(wanted)} in bounces ls`,
    async () => {
      const [member] = await listed(list);
      return member !== undefined && expect.objectContaining(wanted).asymmetricMatch(member)
        ? member
        : null;
    },
    PATIENCE_MS,
  );
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

  const history = await site.troupe<{
    history: { seq: number; what: string; cause?: number }[];
    dsns: { seq: number; dsn: string; route: string | null; reason: string }[];
  }>(...['bounces', 'show', list, BOB]);
  expect(history.history.map(({ what }) => what)).toEqual([
    ...['user-unknown 5.1.1', 'probed 1', 'probe: user-unknown 5.1.1', 'disabled'],
  ]);
  // The DSN of the probe made the list disable, that of the post made it probe; the record knows the post's route.
  const [post1, probed, back, stopped] = history.history;
  expect([probed?.cause, stopped?.cause]).toEqual([post1?.seq, back?.seq]);
  const reason = 'user-unknown';
  expect(history.dsns).toMatchObject([
    { seq: back?.seq, reason, route: null, dsn: expect.stringContaining('Final-Recipient') },
    { seq: post1?.seq, reason, route: 'sink', dsn: expect.stringContaining('Final-Recipient') },
  ]);

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

test('a plain DSN leads to one probe of the member it names, and to nothing else', async () => {
  const list = await newList('mode=shared');
  const [copy] = await post(list, 'shared', 1);
  const robot = copy?.sender ?? '';
  expect(robot).toBe(list.replace('@', '-bounces@'));
  for (let i = 0; i < 3; i++) await bounceTo(robot, { to: BOB });
  await bounceTo(robot, { to: 'stranger@elsewhere.example' });
  await noticeTo(BOB, `Does mail from ${list} reach you?`);
  const report = await until(
    'the hints in the report',
    async () => {
      const { days } = await site.troupe<{ days: { hints: number; bounces: number }[] }>(
        ...['inspect', 'bounces', list],
      );
      return days[0]?.hints === 2 ? days : null; // An address counts once a day.
    },
    PATIENCE_MS,
  );
  expect(report).toMatchObject([{ bounces: 0 }]);
  const probes = sink.lines().filter(({ header }) => header?.includes(`Does mail from ${list}`));
  expect(probes.flatMap(({ recipients }) => recipients)).toEqual([BOB]);
  expect(await listed(list)).toMatchObject([{ address: BOB, score: 0, mail: 'probing' }]);
});

test('what is delayed, or a reply of a machine, counts nothing; a wrong MAC is refused', async () => {
  const list = await newList('bounce-threshold=0.25');
  const path = returnPathOf(await post(list, 'late'), BOB);
  await bounceTo(path, { to: BOB, action: 'delayed', status: '4.4.1', diagnostic: '451 later' });
  const away = 'From: bob@sink.example\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied';
  await smtp(
    'bob@sink.example',
    path,
    Buffer.from(`${away}\r\n\r\nI am on holiday until May.\r\n`),
  );
  const last = path.indexOf('@') - 1;
  const wrong = path.slice(0, last) + (path[last] === 'a' ? 'b' : 'a') + path.slice(last + 1);
  const forged = { sender: '', recipients: [wrong], message: dsnFrom({ to: BOB }) };
  const refused = await sendOnce(site.ports().smtpPort, forged);
  expect(refused.code).toBe(550);
  // Ann's bounce comes after them all on the same way.
  await bounceTo(
    returnPathOf(
      sink.lines().filter(({ marker }) => marker === 'late'),
      ANN,
    ),
    { to: ANN },
  );
  await untilListed(list, { address: ANN, bounces: 1 });
  expect((await listed(list)).map(({ address }) => address)).toEqual([ANN]);
});

test('what is not understood is kept, listed with why not, and looked at again when told', async () => {
  const list = await newList();
  const path = returnPathOf(await post(list, 'odd'), BOB);
  await smtp(
    'x@client.example',
    path,
    Buffer.from('Subject: hm\r\n\r\nYour essay came out well.\r\n'),
  );
  type Parked = { seq: number; why: string };
  const [parked] = await until(
    'it is set aside',
    async () => {
      const found = await site.troupe<Parked[]>('bounces', 'ls', '--unrecognised');
      return found.length > 0 ? found : null;
    },
    PATIENCE_MS,
  );
  expect(parked?.why).not.toBe('');
  expect(await site.troupe('bounces', 'replay', String(parked?.seq))).toEqual({
    ...{ replayed: [parked?.seq], missing: [] },
  });
  await until(
    'it is set aside again',
    async () => {
      const [again] = await site.troupe<Parked[]>('bounces', 'ls', '--unrecognised');
      return again !== undefined && again.seq !== parked?.seq ? true : null;
    },
    PATIENCE_MS,
  );
});
