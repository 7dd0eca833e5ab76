/** Recovery reads what is not folded, and little else. */
import { expect, test } from 'vitest';
import { recover } from '../../src/host/fold.ts';
import { ownSlot } from '../../src/host/slots.ts';
import { fakeHostWorld } from '../support/fake/host-world.ts';
import { KEY } from '../support/list-story.ts';

test('a slot that was quiet for long does not make the recovery of a busy one begin long ago', async () => {
  const world = fakeHostWorld();
  const scans: [readonly number[], number][] = [];
  Object.assign(world.ledger, {
    end: async () => 10_000,
    scan(slots: readonly number[], after: number) {
      scans.push([slots, after]);
      return (async function* () {})();
    },
  });
  world.rows.commit([
    [['#slot', 2], 9_000],
    [['#slot', 4], 9_400],
  ]);
  const slots = [1, 2, 3, 4].map((slot) => ownSlot(world.rows, slot, 1));
  const nobody = (): never => {
    throw new Error('there is nothing to fold');
  };
  expect(await recover(world, slots, nobody)).toBe(0);
  expect(scans).toEqual([
    [[1, 3], 0],
    [[2, 4], 9_000],
  ]);
});

test('however many records there are at once, everything else has its turn between them', async () => {
  const world = fakeHostWorld();
  const many = 1_000;
  let turns = 0;
  const turnsAt: number[] = [];
  Object.assign(world.ledger, {
    async *scan() {
      for (let seq = 1; seq <= many; seq++) {
        turnsAt.push(turns);
        yield { seq, bytes: Buffer.from('no record'), slot: 1, key: KEY };
      }
    },
  });
  const count = (): void => {
    turns += 1;
    if (turnsAt.length < many) setImmediate(count);
  };
  count();
  await recover(world, [ownSlot(world.rows, 1, 1)], () => {});
  const longest = Math.max(...turnsAt.map((turn, i) => i - turnsAt.indexOf(turn)));
  expect(longest).toBeLessThan(many / 10);
});
