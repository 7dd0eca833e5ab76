import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NOTICE_EVERY_MS, widthOf } from '../../actors/list/posting.ts';
import type { Command, Effect, Fact, HeldPost } from '../../actors/protocol.ts';
import { chunksOf } from '../../src/host/fanout.ts';
import {
  ANNE,
  address,
  BART,
  given,
  KEY,
  made,
  OPERATOR,
  post,
  START,
  type Story,
} from '../support/list-story.ts';

const STRANGER = address('eve@elsewhere.example');

/** Commands a fuzzer may try, in an order it chooses. */
const command: fc.Arbitrary<Command> = fc.oneof(
  fc
    .tuple(fc.constantFrom(ANNE, BART, STRANGER), fc.integer({ min: 1, max: 1_000_000 }))
    .map(([from, bytes]): Command => ({ type: 'post', post: post({ from: [from], bytes }) })),
  fc.integer({ min: 1, max: 6 }).map((hold): Command => ({ type: 'approve', hold, by: OPERATOR })),
  fc.integer({ min: 1, max: 6 }).map((hold): Command => ({ type: 'discard', hold, by: OPERATOR })),
  fc
    .integer({ min: 1, max: 6 })
    .map((hold): Command => ({ type: 'reject', hold, comment: '', by: OPERATOR })),
  fc.constantFrom(ANNE, BART, STRANGER).map(
    (who): Command => ({
      type: 'add-members',
      members: [{ address: who, name: '' }],
      by: OPERATOR,
    }),
  ),
  fc
    .constantFrom(ANNE, BART, STRANGER)
    .map((who): Command => ({ type: 'remove-member', who: { address: who }, by: OPERATOR })),
  fc.constantFrom<Command>(
    { type: 'declare-emergency', by: OPERATOR },
    { type: 'lift-emergency', by: OPERATOR },
    { type: 'retire', by: OPERATOR },
    { type: 'tell-moderators' },
  ),
);

/** Does each command a minute after the last, folding what is decided; gives the facts with their times. */
function live(story: Story, commands: readonly Command[], gapMs: number) {
  const happened: { at: number; fact: Fact }[] = [];
  commands.forEach((asked, i) => {
    story.later(gapMs);
    const facts = story.decide(asked);
    if ('type' in facts) return;
    for (const fact of facts) {
      story.and(fact); // Throws if the chart does not take it.
      happened.push({ at: START + (i + 1) * gapMs, fact });
    }
  });
  return happened;
}

test('L1, L2, L4: whatever is asked, every post ends once, holds leave by a word, numbers only grow', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
      const story = given(...made);
      const facts = live(story, commands, 60_000).map(({ fact }) => fact);
      const ended = facts.filter(({ type }) =>
        ['post-held', 'post-discarded'].includes(type),
      ).length;
      const accepted = facts.filter((fact) => fact.type === 'post-accepted' && fact.hold === null);
      expect(ended + accepted.length).toBe(commands.filter(({ type }) => type === 'post').length);
      const decided = facts.flatMap((fact) =>
        fact.type === 'hold-approved' ||
        fact.type === 'hold-rejected' ||
        fact.type === 'hold-discarded'
          ? [fact.hold]
          : [],
      );
      expect(new Set(decided).size).toBe(decided.length);
      const numbers = facts.flatMap((fact) => (fact.type === 'members-added' ? [fact.first] : []));
      expect([...numbers].sort((a, b) => a - b)).toEqual(numbers);
      expect(new Set(numbers).size).toBe(numbers.length);
      const holds = [...story.rows.range([KEY, 'hold', 0], [KEY, 'hold', 1e9])];
      const heldBytes = holds.reduce((sum, [, row]) => sum + (row as HeldPost).post.bytes, 0);
      expect(story.draft().state()).toMatchObject({ held: holds.length, heldBytes });
      const members = [...story.rows.range([KEY, 'member', 0], [KEY, 'member', 1e9])].length;
      expect(story.draft().state().live).toBe(members);
    }),
  );
});

test('L5: moderators get at most one notice in ten minutes, and hear of every hold that stays', () => {
  const strangers = fc.array(fc.boolean(), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(strangers, fc.integer({ min: 1, max: 300 }), (posts, gapSeconds) => {
      const story = given(...made);
      const commands = posts.map(
        (isPost): Command =>
          isPost ? { type: 'post', post: post({ from: [STRANGER] }) } : { type: 'tell-moderators' },
      );
      const quiet: Command[] = Array.from({ length: 12 * 60 }, () => ({ type: 'tell-moderators' }));
      const told = [
        ...live(story, commands, gapSeconds * 1_000),
        ...live(story, quiet.slice(0, 12), NOTICE_EVERY_MS),
      ].flatMap(({ fact }) => (fact.type === 'moderators-told' ? [fact] : []));
      expect(told.reduce((sum, { holds }) => sum + holds, 0)).toBe(posts.filter(Boolean).length);
      const times = [...story.rows.range([KEY, 'outbox', 0], [KEY, 'outbox', 1e9])]
        .map(([, effect]) => effect as Effect)
        .flatMap((effect) => (effect.type === 'notify-moderators' ? [effect.at] : []));
      for (const [i, at] of times.entries())
        expect(at - (times[i - 1] ?? -Infinity)).toBeGreaterThanOrEqual(NOTICE_EVERY_MS);
    }),
    { numRuns: 40 },
  );
});

test('a chunk covers 500 to 1,500 numbers and every number below the counter is in one', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2_000_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (counter, share) => {
        const live = Math.floor((counter - 1) * share);
        const width = widthOf({ nextMember: counter, live });
        expect(width).toBeGreaterThanOrEqual(500);
        expect(width).toBeLessThanOrEqual(1_500);
        expect(chunksOf({ counter, width }) * width).toBeGreaterThanOrEqual(counter);
      },
    ),
  );
});
