/** B1, B2, B3, B5 over histories that nobody thought of. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Score } from '../../actors/bounces/score.ts';
import type { Verdict } from '../../actors/bounces.ts';
import { decideVerdict } from '../../actors/list/troubles.ts';
import type { Effect } from '../../actors/protocol.ts';
import type { Address } from '../../src/mail/address.ts';
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

const MEMBERS = 40;
const POSTS = 4;
const REASONS = ['user-unknown', 'mailbox-full', 'spam', 'expired', 'authentication'];
const DAYS = 3;

type When = { readonly day: number; readonly hour: number };

/** Any word about any copy: of one there may be several, by DSN and by SMTP, that do not agree. */
const word = fc
  .record({
    member: fc.integer({ min: 1, max: MEMBERS }),
    post: fc.integer({ min: 1, max: POSTS }),
    // Some are frequent, so that posts become storms on some day, or do not.
    reason: fc.constantFrom('user-unknown', 'user-unknown', 'spam', ...REASONS),
    permanent: fc.boolean(),
    kind: fc.oneof(
      { weight: 20, arbitrary: fc.constant('bounce' as const) },
      fc.constant('complaint' as const),
    ),
    route: fc.constantFrom(null, 'a', 'b'),
    domain: fc.constantFrom('x.example', 'y.example'),
    day: fc.nat(DAYS - 1),
    hour: fc.nat(23),
  })
  .map(({ member, post, domain, day, hour, ...what }) => ({
    ...bounce(member, post, { ...what, address: `m${member}@${domain}` as Address }),
    ...{ day, hour },
  }));

/** A probe of somebody that came back, and what plain DSNs say. */
const other = fc.oneof(
  fc
    .tuple(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 2 }),
      fc.constantFrom(...REASONS),
    )
    .map(([member, k, reason]) => bounce(member, PROBES_FROM + k, { reason })),
  fc
    .tuple(fc.nat(3), fc.constantFrom(...REASONS))
    .map(([who, reason]) => hint(`h${who}@x.example`, { reason })),
);
const happening: fc.Arbitrary<Bounce & When> = fc.oneof(
  { weight: 9, arbitrary: word },
  fc
    .record({ one: other, day: fc.nat(DAYS - 1), hour: fc.nat(23) })
    .map(({ one, day, hour }) => ({ ...one, day, hour })),
);

const at = ({ day, hour, ...event }: Bounce & When): Bounce => ({ ...event, at: onDay(day, hour) });

/**
 * All rows, but for sequences, which say in which order things came, histories, which are logs of it,
 * and stakes, which say who is to be looked at again: too many do no harm, and one too few shows in what is asked.
 */
function standingOf({ rows }: BookStory) {
  const unordered = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(unordered);
    if (typeof value !== 'object' || value === null) return value;
    const kept = Object.entries(value).filter(([name]) => name !== 'seq' && name !== 'history');
    return Object.fromEntries(
      kept.map(([name, of]) => [
        name,
        name === 'id' ? String(of).replace(/\d+$/, '') : unordered(of),
      ]),
    );
  };
  const said = [...rows()].filter(([id]) => !id.startsWith('["stake"'));
  return Object.fromEntries(said.map(([id, value]) => [id, unordered(value)]));
}

test('B2, B4: each day comes to the same rows in whatever order: scores, storms, and what is asked', () => {
  const events = fc.array(happening, { minLength: 100, maxLength: 400, size: 'max' });
  const seen = { storms: 0, asks: 0 };
  fc.assert(
    fc.property(events, fc.infiniteStream(fc.nat()), (all, keys) => {
      const rules = { threshold: 1 } as const;
      const [one, another] = [emptyBook(rules, 100), emptyBook(rules, 100)];
      for (let day = 0; day < DAYS; day++) {
        const of = all.filter((event) => event.day === day);
        const drawn = of.map((event) => ({ event, key: keys.next().value ?? 0 }));
        one.fold(...of.map(at));
        another.fold(...drawn.sort((a, b) => a.key - b.key).map(({ event }) => at(event)));
        expect(standingOf(another)).toEqual(standingOf(one));
      }
      for (const { command } of one.asks())
        if (command.type === 'bounce-storm') seen.storms += 1;
        else seen.asks += 1;
    }),
    { numRuns: 30, endOnFailure: true },
  );
  // It says something only if both sides of the threshold were seen.
  expect(seen.storms).toBeGreaterThan(10);
  expect(seen.asks).toBeGreaterThan(100);
});

/** One word about one copy; told twice it says the same (an MTA's two DSNs of one copy agree). */
const aboutCopy = fc
  .tuple(fc.integer({ min: 1, max: MEMBERS }), fc.integer({ min: 1, max: POSTS }), fc.nat(23))
  .map(([member, post, hour]): Bounce => {
    const reason = REASONS[(member * 7 + post) % REASONS.length] ?? 'unknown';
    const permanent = reason !== 'mailbox-full';
    return bounce(member, post, { at: onDay(0, hour), reason, permanent });
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
      expect(scores.map(([, row]) => (row as Score).copies)).toEqual([]);
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
