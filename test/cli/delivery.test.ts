import { expect, test } from 'vitest';
import { resendsOf } from '../../src/cli/delivery.ts';

const failed = (number: number, chunk: string, attempt: number, at: number) => {
  return { number, chunk, try: attempt, at };
};

test('who waits to be sent to again is not sent to twice, whoever else was refused meanwhile', () => {
  const [ann, ben] = [failed(1, '0', 0, 100), failed(2, '0', 0, 100)];
  const cyd = failed(700, '1', 0, 100);
  const first = resendsOf(7, [ann, ben, cyd]);
  expect(first.map(({ to }) => to)).toEqual([[1, 2], [700]]);
  // Ann was refused once more, and another later; the others wait.
  const [again, late] = [failed(1, '0-r1', 0, 200), failed(3, '0', 4, 300)];
  const second = resendsOf(7, [again, ben, late, cyd]);
  const ids = new Set(first.map(({ id }) => id));
  expect(second.filter(({ id }) => !ids.has(id)).flatMap(({ to }) => to)).toEqual([1, 3]);
  expect(resendsOf(8, [ben])[0]?.id).not.toBe(resendsOf(7, [ben])[0]?.id);
});
