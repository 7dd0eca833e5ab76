import { expect, test } from 'vitest';
import { lookAgain } from '../../src/nats/look-again.ts';

/** Answers in order, the last one for ever; counts the looks and the pauses. */
function leader(...answers: readonly number[]) {
  const counts = { looks: 0, pauses: 0 };
  const sleep = async (): Promise<void> => {
    counts.pauses += 1;
  };
  const look = async (): Promise<number> => {
    counts.looks += 1;
    return answers[Math.min(counts.looks, answers.length) - 1] ?? 0;
  };
  return { counts, clock: { sleep }, look };
}

test('what is there at once is looked at once', async () => {
  const { counts, clock, look } = leader(7);
  expect(await lookAgain(clock, look, (end) => end >= 7)).toBe(7);
  expect(counts).toEqual({ looks: 1, pauses: 0 });
});

test('a leader that catches up is believed when it has', async () => {
  const { counts, clock, look } = leader(5, 6, 7);
  expect(await lookAgain(clock, look, (end) => end >= 7)).toBe(7);
  expect(counts).toEqual({ looks: 3, pauses: 2 });
});

test('what never appears is given up after a bounded number of looks', async () => {
  const { counts, clock, look } = leader(5);
  expect(await lookAgain(clock, look, (end) => end >= 7)).toBe(5);
  expect(counts).toEqual({ looks: 20, pauses: 19 });
});

test('who stops does not look again', async () => {
  const { counts, clock, look } = leader(5);
  expect(await lookAgain(clock, look, () => false, AbortSignal.abort())).toBe(5);
  expect(counts.looks).toBe(1);
});
