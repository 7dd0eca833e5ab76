import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { adapted, FACTOR_MAX, FACTOR_MIN, type Seen } from '../../src/smtp/adaptive.ts';
import {
  bySlices,
  byTurn,
  type Candidate,
  choose,
  hashed,
  sharesOf,
} from '../../src/smtp/choice.ts';

const CHUNKS = 5_000;
/** Three standard deviations of a share among so many chunks, at its widest. */
const TOLERANCE = 3 * Math.sqrt(0.25 / CHUNKS);

const primary = (name: string, weight: number, warmth = 1): Candidate => ({
  ...{ name, role: 'primary', weight, warmth },
});
const THREE = [primary('a', 5), primary('b', 3), primary('c', 2)];
const without = (name: string, warmth = 0): Candidate[] =>
  THREE.map((one) => (one.name === name ? { ...one, warmth } : one));

const ids = Array.from({ length: CHUNKS }, (_, i) => `key${i % 97}.${i}.0.0`);
const chosen = (among: readonly Candidate[]): (string | null)[] =>
  ids.map((id) => bySlices(among, hashed(id)));
const shareOf = (names: readonly (string | null)[], name: string): number =>
  names.filter((one) => one === name).length / names.length;

describe('slices of the hash space', () => {
  test('are as wide as the weights', () => {
    const names = chosen(THREE);
    for (const [name, share] of sharesOf(THREE, 'slices')) {
      expect(Math.abs(shareOf(names, name) - share)).toBeLessThan(TOLERANCE);
    }
  });

  test.each([
    ['one warms', without('a', 1 / 8)],
    ['one warms, one is away', [primary('a', 5, 1 / 4), primary('b', 3, 0), primary('c', 2)]],
    ['all warm', [primary('a', 5, 1 / 8), primary('b', 3, 1 / 4), primary('c', 2, 1 / 2)]],
    ['one is left, and warms', [primary('a', 5, 0), primary('b', 3, 1 / 8), primary('c', 2, 0)]],
  ])('the shares that are drawn are those that are carried: %s', (_, among) => {
    const names = chosen(among);
    const shares = sharesOf(among, 'slices');
    for (const { name } of among) {
      expect(Math.abs(shareOf(names, name) - (shares.get(name) ?? 0))).toBeLessThan(TOLERANCE);
    }
    expect([...shares.values()].reduce((sum, share) => sum + share, 0)).toBeCloseTo(1);
    const credits = new Map<string, number>();
    const turns = ids.map(() => byTurn(among, credits));
    for (const { name } of among) {
      const share = sharesOf(among, 'turn').get(name) ?? 0;
      expect(Math.abs(shareOf(turns, name) - share)).toBeLessThan(TOLERANCE);
    }
  });

  test('the shares of as many routes as there may be, all warming, are known in no time', () => {
    const many = Array.from({ length: 32 }, (_, i) => primary(`r${i}`, 1, 1 / 8));
    const shares = [...sharesOf(many, 'slices').values()];
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1);
    for (const share of shares) expect(share).toBeCloseTo(1 / 32, 3);
  });

  test('when one dies only its own chunks move, to the others by their weights', () => {
    const before = chosen(THREE);
    const after = chosen(without('a'));
    expect(after).not.toContain('a');
    const moved = ids.filter((_, i) => before[i] !== after[i]);
    expect(moved.length).toBe(before.filter((name) => name === 'a').length);
    expect(Math.abs(shareOf(after, 'b') - 0.6)).toBeLessThan(TOLERANCE);
    expect(chosen(THREE), 'and they come back when it does').toEqual(before);
  });

  test('a warming route carries its part, and the others what it leaves, nothing else moves', () => {
    const before = chosen(THREE);
    const warming = chosen(without('a', 1 / 4));
    expect(Math.abs(shareOf(warming, 'a') - 0.5 / 4)).toBeLessThan(TOLERANCE);
    expect(before.every((name, i) => name === 'a' || name === warming[i])).toBe(true);
  });

  test('a warming route carries all where nobody else is left, and none is chosen of none', () => {
    const alone = [primary('a', 5, 1 / 8), primary('b', 3, 0)];
    expect(new Set(chosen(alone))).toEqual(new Set(['a']));
    expect(chosen([primary('a', 1, 0)])[0]).toBeNull();
    expect(bySlices([], hashed('x'))).toBeNull();
  });

  test('whatever there is, a route is found if one may carry, and none that may not', () => {
    const some = fc.array(
      fc.record({
        weight: fc.integer({ min: 1, max: 1_000 }),
        warmth: fc.constantFrom(0, 0.125, 1),
      }),
      { maxLength: 32 },
    );
    fc.assert(
      fc.property(some, fc.string(), (given, id) => {
        const among = given.map(({ weight, warmth }, i) => primary(`r${i}`, weight, warmth));
        const name = bySlices(among, hashed(id));
        const found = among.find((one) => one.name === name);
        if (among.every(({ warmth }) => warmth === 0)) expect(name).toBeNull();
        else expect(found?.warmth).toBeGreaterThan(0);
      }),
    );
  });
});

