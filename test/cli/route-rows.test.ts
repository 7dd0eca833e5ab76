import { expect, test } from 'vitest';
import { merged, ownSlices, type RouteRow, routesOf, slices } from '../../src/cli/route-rows.ts';

const row = (name: string, change: Partial<RouteRow> = {}): RouteRow => ({
  ...{ name, to: `smtp://${name}`, role: 'primary', weight: 1, share: 0.5, mode: 'closed' },
  ...{
    since: 0,
    how: null,
    problem: null,
    inHand: 1,
    waiting: 2,
    connections: { open: 3, max: 5 },
  },
  ...{ accepted: 10, failed: 1, troubles: { lost: 1 }, origin: 'file' },
  ...change,
});
const answer = (node: string, ...routes: RouteRow[]) =>
  routesOf({ node, strategy: 'weighted', devmode: null, routes, asOf: 1, more: true });

test('slices are as wide as the shares, in the order of the routes', () => {
  expect(slices([row('a'), row('b', { share: 0.25 }), row('c', { share: 0.25 })])).toBe(
    `${'1'.repeat(32)}${'2'.repeat(16)}${'3'.repeat(16)}`,
  );
  expect(slices([row('a', { share: 0 }), row('b', { share: 1 })])).toBe('2'.repeat(64));
  expect(slices([row('a', { share: 1 / 3 }), row('b', { share: 2 / 3 })])).toHaveLength(64);
  expect(slices([row('a', { share: 0 })])).toBe('');
});

test('what several nodes carry is added up; what all share is told once', () => {
  const two = merged([
    answer('n1', row('a'), row('b')),
    answer('n2', row('a', { inHand: 5, troubles: { lost: 1, '421': 2 } }), row('b')),
  ]);
  expect(two).toMatchObject([
    {
      ...{ name: 'a', share: 0.5, inHand: 6, waiting: 4, accepted: 20, failed: 2 },
      ...{ connections: { open: 6, max: 10 }, troubles: { lost: 2, '421': 2 } },
    },
    { name: 'b', share: 0.5, inHand: 2 },
  ]);
});

test('where nodes have slices of their own the mean is told, and each is drawn', () => {
  const own = [
    answer('n1', row('a', { share: 0.25 }), row('b', { share: 0.75 })),
    answer('n2', row('a', { share: 0.75 }), row('b', { share: 0.25 })),
  ];
  expect(merged(own).map(({ share }) => share)).toEqual([0.5, 0.5]);
  expect(ownSlices(own).map(({ node }) => node)).toEqual(['n1', 'n2']);
  const same = [answer('n1', row('a'), row('b')), answer('n2', row('a'), row('b'))];
  expect(ownSlices(same)).toEqual([]);
});
