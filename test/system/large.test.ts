/**
 * Mail over 512 KiB travels in parts, and through a hold as well; one envelope for many members in
 * mode `shared`.
 */
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sendOnce } from '../support/send-mail.ts';
import { type SinkLine, type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { makePost } from '../support/smtp-load.ts';
import { until } from '../support/until.ts';

const MEMBERS = Array.from({ length: 250 }, (_, i) => `m${i}@sink.example`);
const FEW = MEMBERS.slice(0, 3);

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess({ keepHeader: true });
  site = await startTestSite({ routes: [{ name: 'sink', url: sink.url }] });
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

function send(message: Buffer, sender: string, ...recipients: readonly string[]) {
  const eightBit = message.some((byte) => byte > 127);
  return sendOnce(site.ports().smtpPort, { sender, recipients, message, eightBit });
}

function copiesOf(marker: string, members: readonly string[]): Promise<SinkLine[]> {
  return until(
    `the copies of ${marker}`,
    () => {
      const lines = sink.lines().filter((line) => line.marker === marker);
      const to = new Set(lines.flatMap(({ recipients }) => recipients));
      return members.every((member) => to.has(member)) ? lines : null;
    },
    60_000,
  );
}

const recipientsIn = (lines: readonly SinkLine[]): string[] =>
  lines.flatMap(({ recipients }) => recipients).sort();

test('a post of 3 MB comes out whole', async () => {
  const list = `large@${DOMAIN}`;
  await site.troupe('list', 'create', list, '--posting', 'anyone', '--max-size', '5MB');
  await site.troupe('member', 'add', list, ...FEW);
  const post = makePost('large', list, 'ann@sink.example', 3_000_000);
  expect(await send(post.message, post.sender, list)).toMatchObject({ code: 250 });
  const copies = await copiesOf('large', FEW);
  expect(recipientsIn(copies)).toEqual(FEW);
  expect(new Set(copies.map(({ bodySha }) => bodySha))).toEqual(new Set([post.bodySha]));
});

test('a held post of 2 MB is kept, outlives a restart, and comes out whole when it is approved', async () => {
  const list = `held@${DOMAIN}`;
  await site.troupe('list', 'create', list, '--posting', 'members', '--max-size', '5MB');
  await site.troupe('member', 'add', list, ...FEW);
  const post = makePost('held-large', list, 'stranger@else.example', 2_000_000);
  expect(await send(post.message, post.sender, list)).toMatchObject({ code: 250 });
  await until('the hold', async () => {
    return (await site.troupe<unknown[]>('hold', 'ls', list)).length === 1 ? true : null;
  });
  expect(await site.stop()).toBe(0);
  await site.start();
  await site.troupe('hold', 'approve', list, '1');
  const copies = await copiesOf('held-large', FEW);
  expect(recipientsIn(copies)).toEqual(FEW);
  expect(new Set(copies.map(({ bodySha }) => bodySha))).toEqual(new Set([post.bodySha]));
});

test('raw 8-bit bytes that are no text come out as they came', async () => {
  const list = `bytes@${DOMAIN}`;
  await site.troupe('list', 'create', list, '--posting', 'anyone');
  await site.troupe('member', 'add', list, ...FEW);
  const noise = randomBytes(20_000).map((byte) => (byte === 13 || byte === 10 ? 0xff : byte));
  const lines = Array.from({ length: 200 }, (_, i) => noise.subarray(i * 100, i * 100 + 100));
  const body = Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\r\n')]));
  const head = `From: a@b.example\r\nX-Marker: bytes\r\nMessage-ID: <bytes@b.example>\r\n\r\n`;
  const message = Buffer.concat([Buffer.from(head), body]);
  expect(await send(message, 'a@b.example', list)).toMatchObject({ code: 250 });
  const copies = await copiesOf('bytes', FEW);
  const sha = createHash('sha256').update(body).digest('hex');
  expect(copies.map(({ bodySha }) => bodySha)).toEqual([sha, sha, sha]);
});

test('mode `shared`: few envelopes, no one-click, each member once', async () => {
  const list = `shared@${DOMAIN}`;
  await site.troupe('list', 'create', list, '--posting', 'anyone', '--mode', 'shared');
  await site.troupe('member', 'add', list, ...MEMBERS);
  const post = makePost('shared', list, 'ann@sink.example');
  expect(await send(post.message, post.sender, list)).toMatchObject({ code: 250 });
  const copies = await copiesOf('shared', MEMBERS);
  expect(recipientsIn(copies)).toEqual([...MEMBERS].sort());
  expect(copies).toHaveLength(3);
  for (const { header, sender, bodySha } of copies) {
    expect(sender).toBe(`shared-bounces@${DOMAIN}`);
    expect(header).not.toMatch(/^List-Unsubscribe-Post:/im);
    expect(bodySha).toBe(post.bodySha);
  }
});

test('a mail to two lists is a post on each, by its own rules', async () => {
  const open = `open@${DOMAIN}`;
  const closed = `closed@${DOMAIN}`;
  for (const [list, posting] of [
    [open, 'anyone'],
    [closed, 'closed'],
  ] as const) {
    await site.troupe('list', 'create', list, '--posting', posting);
    await site.troupe('member', 'add', list, ...FEW);
  }
  const post = makePost('both', open, FEW[0] ?? '');
  expect(await send(post.message, post.sender, open, closed)).toMatchObject({ code: 250 });
  const copies = await copiesOf('both', FEW);
  expect(recipientsIn(copies)).toEqual(FEW);
  const holds = await until('the hold', async () => {
    const found = await site.troupe<{ reasons: string[] }[]>('hold', 'ls', closed);
    return found.length === 1 ? found : null;
  });
  expect(holds[0]?.reasons).toEqual(['list-closed']);
});
