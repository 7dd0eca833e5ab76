/**
 * One of three MTAs is killed while posts go out, and comes back: nothing is lost, nothing waits for it, and only what was
 * in flight comes twice. And routes are changed while everything runs, which a restart does not undo.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { greet, sendMail } from '../support/send-mail.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { connectSmtp } from '../support/smtp-client.ts';
import { makePost } from '../support/smtp-load.ts';
import { until } from '../support/until.ts';

const LIST = `dev@${DOMAIN}`;
const MEMBERS = Array.from({ length: 4 }, (_, i) => `m${i}@sink.example`);
const CONNECTIONS = 3;
const POSTS = 60;
const ALL_MS_MAX = 240_000;
const SLOW = { timeout: 2 * ALL_MS_MAX };

type Route = {
  readonly name: string;
  readonly mode: string;
  readonly share: number;
  readonly weight: number;
  readonly origin: string;
};

let sinks: Record<'a' | 'b' | 'c', SinkProcess>;
let site: TestSite;

beforeAll(async () => {
  sinks = {
    a: await startSinkProcess(),
    b: await startSinkProcess(),
    c: await startSinkProcess(),
  };
  const weights = { a: 5, b: 3, c: 2 };
  site = await startTestSite({
    routes: (['a', 'b', 'c'] as const).map((name) => ({
      ...{ name, url: sinks[name].url, weight: weights[name], connections: CONNECTIONS },
    })),
  });
  await site.troupe('list', 'create', LIST, '--owner', MEMBERS[0] ?? '');
  await site.troupe('member', 'add', LIST, ...MEMBERS);
});

afterAll(async () => {
  await site?.close();
  for (const sink of Object.values(sinks ?? {})) await sink.close();
});

let sent = 0;
async function sendPosts(count: number): Promise<void> {
  const client = await connectSmtp(site.ports().smtpPort);
  await greet(client);
  const sender = MEMBERS[0] ?? '';
  for (let i = 0; i < count; i++) {
    const { message } = makePost(`p${sent + i}`, LIST, sender, 1_024);
    const reply = await sendMail(client, { sender, recipients: [LIST], message });
    expect(reply).toMatchObject({ code: 250 });
  }
  client.drop();
  sent += count;
}

/** `<marker> <recipient>` of each copy that a sink took. */
const copiesAt = (name: 'a' | 'b' | 'c'): string[] =>
  sinks[name]
    .lines()
    .flatMap(({ marker, recipients }) => recipients.map((recipient) => `${marker} ${recipient}`));
const copies = (): string[] => [...copiesAt('a'), ...copiesAt('b'), ...copiesAt('c')];

async function untilAllHave(posts: number): Promise<string[]> {
  return until(
    `${posts} posts are at all members`,
    () => {
      const all = copies();
      if (new Set(all).size === posts * MEMBERS.length) return all;
      throw new Error(`${new Set(all).size} of ${posts * MEMBERS.length}; ${site.log()}`);
    },
    ALL_MS_MAX,
  );
}

const routes = async (): Promise<Record<string, Route>> => {
  const { routes: all } = await site.troupe<{ routes: Route[] }>('route', 'ls');
  return Object.fromEntries(all.map((route) => [route.name, route]));
};

async function untilMode(name: string, mode: string): Promise<Record<string, Route>> {
  return until(
    `${name} is ${mode}`,
    async () => {
      const all = await routes();
      if (all[name]?.mode === mode) return all;
      throw new Error(JSON.stringify(all[name]));
    },
    ALL_MS_MAX,
  );
}

/** A route that warms wants to see that it works. */
async function sendUntilClosed(name: string): Promise<void> {
  await until(
    `${name} is closed`,
    async () => {
      if ((await routes())[name]?.mode === 'closed') return true;
      await sendPosts(5);
      return null;
    },
    ALL_MS_MAX,
  );
}

test(
  'one of three is killed in mid send: all get every post, and only what was in flight twice',
  SLOW,
  async () => {
    await sendPosts(POSTS / 3);
    await sinks.a.waitFor(1);
    await sinks.a.kill();
    await sendPosts((2 * POSTS) / 3);
    const all = await untilAllHave(POSTS);
    expect(all.length - POSTS * MEMBERS.length).toBeLessThanOrEqual(CONNECTIONS);
    const { a, b, c } = await routes();
    expect(a).toMatchObject({ share: 0 });
    expect([b?.share, c?.share]).toEqual([0.6, 0.4]);
  },
);

test('back again it takes its share by itself, as what it gets is taken', SLOW, async () => {
  const before = copiesAt('a').length;
  await sinks.a.restart();
  await untilMode('a', 'warming');
  await sendUntilClosed('a');
  expect((await routes()).a).toMatchObject({ share: 0.5 });
  await untilAllHave(sent);
  expect(copiesAt('a').length).toBeGreaterThan(before);
});

test('routes are changed while it runs, and a restart keeps what was changed', SLOW, async () => {
  await site.troupe('route', 'drain', 'a');
  const before = copiesAt('a').length;
  await sendPosts(20);
  await untilAllHave(sent);
  expect(copiesAt('a').length, 'drained, it gets nothing').toBe(before);
  await site.troupe('route', 'set', 'b', 'weight=8', 'rate=1000');
  await site.troupe('route', 'rm', 'c');
  await site.stop();
  await site.start();
  const now = await routes();
  expect(Object.keys(now)).toEqual(['a', 'b']);
  expect(now.a).toMatchObject({ mode: 'draining', origin: 'file' });
  expect(now.b).toMatchObject({ weight: 8, share: 1, origin: 'live' });
  await site.troupe('route', 'add', 'c', sinks.c.url, 'weight=2');
  await site.troupe('route', 'resume', 'a');
  await sendUntilClosed('a');
  await sendUntilClosed('c');
  await untilAllHave(sent);
  const { a, b, c } = await routes();
  expect([a?.weight, b?.weight, c?.weight]).toEqual([5, 8, 2]);
});

test('what cannot be is refused in words, and changes nothing', SLOW, async () => {
  const before = await routes();
  for (const [words, why] of [
    [['add', 'a', 'smtp://127.0.0.1:25'], 'there is a route a already'],
    [['add', 'd', 'http://127.0.0.1'], 'url must be a URL such as smtp://host:25'],
    [['set', 'a', 'weight=0'], 'weight must be a whole number from 1 to 1000'],
    [['add', 'd', 'smtp://me:secret@127.0.0.1'], 'say user=NAME and passwordFile=/PATH'],
    [['set', 'a', 'user=me', 'passwordFile=/nowhere'], 'the password /nowhere cannot be read'],
    [['set', 'none', 'weight=1'], 'there is no route none\nSee `troupe route ls`'],
    [['drain', 'none'], 'there is no route none\nSee `troupe route ls`'],
  ] as const) {
    const { code, stderr } = await site.run('route', ...words);
    expect([code, stderr]).toEqual([1, expect.stringContaining(why)]);
  }
  for (const [words, why] of [
    [['set', 'a', 'password=secret'], 'a password is not given here'],
    [['set', 'a', 'wait=0'], 'is not a setting of a route'],
  ] as const) {
    const { code, stderr } = await site.run('route', ...words);
    expect([code, stderr]).toEqual([2, expect.stringContaining(why)]);
  }
  expect(Object.values(await routes()).map(({ weight }) => weight)).toEqual(
    Object.values(before).map(({ weight }) => weight),
  );
});
