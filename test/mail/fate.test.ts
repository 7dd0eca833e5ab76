import { expect, test } from 'vitest';
import { inOrder, standOf, stands, storyOf, type Told } from '../../src/mail/fate.ts';
import { aResult, BY, took } from '../support/chunk.ts';

const told = (
  chunk: string,
  attempt: number,
  at: number,
  result: Parameters<typeof aResult>[0],
): Told => ({
  chunk,
  try: attempt,
  result: aResult({ at, accepted: [], deferred: [], refused: [], ...result }),
});
const busy = (number: number, next: number) => ({
  ...{ ...BY, at: 10, number, code: 451, status: '4.3.0', reply: 'busy', next },
});
const gone = (number: number) => ({
  ...{ ...BY, at: 10, number, code: 550, status: '5.1.1', reply: 'gone' },
});

const STORY = inOrder([
  told('0-r1', 0, 90, { accepted: [took(3, 3, { at: 90, reply: 'queued as C' })] }),
  told('0', 1, 50, {
    accepted: [took(2, 2, { at: 50, reply: 'queued as B', route: 'other' })],
  }),
  told('0', 0, 10, {
    accepted: [took(1, 1, { at: 10, reply: 'queued as A' })],
    deferred: [busy(2, 50), busy(4, 60)],
    refused: [gone(3)],
  }),
  told('0', 2, 95, { cancelled: [[4, 4]] }),
]);

test('a recipient’s story is told in the order in which it happened, and how it stands now', () => {
  const story = storyOf(STORY, 2);
  expect(story.map(({ state, at, route }) => [state, at, route])).toEqual([
    ['deferred', 10, 'capture'],
    ['handed', 50, 'other'],
  ]);
  expect(story[0]).toMatchObject({ code: 451, reply: 'busy', next: 50 });
  expect(standOf(story)).toMatchObject({ state: 'handed', code: 250, reply: 'queued as B' });
  expect(standOf(storyOf(STORY, 9))).toBeNull();
});

test('who was refused and got it when it was sent again has it', () => {
  expect(storyOf(STORY, 3).map(({ state }) => state)).toEqual(['refused', 'handed']);
});

test('all of them stand as their own stories say', () => {
  const all = stands(STORY);
  expect([...all.keys()].sort()).toEqual([1, 2, 3, 4]);
  for (const [number, fate] of all) expect(fate).toEqual(standOf(storyOf(STORY, number)));
});

test('what was handed over stays so, whatever a later try says', () => {
  const twice = [...STORY, told('0', 3, 99, { refused: [gone(1)], cancelled: [[2, 2]] })];
  expect(stands(twice).get(1)?.state).toBe('handed');
  expect(stands(twice).get(2)?.state).toBe('handed');
});
