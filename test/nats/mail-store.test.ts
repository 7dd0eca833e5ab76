import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ListKey } from '../../src/mail/list-key.ts';
import type { Nats } from '../../src/nats/connect.ts';
import { decodeMail, mailRefOf, mailsOf } from '../../src/nats/mail-message.ts';
import { createMailStore, MAIL_BATCH_FROM } from '../../src/nats/mail-store.ts';
import { createPublisher } from '../../src/nats/publisher.ts';
import { held, mail } from '../../src/nats/subjects.ts';
import type { MailStore } from '../../src/world.ts';
import { rawMail, someBytes, someEnvelope } from '../contract/mail-store.ts';
import { type NatsServer, startNats } from '../support/nats.ts';
import { storedOn } from '../support/stored.ts';
import { connectWithStreams } from '../support/streams.ts';

let server: NatsServer;
let nats: Nats;
let store: MailStore;

beforeAll(async () => {
  server = await startNats();
  // MAIL has 28 % of it: some 17 MiB.
  nats = await connectWithStreams(server, 64 * 1024 * 1024);
  store = createMailStore(nats, createPublisher(nats));
});
afterAll(async () => {
  await nats?.close();
  await server?.stop();
});

const KEY = 'abcdefghijklmnopqrstuvwxyz' as ListKey;
const post = { kind: 'post', envelope: someEnvelope() } as const;

