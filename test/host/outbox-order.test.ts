import { expect, test } from 'vitest';
import type { Effect } from '../../actors/protocol.ts';
import { createOutbox } from '../../src/host/outbox.ts';
import { NO_HEAD } from '../../src/store/list-rows.ts';
import { fakeHostWorld } from '../support/fake/host-world.ts';
import { KEY, post } from '../support/list-story.ts';

test('a held mail is dropped only after it was kept, although both wait together', async () => {
  const world = fakeHostWorld();
  const effects: readonly Effect[] = [
    { type: 'keep-held', hold: 1, post: post() },
    { type: 'drop-held', hold: 1 },
  ];
  world.rows.commit([
    [[KEY, 'head'], { ...NO_HEAD, n: 1, waiting: effects.length }],
    ...effects.map((effect, k) => [[KEY, 'outbox', 1, 0, k], effect] as const),
  ]);
  const begun: string[] = [];
  const kept = Promise.withResolvers<void>();
  const dropped = Promise.withResolvers<void>();
  const ending = new AbortController();
  const perform = async (_: unknown, { type }: Effect): Promise<void> => {
    begun.push(type);
    if (type === 'keep-held') await kept.promise;
    else dropped.resolve();
  };
  createOutbox(world, KEY, perform, ending.signal, () => undefined).kick();
  await world.clock.advance(1_000);
  expect(begun).toEqual(['keep-held']);
  kept.resolve();
  await dropped.promise;
  expect(begun).toEqual(['keep-held', 'drop-held']);
  ending.abort();
});
