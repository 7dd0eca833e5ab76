/** A chunk that a lost node had open may repeat: bounded by what no result names, and counted. */
import { afterEach, expect, test } from 'vitest';
import { type Chunk, chunkName, type Result } from '../../src/mail/chunk.ts';
import { encodeChunk } from '../../src/nats/codec.ts';
import { createRepeats } from '../../src/runners/repeats.ts';
import type { Hand } from '../../src/runners/runner.ts';
import { took } from '../support/chunk.ts';
import { keepingLog } from '../support/keeping-log.ts';
import { chunkOf, deliveryOf, OURS } from '../support/outgoing-story.ts';
import { startOutgoing, stopPools } from '../support/outgoing-world.ts';

afterEach(stopPools);

const NOTHING = { chunks: 0, recipients: 0 };

/** The queue gave it to somebody before, who did not acknowledge it. */
const again = (chunk: Chunk) => ({ ...deliveryOf(encodeChunk(chunk), 'token'), deliveries: 2 });

/** Numbers of `chunkOf` are 1, 4, 7, … */
const told = (chunk: Chunk, kind: Result['kind'], ...numbers: readonly number[]) => ({
  name: chunkName(chunk),
  result: {
    ...{ kind, at: 0, deferred: [], refused: [] },
    accepted: numbers.map((number) => took(number)),
  },
});

test('a chunk that comes for the first time repeats nothing', async () => {
  const it = startOutgoing();
  await it.dispose(chunkOf(3));
  expect(it.repeated()).toEqual(NOTHING);
});

test('of one that comes again, those whom no result names are counted', async () => {
  const it = startOutgoing();
  await it.outgoing.dispose(again(chunkOf(4)), OURS);
  const other = chunkOf(4, { post: '8' });
  it.told.push(told(other, 'part', 1, 7));
  await it.outgoing.dispose(again(other), OURS);
  expect(it.repeated()).toEqual({ chunks: 2, recipients: 4 + 2 });
});

test('those whom no result names are in the record, and nobody else, whatever becomes of the chunk', async () => {
  const it = startOutgoing();
  await it.dispose(chunkOf(2, { post: '9' }));
  expect(it.result(chunkOf(2, { post: '9' }))).not.toHaveProperty('repeated');
  const chunk = chunkOf(4);
  it.told.push(told(chunk, 'part', 1, 7));
  let hand: Hand = OURS;
  it.smtp.rule = () => {
    hand = { state: () => 'stopping' };
    return null;
  };
  await it.outgoing.dispose(again(chunk), { state: () => hand.state() });
  const repeated = [
    [4, 4],
    [10, 10],
  ];
  expect(it.result(chunk)).toMatchObject({ kind: 'part', repeated });
  await it.outgoing.dispose({ ...again(chunk), deliveries: 3 }, OURS);
  expect(it.result(chunk)).toMatchObject({ kind: 'done', repeated });
});

test('of one that is done, or whose recipients are all named, nothing is repeated', async () => {
  const it = startOutgoing();
  it.told.push(told(chunkOf(2), 'done', 1));
  await it.outgoing.dispose(again(chunkOf(2)), OURS);
  const other = chunkOf(2, { post: '8' });
  it.told.push(told(other, 'part', 1, 4));
  await it.outgoing.dispose(again(other), OURS);
  expect(it.repeated()).toEqual(NOTHING);
});

test('it is logged and measured', () => {
  const { log, said } = keepingLog();
  const counted: unknown[] = [];
  const meter = { count: (...all: unknown[]) => void counted.push(all), observe: () => {} };
  createRepeats({ log, meter }).note(chunkOf(1), { deliveries: 3 }, 1);
  expect(said('warn')).toMatchObject([{ post: '7', deliveries: 3, recipients: 1 }]);
  expect(counted).toEqual([
    ['chunks_repeated', { class: 'post' }],
    ['recipients_repeated', { class: 'post' }, 1],
  ]);
});