test('a mail that was accepted is there after nats-server was killed', async () => {
  const accepted: string[] = [];
  let refused = 0;
  const accept = async (trace: string): Promise<void> => {
    const envelope = someEnvelope({ trace });
    try {
      await store.accept(rawMail(someBytes(4_096)), [{ kind: 'command', envelope }]);
      accepted.push(trace);
    } catch (error) {
      expect(error).toMatchObject({ code: 451, status: '4.3.0' });
      refused += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  let taken = 0;
  const client = async (): Promise<void> => {
    while (refused === 0) {
      taken += 1;
      await accept(`t${taken}`);
    }
  };
  const clients = Promise.all(Array.from({ length: 16 }, client));
  while (accepted.length < 100) await new Promise((resolve) => setImmediate(resolve));
  await server.kill9();
  await clients;
  await server.restart();
  while (!accepted.includes('after')) await accept('after');
  const stored = await storedOn(nats, 'TROUPE_MAIL', mail('command'));
  const traces = new Set(stored.map((message) => decodeMail(message).envelope.trace));
  expect(accepted.filter((trace) => !traces.has(trace))).toEqual([]);
});

test('mails that come at once are stored as one batch, each whole and with its own envelope', async () => {
  const sizes = Array.from({ length: MAIL_BATCH_FROM }, (_, i) => 100 + i);
  const accepting = sizes.map((size) => {
    const envelope = someEnvelope({ trace: `of ${size}` });
    return store.accept(rawMail(someBytes(size)), [{ kind: 'post', envelope }]);
  });
  await Promise.all(accepting);
  const stored = await storedOn(nats, 'TROUPE_MAIL', mail('post'));
  const found = stored.map((message) => decodeMail(message));
  expect(found.map(({ envelope }) => envelope.trace)).toEqual(sizes.map((size) => `of ${size}`));
  for (const [i, { lastPiece }] of found.entries()) {
    expect(Buffer.compare(lastPiece, someBytes(sizes[i] ?? 0))).toBe(0);
  }
  const batches = new Set(stored.map(({ header }) => header('Nats-Batch-Id')));
  expect(batches.size).toBe(1);
  expect(batches.has('')).toBe(false);
});

test('a copy is found among many of the same list, wherever it stands', async () => {
  await store.accept(rawMail(someBytes(10)), [{ ...post, kind: 'owner' }]);
  const [source] = await storedOn(nats, 'TROUPE_MAIL', mail('owner'));
  if (source === undefined) throw new Error('nothing was stored');
  const from = { in: 'mail', seq: source.seq } as const;
  const kept = [];
  for (let start = 0; start < 3_000; start += 250) {
    const ids = Array.from({ length: 250 }, (_, i) => `h${start + i}`);
    kept.push(...(await Promise.all(ids.map((id) => store.keep('held', KEY, id, from, null)))));
  }
  for (const i of [0, 1, 951, 952, 2_998, 2_999]) {
    expect(await store.find('held', KEY, `h${i}`)).toEqual(kept[i]);
  }
  expect(await store.find('held', KEY, 'h3000')).toBeNull();
});

test('a message of MAIL that we did not write is said to be wrong, in words', () => {
  const data = new Uint8Array(0);
  const rogue = (headers: Readonly<Record<string, string>>) => ({
    data,
    header: (name: string) => headers[name] ?? '',
  });
  const envelope = JSON.stringify(someEnvelope());
  expect(decodeMail(rogue({ 'Troupe-Envelope': envelope })).parts).toEqual([]);
  for (const wrong of ['', 'null', '{}', '[1]', '{"sender":1}', '{"recipients":[]}', '{']) {
    expect(() => decodeMail(rogue({ 'Troupe-Envelope': wrong }))).toThrow('Troupe-Envelope');
  }
  for (const wrong of ['{}', '[0]', '[-1]', '["1"]', '[1.5]', 'x', `[${'1,'.repeat(600)}1]`]) {
    const message = rogue({ 'Troupe-Envelope': envelope, 'Troupe-Parts': wrong });
    expect(() => decodeMail(message)).toThrow('Troupe-Parts');
  }
});

test('a message of several mails that we did not write is said to be wrong, in words', () => {
  const envelope = someEnvelope();
  const rogue = (mails: unknown, bytes = 10) => {
    const text = typeof mails === 'string' ? mails : JSON.stringify(mails);
    const header = (name: string) => (name === 'Troupe-Mails' ? text : '');
    return { subject: mail('bounce'), seq: 7, data: new Uint8Array(bytes), header };
  };
  const ours = [
    [4, envelope],
    [6, envelope],
  ];
  expect(mailsOf(rogue(ours)).map(({ lastPiece }) => lastPiece.byteLength)).toEqual([4, 6]);
  const many = Array.from({ length: 101 }, () => [0, envelope]);
  for (const wrong of ['{', {}, [], [4], [[-1, envelope]], [['4', envelope]], many]) {
    expect(() => mailsOf(rogue(wrong))).toThrow('Troupe-Mails');
  }
  for (const bytes of [9, 11]) expect(() => mailsOf(rogue(ours, bytes))).toThrow('10 bytes');
  expect(() => mailsOf(rogue([[10]]))).toThrow('Troupe-Envelope');
  expect(() => mailsOf(rogue([[10, { ...envelope, sender: 1 }]]))).toThrow('Troupe-Envelope');
});

test('a mail of 12 MiB is kept and copied', async () => {
  const size = 12 * 1024 * 1024;
  await store.accept(rawMail(someBytes(size), 65_536), [{ ...post, kind: 'bounce' }]);
  const [message] = await storedOn(nats, 'TROUPE_MAIL', mail('bounce'));
  if (message === undefined) throw new Error('nothing was stored');
  const { parts } = decodeMail(message);
  expect(parts).toHaveLength(23);
  const read = await store.read({ in: 'mail', seq: message.seq, parts });
  expect(read?.length).toBe(size);
});

test('where HELD has no room for a mail, nothing of it stays there, and a smaller one is kept', async () => {
  await nats.jsm.streams.purge('TROUPE_HELD');
  await store.accept(rawMail(someBytes(1_900_000)), [{ ...post, kind: 'command' }]);
  await store.accept(rawMail(someBytes(200_000)), [{ ...post, kind: 'command' }]);
  const [large, small] = (await storedOn(nats, 'TROUPE_MAIL', mail('command'))).slice(-2);
  if (large === undefined || small === undefined) throw new Error('nothing was stored');
  for (let times = 0; times < 3; times++) {
    const keeping = store.keep('held', KEY, 'large', mailRefOf(large), null);
    await expect(keeping).rejects.toMatchObject({ code: 452, status: '4.3.1' });
    expect(await storedOn(nats, 'TROUPE_HELD', held(KEY))).toEqual([]);
  }
  expect(await store.keep('held', KEY, 'small', mailRefOf(small), null)).not.toBeNull();
});

test('a full stream says 452 4.3.1, and what it has stays', async () => {
  const before = await storedOn(nats, 'TROUPE_MAIL', mail('bounce'));
  const large = rawMail(someBytes(700_000));
  const filling = async (): Promise<never> => {
    for (;;) await store.accept(large, [post]);
  };
  await expect(filling()).rejects.toMatchObject({ code: 452, status: '4.3.1' });
  const after = await storedOn(nats, 'TROUPE_MAIL', mail('bounce'));
  expect(after.map(({ seq }) => seq)).toEqual(before.map(({ seq }) => seq));
});
