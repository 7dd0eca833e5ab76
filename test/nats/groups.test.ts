/** What is stored together, what alone, and what each of those who wait is told. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { GROUP_BATCH_FROM, storeInGroups } from '../../src/nats/groups.ts';
import type { BatchMessage } from '../../src/nats/publisher.ts';

const soon = (run: () => void): void => void setImmediate(run);
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
const FULL = new MailError(452, '4.3.1', 'Mail system is full');

function message(id: number | string): BatchMessage {
  return { subject: 'troupe.bounces.1.x', data: new Uint8Array(1), id: String(id) };
}

/** A publisher whose batches are answered when the test says so; ids in `refused` are refused. */
function publisher(refused: readonly string[] = []) {
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
      if (refused.includes(id)) throw FULL;
      return { seq: alone.length, duplicate: false };
    },
    publishBatch: async (messages: readonly BatchMessage[]) => {
      const ids = messages.map(({ id }) => id ?? '');
      batches.push(ids);
      await new Promise<void>((resolve) => answers.push(resolve));
      if (ids.some((id) => refused.includes(id))) throw FULL;
    },
  };
}

const many = (from: number): number[] =>
  Array.from({ length: GROUP_BATCH_FROM }, (_, i) => from + i);

test('what comes while a group is being stored is the next group', async () => {
  const out = publisher();
  const store = storeInGroups({ soon }, out);
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
  const out = publisher(['b']);
  const store = storeInGroups({ soon }, out);
  const stored = await Promise.allSettled(['a', 'b', 'c'].map((id) => store(message(id))));
  expect(stored.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(out.batches).toEqual([]);
});

test('a batch that is refused fails each of its messages, and the next one goes on', async () => {
  const out = publisher(['3']);
  const store = storeInGroups({ soon }, out);
  const first = Promise.allSettled(many(0).map((i) => store(message(i))));
  await turn();
  out.answer();
  expect((await first).map(({ status }) => status)).toEqual(many(0).map(() => 'rejected'));
  await store(message('after'));
  expect(out.alone).toEqual(['after']);
});

test('more than may wait are told to come again', async () => {
  const out = publisher();
  const store = storeInGroups({ soon }, out);
  const waiting = Array.from({ length: 10_000 }, (_, i) => store(message(i)));
  await expect(store(message('one more'))).rejects.toMatchObject({ code: 451 });
  while (out.alone.length + out.batches.flat().length < waiting.length) {
    await turn();
    out.answer();
  }
  await Promise.all(waiting);
});
