/** B1, B2, B3, B5 over histories that nobody thought of. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Tally } from '../../actors/bounces/storm.ts';
import { currentScore, type Score, type Verdict } from '../../actors/bounces.ts';
import { decideVerdict } from '../../actors/list/troubles.ts';
import type { Effect } from '../../actors/protocol.ts';
import { type Bounce, type BounceEvent, PROBES_FROM } from '../../src/mail/bounce-event.ts';
import {
  type BookStory,
  bounce,
  emptyBook,
  hint,
  onDay,
  standing,
} from '../support/bounce-story.ts';
import { ANNE, address, BART, given, KEY, made, type Story } from '../support/list-story.ts';

const MEMBERS = 30;
const POSTS = 6;
const REASONS = ['user-unknown', 'mailbox-full', 'spam', 'expired', 'authentication'];

/** One word about one copy; told twice it says the same (an MTA's two DSNs of one copy agree). */
const aboutCopy = fc
  .tuple(fc.integer({ min: 1, max: MEMBERS }), fc.integer({ min: 1, max: POSTS }), fc.nat(23))
  .map(([member, post, hour]): Bounce => {
    const reason = REASONS[(member * 7 + post) % REASONS.length] ?? 'unknown';
    const permanent = reason !== 'mailbox-full';
    return bounce(member, post, { at: onDay(0, hour), reason, permanent });
  });

/** What counts, without the order in which it came to be known. */
function standingOf({ score, rows, book }: BookStory) {
  const scores = Array.from({ length: MEMBERS }, (_, i) => score(i + 1)).map((row) =>
    row === undefined
      ? null
      : {
          ...{ floor: row.floor, resetAt: row.resetAt, score: currentScore(book, row) },
          entries: row.entries.map(({ post, reason, permanent }) => ({ post, reason, permanent })),
        },
  );
  const tallies = Array.from({ length: POSTS }, (_, i) => {
    const tally = rows().get(JSON.stringify(['post', i + 1])) as Tally | undefined;
    const counts = Object.entries(tally?.reasons ?? {}).map(([reason, { count }]) => [
      reason,
      count,
    ]);
    return { isStorm: (tally?.storm ?? null) !== null, counts: Object.fromEntries(counts) };
  });
  return { scores, tallies };
}

test('B2: the bounces of a day come to the same scores and storms in whatever order', () => {
  const day = fc.array(aboutCopy, { maxLength: 200 });
  fc.assert(
    fc.property(day, fc.infiniteStream(fc.nat()), (events, keys) => {
      const shuffled = events
        .map((event) => ({ event, key: keys.next().value ?? 0 }))
        .sort((a, b) => a.key - b.key)
        .map(({ event }) => event);
      const rules = { threshold: 0.25 } as const;
      expect(standingOf(emptyBook(rules, 100).fold(...shuffled))).toEqual(
        standingOf(emptyBook(rules, 100).fold(...events)),
      );
    }),
  );
});

/** Anything that may stand in BOUNCES, over three weeks. */
const anything: fc.Arbitrary<BounceEvent> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(aboutCopy, fc.nat(20))
      .map(([one, day]) => ({ ...one, at: one.at + day * 86_400_000 })),
  },
  fc
    .tuple(fc.integer({ min: 1, max: MEMBERS }), fc.integer({ min: 1, max: 3 }), fc.nat(20))
    .map(([member, k, day]) => bounce(member, PROBES_FROM + k, { at: onDay(day) })),
  fc
    .tuple(
      fc.integer({ min: 1, max: MEMBERS }),
      fc.constantFrom('probed', 'disabled', 'warned', 'reset', 'removed' as const),
      fc.nat(20),
    )
    .map(([member, what, day]) => standing(member, what, onDay(day), 1)),
  fc
    .tuple(fc.nat(20), fc.nat(20))
    .map(([who, day]) => hint(`m${who}@x.example`, { at: onDay(day) })),
);

test('B5: the fold from any checkpoint comes to the very rows of the whole fold', () => {
  fc.assert(
    fc.property(fc.array(anything, { maxLength: 150 }), fc.nat(150), (events, cut) => {
      const whole = emptyBook().fold(...events);
      const before = emptyBook().fold(...events.slice(0, cut));
      // A checkpoint is the rows and the sequence, and nothing else.
      const after = emptyBook(
        {},
        1_000,
        structuredClone(before.rows()),
        Math.min(cut, events.length),
      );
      after.fold(...events.slice(cut));
      expect(Object.fromEntries(after.rows())).toEqual(Object.fromEntries(whole.rows()));
    }),
  );
});

