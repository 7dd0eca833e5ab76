/** The rows of the bounce actor, as the fold of an event reads and writes them. */
import { expect, test, vi } from 'vitest';
import { fold } from '../../actors/bounces.ts';
import type { ScoreRow } from '../../src/host/bounce-book.ts';
import { openBooks } from '../../src/host/bounce-book.ts';
import { slotOf } from '../../src/mail/list-key.ts';
import { bounce, onDay } from '../support/bounce-story.ts';
import { fakeRows } from '../support/fake/rows.ts';
import { KEY } from '../support/list-story.ts';

test('a bounce reads the score of its member once', () => {
  const rows = fakeRows();
  const books = openBooks(rows, { rows: fakeRows() });
  const read = vi.spyOn(rows, 'get');
  const row = [KEY, 'score', 7] as const;
  for (const post of [1, 2, 3]) {
    read.mockClear();
    fold(books.of(KEY), bounce(7, post, { at: onDay(post) }), post);
    const ofScore = read.mock.calls.filter(([key]) => key[1] === 'score');
    expect(ofScore).toEqual([[row]]);
    books.checkpoint(slotOf(KEY), { seq: post, at: onDay(post) });
  }
  expect((rows.get(row) as ScoreRow).score.copies.map(({ post }) => post)).toEqual([1, 2, 3]);
});

test('a row is what the last checkpoint wrote of it', () => {
  const books = openBooks(fakeRows(), { rows: fakeRows() });
  const book = books.of(KEY);
  for (const value of [undefined, 1, 2, undefined]) {
    book.put(['hints'], value);
    books.checkpoint(slotOf(KEY), { seq: 1, at: 1 });
    expect(book.get(['hints'])).toBe(value);
  }
});
