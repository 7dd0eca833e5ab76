/**
 * A sender beside the node: it takes its part, one that is killed goes on where it was, and none is left when there is nothing to
 * send or when the node is gone.
 *
 * What calls for one is a backlog over ten seconds (test/runners/demand.test.ts); here one is called for by what an earlier process
 * left.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import { sendOnce } from '../support/send-mail.ts';
import { growing, type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, isRunning, startTestSite, type TestSite } from '../support/site.ts';
import { makePost } from '../support/smtp-load.ts';
import { until } from '../support/until.ts';

const LIST = `big@${DOMAIN}`;
const MEMBERS = 4_000;
const POSTS = 4;
/** Transactions of one process at once: what its kill may repeat. */
const CONNECTIONS = 4;
const SLOW_MS = 600_000;
/** Longer than what was killed takes to be there again on a busy machine: else its chunks are another's, whole. */
const ACK_WAIT_MS = 60_000;

type Line = { readonly node: string; readonly msg: string };

let sink: SinkProcess;
let site: TestSite;
let logged: () => Line[];
/** The process id of the sender that runs after the first test. */
let sender = 0;

beforeAll(async () => {
  sink = await startSinkProcess();
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url, connections: CONNECTIONS }],
    env: {
      TROUPE_NODE: 'n1',
      TROUPE_OUTGOING_ACK_WAIT_MS: String(ACK_WAIT_MS),
      TROUPE_OUTGOING_CONCURRENCY: '1',
      TROUPE_OUTGOING_SENDERS: '1',
    },
  });
  logged = growing<Line>(join(dirname(site.data), 'node.log'));
  await site.troupe('list', 'create', LIST, '--posting', 'anyone');
  const file = join(dirname(site.data), 'members');
  const names = Array.from({ length: MEMBERS }, (_, i) => `m${i}@sink.example`);
  writeFileSync(file, `${names.join('\n')}\n`);
  await site.troupe('member', 'import', LIST, file);
}, SLOW_MS);

afterAll(async () => {
  await site?.close();
  await sink?.close();
}, SLOW_MS);

const directory = (): string => join(site.data, 'senders', '1');

/** Kills the node, and starts it as one whose sender was cut short too; resolves when it has one that is ready. */
async function startWithSender(): Promise<number> {
  await site.killNode();
  mkdirSync(directory(), { recursive: true });
  writeFileSync(join(directory(), 'lock'), '{"pid":1,"started":"before"}');
  await site.start();
  return await senderPid(0);
}

/** The process id of the sender that is ready, once it is another than `before`. */
const senderPid = (before: number): Promise<number> =>
  until(
    'a sender is ready',
    () => {
      const note = join(directory(), 'site.json');
      const pid = existsSync(note) ? (JSON.parse(readFileSync(note, 'utf8')).pid as number) : 0;
      return pid !== before && isRunning(pid) ? pid : null;
    },
    SLOW_MS,
  );

const sentBySender = (): number =>
  logged().filter(({ node, msg }) => node === 'n1-s1' && msg === 'sent').length;

async function post(name: string): Promise<void> {
  const { sender, message } = makePost(name, LIST, 'm1@sink.example', 1_024);
  const mail = { sender, recipients: [LIST], message };
  expect((await sendOnce(site.ports().smtpPort, mail)).code).toBe(250);
}

test(
  'a sender takes its part; killed, it goes on, and repeats at most the transactions in flight',
  async () => {
    onTestFailed(() => console.error(site.log()));
    for (let i = 0; i < POSTS; i++) await post(`p${i}`);
    const first = await startWithSender(); // With a backlog, so that it is not ended before it has begun.
    await until('the sender has sent some', () => (sentBySender() > 0 ? true : null), SLOW_MS);
    process.kill(first, 'SIGKILL');
    sender = await senderPid(first);
    await sink.waitFor(POSTS * MEMBERS, SLOW_MS);
    const copies = (): string[] =>
      sink.lines().map(({ marker, recipients }) => `${marker} ${recipients.join()}`);
    await until(
      'every member has every post',
      () => (new Set(copies()).size === POSTS * MEMBERS ? true : null),
      SLOW_MS,
    );
    const repeated = copies().length - POSTS * MEMBERS;
    expect(repeated).toBeLessThanOrEqual(2 * CONNECTIONS); // Two processes were killed.
    const { nodes } = await site.troupe<{ nodes: { node: string; slots: number }[] }>('node', 'ls');
    expect(nodes.filter(({ slots }) => slots > 0).map(({ node }) => node)).toEqual(['n1']);
  },
  SLOW_MS,
);

test(
  'with nothing left to send the sender is ended in order',
  async () => {
    await until('the sender is gone', () => (isRunning(sender) ? null : true), SLOW_MS);
    expect(existsSync(join(directory(), 'lock'))).toBe(false);
    await until('it is said', () =>
      logged().some(({ msg }) => msg.startsWith('a sender has ended')) ? true : null,
    );
  },
  SLOW_MS,
);

test(
  'a sender whose node is killed ends by itself',
  async () => {
    const pid = await startWithSender();
    await site.killNode();
    await until('the sender is gone', () => (isRunning(pid) ? null : true), SLOW_MS);
    expect(existsSync(join(directory(), 'lock'))).toBe(false);
    await site.start();
  },
  SLOW_MS,
);