test('B1: whatever is told again, however often and late, every row of a score stays as it is', () => {
  fc.assert(
    fc.property(fc.array(aboutCopy, { maxLength: 60 }), fc.nat(40), (events, days) => {
      const story = emptyBook().fold(...events);
      const before = standingOf(story);
      story.fold(...events.map((event) => ({ ...event, at: event.at + days * 86_400_000 })));
      expect(standingOf(story)).toEqual(before);
    }),
  );
});

/** What anyone can send who has no token of ours: hints, whatever they claim. */
const forged = fc
  .tuple(
    fc.constantFrom<string>(ANNE, BART, 'eve@x.example'),
    fc.constantFrom(...REASONS),
    fc.boolean(),
    fc.constantFrom('bounce' as const, 'complaint' as const),
    fc.nat(60),
  )
  .map(([address, reason, permanent, kind, day]) =>
    hint(address, { reason, permanent, kind, at: onDay(day), id: `${address}.${day}.${reason}` }),
  );

const told = (list: Story): readonly string[] =>
  [...list.rows.range([KEY, 'outbox'], [KEY, 'outboy'])].map(
    ([, effect]) => (effect as Effect).type,
  );

test('B1, B3: no sequence of forged DSNs changes what a member gets, or leads to more than a probe', () => {
  fc.assert(
    fc.property(fc.array(forged, { maxLength: 80 }), (events) => {
      const story = emptyBook();
      const list = given(...made);
      for (const event of events) {
        story.fold(event);
        for (const { command } of story.asks()) {
          const facts = decideVerdict(list.draft(), command);
          expect(facts.filter(({ type }) => type !== 'member-probed')).toEqual([]);
          list.and(...facts);
        }
        expect(list.draft().memberRow(1)).toMatchObject({ address: BART });
        expect(list.draft().memberRow(1)?.off).toBe(undefined);
        expect(list.draft().trouble(1).context.probes).toBeLessThanOrEqual(1);
      }
      expect(told(list)).not.toContain('tell-suspects'); // Nor makes anybody suspect elsewhere.
      const scores = [...story.rows()].filter(([id]) => id.startsWith('["score"'));
      expect(scores.map(([, row]) => (row as Score).entries)).toEqual([]);
    }),
  );
});

/** What other lists of the site may say, in whatever order it comes, be it told again or made up. */
const elsewhere = fc
  .tuple(fc.constantFrom<string>(ANNE, BART, 'eve@x.example'), fc.nat(60), fc.nat(60))
  .map(([whose, since, day]) => ({
    command: {
      ...{ type: 'bounce-hint', address: address(whose) },
      cause: {
        ...{ seq: 1, reason: 'user-unknown', status: '5.1.1', code: 550, diagnostic: '' },
        elsewhere: { list: address('news@lists.example'), since: onDay(since) },
      },
    } satisfies Verdict,
    day,
  }));

test('D4: whatever other lists say of an address, a member gets probes a week apart, and all posts', () => {
  fc.assert(
    fc.property(fc.array(elsewhere, { maxLength: 60 }), (words) => {
      const list = given(...made);
      let day = 0;
      const probedOn: number[] = [];
      for (const { command, day: next } of words.sort((a, b) => a.day - b.day)) {
        list.later((next - day) * 86_400_000);
        day = next;
        const facts = decideVerdict(list.draft(), command);
        expect(facts.filter(({ type }) => type !== 'member-probed')).toEqual([]);
        if (facts.length > 0) probedOn.push(day);
        list.and(...facts);
        // The probe does not come back.
        if (facts.length > 0) list.and({ type: 'probe-passed', number: 1, address: BART });
      }
      for (const [i, on] of probedOn.entries())
        if (i > 0) expect(on - (probedOn[i - 1] ?? 0)).toBeGreaterThanOrEqual(7);
      expect(list.draft().memberRow(1)?.off).toBe(undefined);
      expect(told(list)).not.toContain('tell-suspects');
    }),
  );
});
