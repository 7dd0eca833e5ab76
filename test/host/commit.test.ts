import { expect, test } from 'vitest';
import { createCommitter } from '../../src/host/commit.ts';
import { fakeRows } from '../support/fake/rows.ts';

test('what waits for its commit when its slot is lost is left out; the others are committed', async () => {
  const rows = fakeRows();
  const ticks: (() => void)[] = [];
  const committer = createCommitter(
    rows,
    (run) => ticks.push(run),
    () => [],
  );
  const slot = new AbortController();
  const lost = committer.commit([[['a', 'head'], 1]], slot.signal);
  const kept = committer.commit([[['b', 'head'], 2]], new AbortController().signal);
  slot.abort();
  for (const tick of ticks) tick();
  await Promise.all([lost, kept]);
  expect([...rows.range([], ['{'])]).toEqual([[['b', 'head'], 2]]);
});
