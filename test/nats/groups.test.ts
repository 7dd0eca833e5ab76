/** What is stored together, what alone, and what each of those who wait is told. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { storeInGroups } from '../../src/nats/groups.ts';
import type { BatchMessage } from '../../src/nats/publisher.ts';

const soon = (run: () => void): void => void setImmediate(run);
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
const BATCH = 8;
const FULL = new MailError(452, '4.3.1', 'Mail system is full');

function message(id: number | string): BatchMessage {
  return { subject: 'troupe.bounces.1.x', data: new Uint8Array(1), id: String(id) };
}

/** A publisher whose batches are answered when the test says so; what is in `refused` by its id is. */
function publisher(refused: Readonly<Record<string, Error>> = {}) {
  const alone: string[] = [];
  const batches: string[][] = [];
  const answers: (() => void)[] = [];
  return {
    alone,
    batches,
    answer: () => answers.shift()?.(),
    publish: async (_subject: string, _data: Uint8Array, options?: { readonly id?: string }) => {
      const id = options?.id ?? '';
      alone.push(id);
      if (refused[id] !== undefined) throw refused[id];
      return { seq: alone.length, duplicate: false };
    },
    publishBatch: async (messages: readonly BatchMessage[]) => {
      const ids = messages.map(({ id }) => id ?? '');
      batches.push(ids);
      await new Promise<void>((resolve) => answers.push(resolve));
      for (const id of ids) if (refused[id] !== undefined) throw refused[id];
    },
  };
}

const many = (from: number): number[] => Array.from({ length: BATCH }, (_, i) => from + i);

test('what comes while a group is being stored is the next group', async () => {
  const out = publisher();
  const store = storeInGroups({ soon }, out, { batchFrom: BATCH });
  const first = many(0).map((i) => store(message(i)));
  await turn();
  const second = many(100).map((i) => store(message(i)));
  await turn();
  expect(out.batches).toEqual([many(0).map(String)]);
  out.answer();
  await Promise.all(first);
  await turn();
  expect(out.batches).toEqual([many(0).map(String), many(100).map(String)]);
  out.answer();
  await Promise.all(second);
  expect(out.alone).toEqual([]);
});

test('a few are stored one by one, and only the one that is refused fails', async () => {
  const out = publisher({ b: FULL });
  const store = storeInGroups({ soon }, out, { batchFrom: BATCH });
  const stored = await Promise.allSettled(['a', 'b', 'c'].map((id) => store(message(id))));
  expect(stored.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(out.batches).toEqual([]);
});

test('a batch that is put off fails each of its messages for now, and the next goes on', async () => {
  const out = publisher({ 3: FULL });
  const store = storeInGroups({ soon }, out, { batchFrom: BATCH });
  const first = Promise.allSettled(many(0).map((i) => store(message(i))));
  await turn();
  out.answer();
  expect((await first).map(({ status }) => status)).toEqual(many(0).map(() => 'rejected'));
  await store(message('after'));
  expect(out.alone).toEqual(['after']);
});

test('one that can never be stored does not fail those it came with', async () => {
  const out = publisher({ 3: new MailError(552, '5.3.4', 'Message is too large') });
  const store = storeInGroups({ soon }, out, { batchFrom: BATCH });
  const stored = Promise.allSettled(many(0).map((i) => store(message(i))));
  await turn();
  out.answer();
  const failed = (await stored).flatMap(({ status }, i) => (status === 'rejected' ? [i] : []));
  expect(failed).toEqual([3]);
});

test('a group holds no more bytes than it may', async () => {
  const out = publisher();
  const store = storeInGroups({ soon }, out, { batchFrom: BATCH });
  const large = (id: string) => ({ ...message(id), data: new Uint8Array(400 * 1024) });
  const stored = Promise.all(['a', 'b', 'c'].map((id) => store(large(id))));
  await turn();
  expect(out.alone).toEqual(['a', 'b']);
  await stored;
  expect(out.alone).toEqual(['a', 'b', 'c']);
});

test('more than may wait are told to come again', async () => {
  const out = publisher();
  const store = storeInGroups({ soon }, out, { batchFrom: BATCH });
  const waiting = Array.from({ length: 10_000 }, (_, i) => store(message(i)));
  await expect(store(message('one more'))).rejects.toMatchObject({ code: 451 });
  while (out.alone.length + out.batches.flat().length < waiting.length) {
    await turn();
    out.answer();
  }
  await Promise.all(waiting);
});
