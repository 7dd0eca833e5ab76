/**
 * The folded rows are gone or damaged: the ledger gives them back at the next start, and `seen`
 * still knows every post.
 */
import { cpSync, existsSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { makePost } from '../support/smtp-load.ts';
import { until } from '../support/until.ts';

const LIST = `dev@${DOMAIN}`;
const MEMBERS = ['ann@sink.example', 'bob@sink.example', 'cyd@sink.example'];
const POST = makePost('first', LIST, MEMBERS[0] ?? '', 800);

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess();
  site = await startTestSite({ routes: [{ name: 'sink', url: sink.url }] });
  await site.troupe('list', 'create', LIST, '--owner', 'boss@sink.example');
  await site.troupe('member', 'add', LIST, ...MEMBERS);
  await site.troupe('member', 'remove', LIST, 'bob@sink.example');
  await send(POST);
  await send(makePost('held', LIST, 'stranger@else.example', 800));
  await until('the hold', async () => {
    return (await site.troupe<unknown[]>('hold', 'ls', LIST)).length === 1 ? true : null;
  });
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

const send = ({ message, sender }: { message: Buffer; sender: string }) =>
  sendOnce(site.ports().smtpPort, { sender, recipients: [LIST], message });

/** All that an operator can see of the list. */
async function everything(): Promise<unknown> {
  return {
    list: await site.troupe('list', 'show', LIST),
    members: await site.troupe('member', 'ls', LIST),
    holds: await site.troupe('hold', 'ls', LIST),
  };
}

const file = (): string => join(site.data, 'state', 'data.mdb');

/** A damaged store is moved aside, never deleted. */
const asideCount = (): number =>
  readdirSync(site.data).filter((name) => name.startsWith('state.damaged-')).length;

const DAMAGE: readonly (readonly [what: string, damage: () => void])[] = [
  ['deleted', () => rmSync(join(site.data, 'state'), { recursive: true })],
  ['cut off', () => truncateSync(file(), 10_000)],
  ['overwritten', () => writeFileSync(file(), 'x'.repeat(100_000))],
];

test.each(DAMAGE)('the rows are %s while it is down: all is as before', async (what, damage) => {
  const asideBefore = asideCount();
  const before = await everything();
  await site.stop();
  expect(existsSync(file())).toBe(true);
  damage();
  await site.start();
  expect(await everything()).toEqual(before);
  // The same bytes again are known, though the record of them was made long before.
  expect(await send(POST)).toMatchObject({ code: 250 });
  const fresh = makePost(`after-${what.replace(' ', '-')}`, LIST, MEMBERS[0] ?? '', 800);
  expect(await send(fresh)).toMatchObject({ code: 250 });
  await until('the fresh post came', () =>
    sink.lines().filter(({ marker }) => marker === fresh.marker).length === 2 ? true : null,
  );
  expect(sink.lines().filter(({ marker }) => marker === POST.marker)).toHaveLength(2);
  expect(asideCount() - asideBefore).toBe(what === 'deleted' ? 0 : 1);
});

test('window 20: a ledger from an older backup is shorter than the rows: it stops and says so', async () => {
  const [store, backup] = ['nats', 'nats.backup'].map((name) => join(site.data, name));
  if (store === undefined || backup === undefined) throw new Error('no store');
  await site.stop();
  cpSync(store, backup, { recursive: true });
  await site.start();
  await send(makePost('not-in-the-backup', LIST, MEMBERS[0] ?? '', 800));
  await until('it is decided', () =>
    sink.lines().filter(({ marker }) => marker === 'not-in-the-backup').length === 2 ? true : null,
  );
  await site.stop();
  rmSync(store, { recursive: true });
  cpSync(backup, store, { recursive: true });
  await expect(site.start()).rejects.toThrow(/the ledger ends at \d+, but this node has folded it/);
  // What the operator is told to do where the ledger is right.
  rmSync(join(site.data, 'state'), { recursive: true });
  await site.start();
  expect(await site.troupe<unknown[]>('hold', 'ls', LIST)).toHaveLength(1);
});
