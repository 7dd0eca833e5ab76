import { afterEach, expect, test } from 'vitest';
import { chunkName, type Result } from '../../src/mail/chunk.ts';
import { took } from '../support/chunk.ts';
import { chunkOf } from '../support/outgoing-story.ts';
import { members, recipients, startOutgoing, stopPools } from '../support/outgoing-world.ts';

afterEach(stopPools);

/** Numbers of `chunkOf` are 1, 4, 7, … */
const accepted = (...numbers: readonly number[]): Result => ({
  ...{ kind: 'done', at: 0, deferred: [], refused: [] },
  accepted: numbers.map((number) => took(number)),
});

test('O2: who was accepted two tries ago is not sent to again', async () => {
  const it = startOutgoing();
  const chunk = chunkOf(3, { try: 2, class: 'retry' });
  it.told.push({ name: chunkName({ ...chunk, try: 0 }), result: accepted(4) });
  it.told.push({ name: chunkName({ ...chunk, try: 1 }), result: accepted() });
  expect(await it.dispose(chunk)).toEqual({ kind: 'done' });
  expect(recipients(it.smtp)).toEqual(members(0, 2));
});

test('O2: a try that comes again leaves out whom later tries have sent to', async () => {
  const it = startOutgoing();
  const chunk = chunkOf(3);
  it.told.push({ name: chunkName({ ...chunk, try: 1 }), result: accepted(1) });
  it.told.push({ name: chunkName({ ...chunk, try: 2 }), result: accepted(7) });
  expect(await it.dispose(chunk)).toEqual({ kind: 'done' });
  expect(recipients(it.smtp)).toEqual(members(1));
  expect(it.result(chunk)?.kind).toBe('done');
});

test('two tries of one chunk are never in hand here at once', async () => {
  const it = startOutgoing();
  const first = it.dispose(chunkOf(1));
  const second = await it.dispose(chunkOf(1, { try: 1, class: 'retry' }));
  expect(second).toMatchObject({ kind: 'leave' });
  expect(await first).toEqual({ kind: 'done' });
});
