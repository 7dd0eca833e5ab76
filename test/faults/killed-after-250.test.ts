/**
 * The moments around the 250: what was answered is never lost, and what is sent again for want of
 * an answer is one post.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, isRunning, startTestSite, type TestSite } from '../support/site.ts';
import { makePost } from '../support/smtp-load.ts';
import { until } from '../support/until.ts';

const LIST = `dev@${DOMAIN}`;
/** What was in hand when its process died comes again after its ack_wait, 30 s for mail. */
const IN_HAND_MS_MAX = 150_000;
const TEST_MS_MAX = 3 * IN_HAND_MS_MAX;
const MEMBERS = ['ann@sink.example', 'bob@sink.example', 'cyd@sink.example'];

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess();
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url }],
    env: { TROUPE_OUTGOING_ACK_WAIT_MS: '10000' },
  });
  await site.troupe('list', 'create', LIST, '--owner', MEMBERS[0] ?? '');
  await site.troupe('member', 'add', LIST, ...MEMBERS);
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

const postOf = (marker: string) => makePost(marker, LIST, MEMBERS[0] ?? '', 800);

const send = ({ message, sender }: { message: Buffer; sender: string }) =>
  sendOnce(site.ports().smtpPort, { sender, recipients: [LIST], message });

const recipientsOf = (marker: string): string[] =>
  sink
    .lines()
    .filter((line) => line.marker === marker)
    .flatMap(({ recipients }) => recipients)
    .sort();

async function untilAllHave(marker: string): Promise<void> {
  await until(
    `the copies of ${marker}`,
    () => (new Set(recipientsOf(marker)).size === MEMBERS.length ? true : null),
    IN_HAND_MS_MAX,
  );
}

const KILLED: readonly (readonly [what: string, kill: () => Promise<void>])[] = [
  ['the node', () => site.killNode()],
  [
    'the node and nats-server',
    async () => void (await Promise.all([site.killNode(), site.killNats()])),
  ],
];

test.each(KILLED)(
  '%s killed right after 250: the post comes out',
  { timeout: TEST_MS_MAX },
  async (what, kill) => {
    const marker = `acked-${what.length}`;
    expect(await send(postOf(marker))).toMatchObject({ code: 250 });
    await kill();
    await site.start();
    await untilAllHave(marker);
  },
);

test('sent again after a crash, since the 250 was lost: one post', {
  timeout: TEST_MS_MAX,
}, async () => {
  const post = postOf('again');
  const { posts } = await site.troupe<{ posts: number }>('list', 'show', LIST);
  expect(await send(post)).toMatchObject({ code: 250 });
  await site.killNode();
  await site.start();
  expect(await send(post)).toMatchObject({ code: 250 });
  const after = postOf('after-again');
  await send(after);
  await untilAllHave('after-again');
  await untilAllHave('again');
  expect(await site.troupe('list', 'show', LIST)).toMatchObject({ posts: posts + 2 });
});

test('an answered command outlives the crash that follows it at once', async () => {
  await site.troupe('member', 'add', LIST, 'dan@sink.example');
  await site.killNode();
  await site.start();
  const roster = await site.troupe<{ address: string }[]>('member', 'ls', LIST);
  expect(roster.map(({ address }) => address)).toContain('dan@sink.example');
  await site.troupe('member', 'remove', LIST, 'dan@sink.example');
});

test('a node that is told to stop ends with 0, takes its nats-server along, and nothing of it runs on', async () => {
  const { pid } = site.nats();
  expect(await site.stop()).toBe(0);
  expect(isRunning(pid)).toBe(false);
  expect(() => site.ports()).toThrow();
  await site.start();
  expect(await send(postOf('restarted'))).toMatchObject({ code: 250 });
  await untilAllHave('restarted');
});
