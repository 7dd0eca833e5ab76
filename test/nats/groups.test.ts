/** What is stored together, what alone, and what each of those who wait is told. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { eachOrBatch, joined, storeInGroups } from '../../src/nats/groups.ts';
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
  const store = storeInGroups({ soon }, eachOrBatch(out, BATCH));
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
  const store = storeInGroups({ soon }, eachOrBatch(out, BATCH));
  const stored = await Promise.allSettled(['a', 'b', 'c'].map((id) => store(message(id))));
  expect(stored.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(out.batches).toEqual([]);
});

test('a batch that is put off fails each of its messages for now, and the next goes on', async () => {
  const out = publisher({ 3: FULL });
  const store = storeInGroups({ soon }, eachOrBatch(out, BATCH));
  const first = Promise.allSettled(many(0).map((i) => store(message(i))));
  await turn();
  out.answer();
  expect((await first).map(({ status }) => status)).toEqual(many(0).map(() => 'rejected'));
  await store(message('after'));
  expect(out.alone).toEqual(['after']);
});

test('one that can never be stored does not fail those it came with', async () => {
  const out = publisher({ 3: new MailError(552, '5.3.4', 'Message is too large') });
  const store = storeInGroups({ soon }, eachOrBatch(out, BATCH));
  const stored = Promise.allSettled(many(0).map((i) => store(message(i))));
  await turn();
  out.answer();
  const failed = (await stored).flatMap(({ status }, i) => (status === 'rejected' ? [i] : []));
  expect(failed).toEqual([3]);
});

test('a group holds no more bytes than it may', async () => {
  const out = publisher();
  const store = storeInGroups({ soon }, eachOrBatch(out, BATCH));
  const large = (id: string) => ({ ...message(id), data: new Uint8Array(400 * 1024) });
  const stored = Promise.all(['a', 'b', 'c'].map((id) => store(large(id))));
  await turn();
  expect(out.alone).toEqual(['a', 'b']);
  await stored;
  expect(out.alone).toEqual(['a', 'b', 'c']);
});

test('more than may wait are told to come again', async () => {
  const out = publisher();
  const store = storeInGroups({ soon }, eachOrBatch(out, BATCH));
  const waiting = Array.from({ length: 10_000 }, (_, i) => store(message(i)));
  await expect(store(message('one more'))).rejects.toMatchObject({ code: 451 });
  while (out.alone.length + out.batches.flat().length < waiting.length) {
    await turn();
    out.answer();
  }
  await Promise.all(waiting);
});

// ── Several as one message ────────────────────────────────────────────────

const text = (of: string, data: string): BatchMessage => ({
  subject: `troupe.bounces.1.${of}`,
  data: Buffer.from(data),
  id: data,
});
const join = {
  of: (each: readonly BatchMessage[]) => ({
    data: Buffer.from(each.map(({ data }) => String(data)).join('+')),
    headers: { Of: String(each.length) },
  }),
  most: 3,
};

/** What is stored of these that come at once: data, and id where there is one. */
function joinedOf(messages: readonly BatchMessage[], refused: readonly string[] = []) {
  const stored: (readonly [string, string | undefined])[] = [];
  const store = joined(join, (group) =>
    group.map(async ({ subject, data, id, headers }) => {
      if (id === undefined) expect(headers?.Of).toBe(String(String(data).split('+').length));
      stored.push([`${subject.at(-1)} ${String(Buffer.from(data).toString())}`, id]);
      if (refused.some((one) => Buffer.from(data).toString().includes(one))) throw FULL;
    }),
  );
  return { stored, outcomes: Promise.allSettled(store(messages)) };
}

test('those of one subject become one message, which has no id; one alone stays as it is', async () => {
  const { stored } = joinedOf([text('x', 'a'), text('y', 'b'), text('x', 'c')]);
  expect(stored).toEqual([
    ['x a+c', undefined],
    ['y b', 'b'],
  ]);
});

test('a message has so many at most, and so many bytes', async () => {
  const { stored } = joinedOf(['a', 'b', 'c', 'd', 'e'].map((data) => text('x', data)));
  expect(stored.map(([what]) => what)).toEqual(['x a+b+c', 'x d+e']);
  const large = [100, 100, 100].map((kib, i) => text('x', String(i).repeat(kib * 1024)));
  expect(joinedOf(large).stored.map(([what]) => what.length)).toEqual([
    2 + 2 * 100 * 1024 + 1,
    2 + 100 * 1024,
  ]);
  const wordy = ['a', 'b', 'c'].map((data) => ({
    ...text('x', data),
    headers: { Of: 'x'.repeat(100 * 1024) },
  }));
  expect(joinedOf(wordy).stored.map(([what]) => what)).toEqual(['x a+b', 'x c']);
});

test('each is told what became of the message that it is in', async () => {
  const { outcomes } = joinedOf([text('x', 'a'), text('y', 'b'), text('x', 'c')], ['c']);
  const statuses = (await outcomes).map(({ status }) => status);
  expect(statuses).toEqual(['rejected', 'fulfilled', 'rejected']);
});
