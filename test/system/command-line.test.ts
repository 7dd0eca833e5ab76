/**
 * Every verb against a site that really runs: tables, JSON, exit codes, and what a second try does.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULT_SETTINGS } from '../../actors/list/settings.ts';
import type { ListInspection, ListView } from '../../actors/protocol.ts';
import { silentLog } from '../../src/log.ts';
import { connect } from '../../src/nats/connect.ts';
import type { OutboxMail, OutboxPage } from '../../src/nats/outbox-view.ts';
import { sendOnce } from '../support/send-mail.ts';
import { DOMAIN, newPlace, runTroupe, startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

type CapturedMail = NonNullable<OutboxMail['mail']>;

const DEV = `dev@${DOMAIN}`;
let site: TestSite;
beforeAll(async () => {
  site = await startTestSite();
});
afterAll(() => site?.close());

async function post(from: string, to: string, subject: string, body = 'Hello.'): Promise<void> {
  const lines = [`From: ${from}`, `To: ${to}`, `Subject: ${subject}`, '', body, ''];
  const message = Buffer.from(lines.join('\r\n'));
  const mail = { sender: from, recipients: [to], message };
  expect((await sendOnce(site.ports().smtpPort, mail)).code).toBe(250);
}

const outbox = (): Promise<OutboxPage> => site.troupe<OutboxPage>('outbox');
const captured = (subject: string) =>
  until(`“${subject}” is captured`, async () => {
    const { mails } = await outbox();
    return mails.find((mail) => mail.subject.includes(subject)) ?? null;
  });

describe('list', () => {
  test('is created once, and creating it again is refused', async () => {
    const roles = ['--owner', 'o@example.org', '--moderator', 'n@example.org'];
    const made = await site.run('list', 'create', DEV, '--name', 'Dev', ...roles);
    expect(made).toMatchObject({ code: 0, stdout: `created ${DEV}\n` });
    const again = await site.run('list', 'create', DEV);
    expect(again).toMatchObject({ code: 1, stdout: '' });
    expect(again.stderr).toContain(`${DEV} exists already`);
    expect(await site.troupe<ListView>('list', 'show', DEV)).toMatchObject({
      owners: ['o@example.org'],
      moderators: ['n@example.org'],
      settings: { maxMessageBytes: DEFAULT_SETTINGS.maxMessageBytes },
    });
  });

  test('is set by words and by flags; twice is no failure', async () => {
    const words = ['posting=members', 'emergency=on', '--prefix', '[dev]', '--max-size', '500KB'];
    expect((await site.run('list', 'set', DEV, ...words)).code).toBe(0);
    const view = await site.troupe<ListView>('list', 'set', DEV, ...words);
    expect(view).toMatchObject({
      state: 'emergency',
      settings: { posting: 'members', subjectPrefix: '[dev]', maxMessageBytes: 500_000 },
    });
    expect((await site.run('list', 'set', DEV, 'emergency=off')).code).toBe(0);
    const roles = ['--add-moderator', 'm@example.org', '--add-owner', 'p@example.org'];
    const leaving = ['--remove-owner', 'o@example.org', '--remove-moderator', 'n@example.org'];
    await site.troupe('list', 'set', DEV, ...roles, ...leaving);
    expect(await site.troupe<ListView>('list', 'show', DEV)).toMatchObject({
      state: 'open',
      owners: ['p@example.org'],
      moderators: ['m@example.org'],
    });
  });

  test('is shown and listed as a table', async () => {
    const { stdout } = await site.run('list', 'show', DEV);
    expect(stdout).toMatch(/^posting +members$/m);
    expect((await site.run('list', 'ls')).stdout).toMatch(
      new RegExp(`^ADDRESS +STATE +MAX SIZE\n${DEV} +active +488 KiB$`, 'm'),
    );
  });

  test.each(['a*b', 'a>b', 'a b', 'a\r\nb', 'x'.repeat(300), '.', 'a..b', 'dev-owner@x'])(
    'the name %j is refused with exit 1 and never stands in a subject',
    async (name) => {
      const { code, stderr } = await site.run('list', 'create', `${name}@${DOMAIN}`);
      expect(code).toBe(1);
      expect(stderr).toContain('cannot be the address of a list');
    },
  );

  test('is retired only with --yes, for good', async () => {
    const old = `old.list@${DOMAIN}`;
    await site.troupe('list', 'create', old);
    expect((await site.run('list', 'retire', old)).stderr).toContain('--yes');
    expect((await site.run('list', 'retire', old, '--yes')).code).toBe(0);
    expect((await site.run('list', 'create', old)).stderr).toContain('exists and is retired');
  });
});

describe('member', () => {
  test('add, ls and remove', async () => {
    const add = ['member', 'add', DEV, 'Jane Doe <jane@example.org>', 'bob@example.org'];
    expect(await site.troupe(...add)).toEqual({ added: 2, already: 0 });
    expect(await site.troupe(...add)).toEqual({ added: 0, already: 2 });
    const table = (await site.run('member', 'ls', DEV)).stdout.split('\n');
    expect(table[1]).toMatch(/^ +1 {2}jane@example\.org +Jane Doe +20/);
    const gone = await site.run('member', 'remove', DEV, 'bob@example.org', 'nobody@example.org');
    expect(gone).toMatchObject({ code: 1, stdout: 'removed bob@example.org\n' });
    expect(gone.stderr).toContain('nobody@example.org');
    expect(await site.troupe('member', 'ls', DEV, '--role', 'owner')).toHaveLength(1);
  });

  test('import reports bad lines by number, and run again does nothing twice', async () => {
    const big = `big@${DOMAIN}`;
    await site.troupe('list', 'create', big);
    const file = join(site.data, 'members.txt');
    const lines = Array.from({ length: 5_000 }, (_, i) => `Member ${i} <m${i}@example.org>`);
    writeFileSync(file, [...lines.slice(0, 10), 'nonsense', ...lines.slice(10)].join('\n'));
    const first = await site.run('member', 'import', big, file);
    expect(first.code).toBe(1);
    expect(first.stderr).toContain('line 11: no address');
    expect(first.stdout).toMatch(/^added +5000$/m);
    const again = JSON.parse((await site.run('member', 'import', big, file, '--json')).stdout);
    expect(again).toMatchObject({ added: 0, repeated: 5_000, refused: 1 });
    const afresh = await site.run('member', 'import', big, file, '--again', '--json');
    expect(JSON.parse(afresh.stdout)).toMatchObject({ added: 0, already: 5_000, repeated: 0 });
    const all = await site.troupe<{ address: string }[]>('member', 'ls', big);
    expect(new Set(all.map(({ address }) => address)).size).toBe(5_000);
  });
});

describe('hold and outbox', () => {
  test('a stranger is held, shown, approved; another is rejected with a word, a third discarded', async () => {
    await post('stranger@example.net', DEV, 'first try', 'The body of it.');
    await post('stranger@example.net', DEV, 'second try');
    await post('stranger@example.net', DEV, 'third try');
    const holds = await until('three are held', async () => {
      const found = await site.troupe<{ hold: number }[]>('hold', 'ls', DEV);
      return found.length === 3 ? found.map(({ hold }) => String(hold)) : null;
    });
    const [first = '', second = '', third = ''] = holds;
    const shown = await site.run('hold', 'show', DEV, first);
    expect(shown.stdout).toMatch(/^Subject +first try$/m);
    expect(shown.stdout).toMatch(/^authentication +none \(nothing vouches for From\)$/m);
    expect(shown.stdout).toContain('  The body of it.');
    expect(await site.run('hold', 'approve', DEV, first, '999')).toMatchObject({
      code: 1,
      stdout: `approved ${first}\n`,
    });
    expect((await site.run('hold', 'reject', DEV, second, '--comment', 'Not here.')).code).toBe(0);
    expect((await site.run('hold', 'discard', DEV, third)).code).toBe(0);
    expect((await site.run('hold', 'ls', DEV)).stdout).toBe(`Nothing is held on ${DEV}.\n`);
    const { id } = await captured('[dev] first try');
    const mail = await site.troupe<CapturedMail>('outbox', String(id));
    expect(mail.recipients).toEqual(['jane@example.org']);
    expect(Buffer.from(mail.raw, 'base64').toString()).toContain('The body of it.');
    expect((await captured('was not accepted')).recipients).toEqual(['stranger@example.net']);
    expect((await site.run('outbox')).stdout).toMatch(/^ID +AT +TO +SIZE +SUBJECT$/m);
    expect((await site.run('outbox', '12345')).code).toBe(1);
  });

  test('the one-click link of a captured mail removes its member', async () => {
    await site.troupe('list', 'create', `click@${DOMAIN}`, '--posting', 'anyone');
    await site.troupe('member', 'add', `click@${DOMAIN}`, 'ann@example.org');
    await post('x@example.net', `click@${DOMAIN}`, 'please click');
    const { id } = await captured('please click');
    const mail = await site.troupe<CapturedMail>('outbox', String(id));
    const raw = Buffer.from(mail.raw, 'base64').toString();
    const path = /List-Unsubscribe:\s+<https?:\/\/[^/]+(\/u\/[a-z2-7]+)>/.exec(raw)?.[1];
    const url = `http://127.0.0.1:${site.ports().httpPort}${path}`;
    expect(await (await fetch(url, { headers: { accept: 'text/html' } })).text()).toContain(
      'a…@e….org',
    );
    expect(await site.troupe('member', 'ls', `click@${DOMAIN}`)).toHaveLength(1);
    for (let i = 0; i < 2; i++) {
      const body = new URLSearchParams({ 'List-Unsubscribe': 'One-Click' });
      expect((await fetch(url, { method: 'POST', body })).status).toBe(200);
      expect(await site.troupe('member', 'ls', `click@${DOMAIN}`)).toEqual([]);
    }
  });
});

describe('inspect, queue and doctor', () => {
  test('inspect answers the same on the command line and to a plain NATS request', async () => {
    const told = await site.troupe<ListInspection>('inspect', 'list', DEV);
    expect(told).toMatchObject({ address: DEV, state: 'open', blocked: false });
    expect(told.seq).toBeGreaterThan(0);
    expect(told.epoch).toBeGreaterThan(0);
    const { url, user, password } = site.nats();
    const nats = await connect({ url, user, password, name: 'test', log: silentLog });
    const reply = await nats.nc.request(`troupe.inspect.list.${DEV}`, '');
    await nats.close();
    const later = { asOf: 0, leaseMsLeft: 0 };
    expect({ ...reply.json<ListInspection>(), ...later }).toEqual({ ...told, ...later });
  });

  test('inspect node and slot; what is not there is refused', async () => {
    const node = await site.troupe<{ slots: number }>('inspect', 'node');
    expect(node).toMatchObject({ slots: 64, isReady: true, blocked: [] });
    const classes = { notice: { weight: 8, inHand: 0 }, retry: { weight: 1, inHand: 0 } };
    expect(node).toMatchObject({ outgoing: { classes, reservePercent: 20, bulkMembers: 10_000 } });
    expect(await site.troupe('inspect', 'slot', '3')).toMatchObject({ slot: 3 });
    for (const words of [
      ['list', `no@${DOMAIN}`],
      ['node', 'zz'],
    ]) {
      expect((await site.run('inspect', ...words)).code, words.join(' ')).toBe(1);
    }
  });

  test('mail to the owners of a list that has none is parked, and theirs when it is replayed', async () => {
    const list = `orphan@${DOMAIN}`;
    await site.troupe('list', 'create', list);
    await post('jane@example.org', `orphan-owner@${DOMAIN}`, 'nobody there');
    const ls = () => site.troupe<{ seq: number; why: string }[]>('queue', 'ls', '--where', 'owner');
    const untilParked = () =>
      until('it is parked', async () => {
        const found = await ls();
        return found.length === 1 ? found : null;
      });
    const [parked] = await untilParked();
    expect(parked?.why).toBe(`${list} has no owner`);
    await site.troupe('queue', 'replay', String(parked?.seq));
    const [again] = await untilParked();
    expect(again?.seq).toBeGreaterThan(parked?.seq ?? 0);
    await site.troupe('list', 'set', list, '--add-owner', 'late@example.org');
    await site.troupe('queue', 'replay', '--all', '--where', 'owner');
    const { id } = await captured('nobody there');
    const mail = await site.troupe<CapturedMail>('outbox', String(id));
    expect(mail.recipients).toEqual(['late@example.org']);
    expect(await ls()).toEqual([]);
  });

  test('mail for what is not built is parked, shown and replayed', async () => {
    await post('jane@example.org', `dev-request@${DOMAIN}`, 'help');
    type Parked = { seq: number; fromSubject: string };
    const ls = (): Promise<Parked[]> => site.troupe<Parked[]>('queue', 'ls', '--parked');
    const [parked] = await until('it is parked', async () => {
      const found = await ls();
      return found.length > 0 ? found : null;
    });
    const seq = String(parked?.seq);
    expect(parked?.fromSubject).toBe('troupe.mail.command');
    expect((await site.run('queue', 'ls')).stdout).toMatch(/^PARKED BY +MESSAGES\n\w+ +1$/m);
    expect((await site.run('queue', 'show', seq)).stdout).toContain('Subject: help');
    expect((await site.run('doctor')).stdout).toMatch(/^warn +parked +1 by /m);
    const replayed = await site.run('queue', 'replay', seq);
    expect(replayed.stdout).toBe(`replayed ${seq} to troupe.mail.command\n`);
    // It is still not built: it comes back, as another.
    const back = await until('it is parked again', async () => {
      const found = await ls();
      return found.some((one) => String(one.seq) !== seq) ? found : null;
    });
    expect(back).toHaveLength(1);
    expect((await site.run('queue', 'replay', seq)).stderr).toContain(
      `nothing is parked as ${seq}`,
    );
  });

  test('doctor finds nothing broken, and refuses to rebuild under a running node', async () => {
    const { checks } = await site.troupe<{ checks: { level: string }[] }>('doctor');
    expect(checks.filter(({ level }) => level === 'fail')).toEqual([]);
    const refused = await site.run('doctor', '--rebuild');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/running|stop/i);
  });

  test('metrics are all under names of the table', async () => {
    const { httpPort } = site.ports();
    const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
    expect(text).toMatch(/^troupe_metrics_unknown_total 0$/m);
    expect(text).toMatch(/^troupe_edge_accepted_total\{protocol="smtp"\} [1-9]/m);
    expect(text).toMatch(/^troupe_queue_waiting\{queue="mail\.post"\} 0$/m);
  });
});

describe('asked in another way', () => {
  test.each([
    [['nonsense']],
    [['list']],
    [['list', 'show']],
    [['list', 'ls', '--nonsense']],
    [['member', 'ls', DEV, '--role', 'king']],
    [['list', 'set', DEV]],
    [['list', 'set', DEV, 'posting=nobody']],
    [['list', 'set', DEV, 'nonsense=1']],
    [['queue', 'replay']],
    [['inspect', 'slot', '64']],
    [['inspect', 'node', 'a.b']],
    [['inspect', 'list', DEV, '--level', 'nonsense']],
  ])('%j is a usage error: exit 2', async (words) => {
    expect(await site.run(...words)).toMatchObject({ code: 2, stdout: '' });
  });

  test('--help and --version are answers', async () => {
    const verbs = ['serve', 'list', 'hold', 'inspect', 'queue', 'outbox', 'bench', 'doctor'];
    const helps = verbs.map((verb) => [verb, '--help']);
    for (const words of [['--help'], ...helps, ['help', 'member'], ['--version']]) {
      const { code, stdout } = await site.run(...words);
      expect([code, stdout === '']).toEqual([0, false]);
    }
  });

  test('a failure is JSON on stderr with --json, and stdout stays empty', async () => {
    const { code, stdout, stderr } = await site.run('list', 'show', `no@${DOMAIN}`, '--json');
    expect([code, stdout]).toEqual([1, '']);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'no-such-list' } });
  });

  test('where no site runs, it says how to start one', async () => {
    const { env } = newPlace();
    const { code, stderr } = await runTroupe(env, ['list', 'ls']);
    expect(code).toBe(1);
    expect(stderr).toContain('no site is running');
    expect(stderr).toContain('npm start');
  });

  test('where NATS runs but no node does, it says so', async () => {
    await site.killNode();
    const list = await site.run('list', 'show', DEV);
    expect(list.code).toBe(1);
    expect(list.stderr).toContain('no node runs this list now');
    expect((await site.run('inspect', 'list', DEV)).stderr).toContain(
      'no node of the site answers',
    );
    expect((await site.run('doctor')).code).toBe(1);
    await site.start();
    expect((await site.run('list', 'show', DEV)).code).toBe(0);
  });
});