test('in turn, each is chosen as often as its weight says in every round of all', () => {
  const credits = new Map<string, number>();
  const names = Array.from({ length: 20 }, () => byTurn(THREE, credits));
  for (const half of [names.slice(0, 10), names.slice(10)]) {
    expect(['a', 'b', 'c'].map((name) => shareOf(half, name))).toEqual([0.5, 0.3, 0.2]);
  }
  expect(byTurn(without('a'), credits)).not.toBe('a');
  expect(byTurn([primary('a', 1, 0)], new Map())).toBeNull();
});

describe('rules and fallbacks', () => {
  const fallback: Candidate = { name: 'f', role: 'fallback', weight: 1, warmth: 1 };
  const matter = { list: 'dev@lists.example', classes: ['post'] } as const;
  const pick = (among: readonly Candidate[]): string | null => bySlices(among, hashed('x'));

  test('a fallback is used when no primary is left, and only then', () => {
    const all = [...THREE, fallback];
    expect(choose(all, [], matter, pick)).not.toBe('f');
    const dead = all.map((one) => (one.role === 'primary' ? { ...one, warmth: 0 } : one));
    expect(choose(dead, [], matter, pick)).toBe('f');
    const none = dead.map((one) => ({ ...one, warmth: 0 }));
    expect(choose(none, [], matter, pick)).toBeNull();
  });

  test.each([
    [{ list: 'dev@lists.example', routes: ['c'] }, 'c'],
    [{ domain: 'lists.example', routes: ['c'] }, 'c'],
    [{ class: 'post', routes: ['c'] }, 'c'],
    [{ domain: 'lists.example', class: 'bulk', routes: ['c'] }, 'b'],
    [{ domain: 'example', routes: ['c'] }, 'b'],
  ] as const)('the first rule that fits names the routes: %j', (rule, name) => {
    const rules = [rule, { routes: ['b'] }];
    expect(choose([...THREE, fallback], rules, matter, pick)).toBe(name);
  });

  test('a retry is bound by what is said of retries and of what it was, whichever comes first', () => {
    const retry = { ...matter, classes: ['retry', 'notice'] } as const;
    const ofNotices = { class: 'notice', routes: ['c'] } as const;
    const ofRetries = { class: 'retry', routes: ['b'] } as const;
    const ofPosts = { class: 'post', routes: ['a'] } as const;
    const chosenBy = (...rules: Parameters<typeof choose>[1]): string | null =>
      choose(THREE, rules, retry, pick);
    expect(chosenBy(ofPosts, ofNotices)).toBe('c');
    expect(chosenBy(ofNotices, ofRetries)).toBe('c');
    expect(chosenBy(ofRetries, ofNotices)).toBe('b');
  });

  test('mail whose own route is away goes by a fallback, never by another primary', () => {
    const rules = [{ class: 'post', routes: ['c'] }] as const;
    expect(choose([...without('c'), fallback], rules, matter, pick)).toBe('f');
    expect(choose(without('c'), rules, matter, pick)).toBeNull();
  });
});

describe('adapting', () => {
  const seen = (change: Partial<Seen>): Seen => ({
    ...{ weight: 1, factor: 1, accepted: 1_000, failed: 0, busyMs: 1_000 },
    ...change,
  });

  test('moves a little from the slow to the fast, and from who fails to who does not', () => {
    const next = adapted(
      new Map([
        ['fast', seen({})],
        ['slow', seen({ busyMs: 4_000 })],
      ]),
    );
    expect([next.get('fast'), next.get('slow')]).toEqual([1.1, 0.9]);
    const failing = adapted(
      new Map([
        ['well', seen({})],
        ['ill', seen({ failed: 500 })],
      ]),
    );
    expect(failing.get('ill')).toBeLessThan(1);
  });

  test('equal ones, one alone, and one that had nothing to do stay as they are', () => {
    expect([
      ...adapted(
        new Map([
          ['a', seen({})],
          ['b', seen({})],
        ]),
      ).values(),
    ]).toEqual([1, 1]);
    expect([...adapted(new Map([['a', seen({ factor: 2 })]])).values()]).toEqual([2]);
    const idle = seen({ accepted: 0, busyMs: 0, factor: 1.5 });
    expect(
      adapted(
        new Map([
          ['a', seen({})],
          ['b', seen({})],
          ['c', idle],
        ]),
      ).get('c'),
    ).toBe(1.5);
  });

  test('never goes beyond its bounds, however long it goes on', () => {
    let factors = new Map([
      ['a', 1],
      ['b', 1],
    ]);
    for (let i = 0; i < 100; i += 1) {
      const now = [...factors].map(([name, factor]) => {
        return [name, seen({ factor, busyMs: name === 'a' ? 1 : 100_000 })] as const;
      });
      factors = new Map(adapted(new Map(now)));
    }
    expect([factors.get('a'), factors.get('b')]).toEqual([expect.closeTo(2, 0), FACTOR_MIN]);
    expect(factors.get('a')).toBeLessThanOrEqual(FACTOR_MAX);
  });
});
