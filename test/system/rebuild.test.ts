/**
 * `troupe doctor --rebuild`: the ledger alone gives back every row that was folded live, the outbox
 * and `seen` included.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDisk } from '../../src/disk.ts';
import { silentLog } from '../../src/log.ts';
import { openRows } from '../../src/store/rows.ts';
import { messageIdOf } from '../support/journal.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { makePost } from '../support/smtp-load.ts';
import { until } from '../support/until.ts';

const LISTS = ['one', 'two', 'three'].map((name) => `${name}@${DOMAIN}`);
const MEMBERS = Array.from({ length: 12 }, (_, i) => `m${i}@sink.example`);
const POSTS = 8;

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess();
  site = await startTestSite({ routes: [{ name: 'sink', url: sink.url }] });
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

type Dump = Map<string, unknown>;

/** Every row of the node's state, by its key; the node must not be running. */
async function dump(): Promise<Dump> {
  const path = join(site.data, 'state');
  const rows = await openRows(path, { disk: createDisk(site.data), log: silentLog });
  const all = [...rows.range([''], ['\uffff'])].map(
    ([key, value]) => [JSON.stringify(key), value] as const,
  );
  await rows.close();
  return new Map(all);
}

/** The kinds of rows of lists, by what stands after the list's key. */
const kindsOf = (rows: Dump): Set<string> =>
  new Set([...rows.keys()].map((key) => String((JSON.parse(key) as unknown[])[1])));

async function post(marker: string, list: string, from: string): Promise<void> {
  const { message, sender } = makePost(marker, list, from, 500);
  const mail = { sender, recipients: [list], message };
  expect((await sendOnce(site.ports().smtpPort, mail)).code).toBe(250);
}

/**
 * Posts, holds and decisions, joins and leaves; ends with a change whose effect no record tells to
 * be done.
 */
async function traffic(): Promise<void> {
  for (const list of LISTS) {
    await site.troupe('list', 'create', list, '--owner', 'boss@sink.example');
    await site.troupe('member', 'add', list, ...MEMBERS);
    for (let i = 0; i < POSTS; i++) await post(`${list[0]}${i}`, list, `m${i}@sink.example`);
    for (const i of [1, 2, 3]) await post(`${list[0]}-held-${i}`, list, 'stranger@else.example');
    await until('the holds', async () => {
      const { held } = await site.troupe<{ held: number }>('list', 'show', list);
      return held === 3 ? true : null;
    });
    await site.troupe('hold', 'approve', list, '1');
    await site.troupe('hold', 'discard', list, '2');
    await site.troupe('member', 'remove', list, MEMBERS[0] ?? '', MEMBERS[5] ?? '');
    await site.troupe('member', 'add', list, MEMBERS[5] ?? '', 'late@sink.example');
  }
  await until('all posts are decided', async () => {
    for (const list of LISTS) {
      const { posts } = await site.troupe<{ posts: number }>('list', 'show', list);
      if (posts !== POSTS + 1) return null;
    }
    return true;
  });
  for (const list of LISTS) await site.troupe('list', 'set', list, 'max-size=200KB');
}

test('what is rebuilt from the ledger is what was there, row by row', {
  timeout: 600_000,
}, async () => {
  await traffic();
  await site.killNode();
  const before = await dump();
  expect([...kindsOf(before)]).toEqual(
    expect.arrayContaining(['head', 'list', 'roles', 'member', 'address', 'left', 'post', 'hold']),
  );
  expect([...kindsOf(before)]).toEqual(expect.arrayContaining(['verdict', 'seen', 'outbox']));

  const { code, stderr } = await site.run('doctor', '--rebuild');
  expect(code, stderr).toBe(0);
  const after = await dump();
  expect(Object.fromEntries(after)).toEqual(Object.fromEntries(before));

  await site.start();
  for (const list of LISTS) {
    expect(await site.troupe('list', 'show', list)).toMatchObject({ posts: POSTS + 1, held: 1 });
    const expected = MEMBERS.length - 2 + 2;
    expect(await site.troupe<unknown[]>('member', 'ls', list)).toHaveLength(expected);
  }
  await post('after', LISTS[0] ?? '', 'm1@sink.example');
  const copies = await until('the post after the rebuild', () => {
    const found = sink.lines().filter(({ messageId }) => messageId === messageIdOf('after'));
    return found.length === MEMBERS.length ? found : null;
  });
  expect(copies).toHaveLength(MEMBERS.length);
});

test('a rebuild is refused while the node runs', async () => {
  const { code, stderr } = await site.run('doctor', '--rebuild');
  expect(code).toBe(1);
  expect(stderr).toMatch(/another Troupe \(process \d+\)/);
});
