import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import type { Address } from '../../src/mail/address.ts';
import { createCapture } from '../../src/smtp/capture.ts';
import { type CapturedStore, openCaptured } from '../../src/store/captured.ts';
import { openEnv } from '../../src/store/open.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { createFakeDisk } from '../support/fake/disk.ts';

let path = '';
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'troupe-captured-'));
});
afterEach(() => rm(path, { recursive: true }));

async function open(mailsMax: number, bytesMax = 2 ** 20): Promise<CapturedStore> {
  const env = await openEnv(path, { disk: createFakeDisk(2 ** 40), log: silentLog });
  return openCaptured(env, { mailsMax, bytesMax });
}

const mail = (text: string) => ({
  at: 1_000,
  sender: 'list-bounces@x.example',
  recipients: ['a@x.example'],
  message: new TextEncoder().encode(text),
});

test('mail is listed newest first, a page at a time', async () => {
  const store = await open(10);
  for (const text of ['one', 'two', 'three']) await store.keep(mail(text));
  const page = store.list(null, 2);
  expect(page.map(({ id }) => id)).toEqual([3, 2]);
  expect(store.list(2, 2).map(({ id }) => id)).toEqual([1]);
  expect(store.list(1, 2)).toEqual([]);
  expect(Buffer.from(store.get(2)?.message ?? []).toString()).toBe('two');
  expect(store.get(4)).toBeNull();
  await store.close();
});

test('only the newest are kept, and all are counted, also after a restart', async () => {
  const store = await open(3);
  await Promise.all(['1', '2', '3', '4', '5'].map((text) => store.keep(mail(text))));
  expect(store.list(null, 10).map(({ id }) => id)).toEqual([5, 4, 3]);
  await store.close();
  const again = await open(3);
  await again.keep(mail('6'));
  expect(again.list(null, 10).map(({ id }) => id)).toEqual([6, 5, 4]);
  expect(again.count()).toBe(6);
  await again.close();
});

test('large mail pushes out more, but the newest is always kept', async () => {
  const store = await open(100, 1_000);
  await store.keep(mail('x'.repeat(600)));
  await store.keep(mail('y'.repeat(600)));
  expect(store.list(null, 10).map(({ id }) => id)).toEqual([2]);
  await store.keep(mail('z'.repeat(5_000)));
  expect(store.list(null, 10).map(({ id }) => id)).toEqual([3]);
  await store.close();
});

test('the route capture keeps each transaction once, and says 250', async () => {
  const store = await open(10);
  const clock = createFakeClock();
  const connection = await createCapture(store.keep, clock).connect();
  const recipients = ['a@x.example', 'b@x.example'] as Address[];
  const message = Buffer.from('Subject: hello\r\n\r\n');
  const replies = await connection.send({
    ...{ sender: '', recipients, message, eightBit: true, smtputf8: true },
  });
  expect(replies.map(({ code }) => code)).toEqual([250, 250]);
  expect(store.list(null, 10)).toMatchObject([{ id: 1, at: clock.now(), sender: '', recipients }]);
  await store.close();
});

test('what could not be kept is refused for now', async () => {
  const keep = () => Promise.reject(new Error('full'));
  const connection = await createCapture(keep, createFakeClock()).connect();
  const recipients = ['a@x.example'] as Address[];
  const message = new Uint8Array(1);
  const [reply] = await connection.send({
    ...{ sender: '', recipients, message, eightBit: false, smtputf8: false },
  });
  expect(reply?.code).toBe(451);
});
