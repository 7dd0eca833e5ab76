/** Much small work at once, and what comes between. */
import { expect, test } from 'vitest';
import { createTurns } from '../../src/runners/turns.ts';

test('so many go on in each turn, in their order, and the event loop has its own between', async () => {
  const turn = createTurns(setImmediate, 2);
  const seen: (number | 'other')[] = [];
  const all = Promise.all(
    [0, 1, 2, 3, 4].map(async (i) => {
      await turn();
      seen.push(i);
    }),
  );
  for (let i = 0; i < 2; i += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    seen.push('other');
  }
  await all;
  expect(seen).toEqual([0, 1, 'other', 2, 3, 'other', 4]);
  await turn();
});
