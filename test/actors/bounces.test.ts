/** The fold of bounces: what counts, what it leads to, and what never does. */
import { expect, test } from 'vitest';
import { nextOf, PROBE_DAYS } from '../../actors/bounces/due.ts';
import { DAY_MS, DEFAULT_RULES, type Rules, type Scoring } from '../../actors/bounces/scoring.ts';
import { stormOf, type Tally } from '../../actors/bounces/storm.ts';
import { currentScore } from '../../actors/bounces/wants.ts';
import { type Bounce, PROBES_FROM } from '../../src/mail/bounce-event.ts';
import {
  type BookStory,
  bounce,
  emptyBook,
  hint,
  onDay,
  standing,
} from '../support/bounce-story.ts';

const scoreOf = (story: BookStory, member = 1): number => {
  const row = story.score(member);
  return row === undefined ? 0 : currentScore(story.book, row);
};
/** One bounce a day, each of a post of its own. */
const daily = (days: number, changes: Partial<Bounce> = {}): Bounce[] =>
  Array.from({ length: days }, (_, day) => bounce(1, day + 1, { at: onDay(day), ...changes }));
const verdicts = (story: BookStory) => story.asks().map(({ id, command }) => [id, command.type]);

test('five days on which mail came back lead to a probe, by an id that follows from the event', () => {
  const four = emptyBook().fold(...daily(4));
  expect([scoreOf(four), verdicts(four)]).toEqual([4, []]);
  const five = emptyBook().fold(...daily(5));
  expect([scoreOf(five), verdicts(five)]).toEqual([5, [['1.probe.5', 'bounce-verdict']]]);
});

test('who has not answered is asked again by the bounces of another day, not of the same', () => {
  const story = emptyBook().fold(...daily(5), bounce(1, 6, { at: onDay(4, 13) }));
  expect(verdicts(story)).toEqual([['1.probe.5', 'bounce-verdict']]);
  story.fold(bounce(1, 7, { at: onDay(5) }));
  expect(verdicts(story)).toEqual([['1.probe.7', 'bounce-verdict']]);
  story.fold(standing(1, 'probed', onDay(5), 1), bounce(1, 8, { at: onDay(6) }));
  expect(verdicts(story)).toEqual([]);
});

test('B1: a copy that comes back twice counts once, however much later', () => {
  const story = emptyBook().fold(bounce(1, 1));
  for (let day = 1; day < 30; day++)
    story.fold(bounce(1, 1, { id: `again${day}`, at: onDay(day) }));
  expect([scoreOf(story), verdicts(story)]).toEqual([1, []]);
});

test('B1: a copy counts no more once its score was reset, or so many others came back', () => {
  const reset = emptyBook().fold(bounce(1, 5), standing(1, 'reset', onDay(1)));
  reset.fold(bounce(1, 5, { at: onDay(2) }), bounce(1, 4, { at: onDay(2) }));
  expect(scoreOf(reset)).toBe(0);
  const many = emptyBook({ scoring: 'off' });
  for (let post = 1; post <= 100; post++) many.fold(bounce(1, post));
  expect(many.score(1)?.copies.map(({ post }) => post)).toEqual(
    Array.from({ length: 64 }, (_, i) => i + 37),
  );
  many.fold(bounce(1, 20, { at: onDay(3) }));
  expect(many.score(1)?.copies.length).toBe(64);
});

test.each<[string, Scoring, Partial<Bounce>, number]>([
  ['a policy says nothing of the member', 'reasons', { reason: 'policy' }, 0],
  ['spam says nothing of the member', 'reasons', { reason: 'spam' }, 0],
  ['authentication says nothing of the member', 'reasons', { reason: 'authentication' }, 0],
  ['a full mailbox counts slowly', 'reasons', { reason: 'mailbox-full', permanent: false }, 2.5],
  ['mail that expired counts by half', 'reasons', { reason: 'expired' }, 5],
  ['a temporary failure counts nothing', 'reasons', { permanent: false }, 0],
  ['Mailman counts whatever the reason', 'mailman3', { reason: 'policy' }, 10],
  ['Mailman ignores what is temporary', 'mailman3', { permanent: false }, 0],
  ['off counts nothing', 'off', {}, 0],
])('%s', (_, scoring, changes, score) => {
  expect(scoreOf(emptyBook({ scoring }).fold(...daily(10, changes)))).toBe(score);
});

test('a week and a day without a bounce, and the score begins anew', () => {
  const days = [0, 1, 2, 9].map((day, i) => bounce(1, i + 1, { at: onDay(day) }));
  expect(scoreOf(emptyBook().fold(...days))).toBe(4);
  const later = [0, 1, 2, 10].map((day, i) => bounce(1, i + 1, { at: onDay(day) }));
  expect(scoreOf(emptyBook().fold(...later))).toBe(1);
});

test('B3: only the newest probe that comes back for good disables, and only for a reason that counts', () => {
  const probed = () => emptyBook().fold(...daily(5), standing(1, 'probed', onDay(5), 1));
  expect(verdicts(probed())).toEqual([]);
  const back = (changes: Partial<Bounce> = {}) =>
    probed().fold(bounce(1, PROBES_FROM + 1, { at: onDay(6), ...changes }));
  expect(verdicts(back())).toEqual([['1.disable.7', 'bounce-verdict']]);
  expect(verdicts(back({ reason: 'mailbox-full', permanent: false }))).toEqual([]);
  expect(verdicts(back({ reason: 'mailbox-full' }))).toEqual([['1.disable.7', 'bounce-verdict']]);
  expect(verdicts(back({ reason: 'spam' }))).toEqual([]);
  expect(verdicts(back().fold(standing(1, 'disabled', onDay(6), 1)))).toEqual([]);
});

test('B3: a probe that comes back before the list says it went out disables all the same', () => {
  const story = emptyBook().fold(...daily(5), bounce(1, PROBES_FROM + 1, { at: onDay(6) }));
  story.fold(standing(1, 'probed', onDay(5), 1));
  expect(verdicts(story)).toEqual([['1.disable.6', 'bounce-verdict']]);
});

test('a complaint with our token stops the mail at once', () => {
  const story = emptyBook().fold(bounce(1, 1, { kind: 'complaint', reason: 'unknown' }));
  expect(story.asks()).toMatchObject([{ id: '1.disable.1', command: { complaint: true } }]);
});

test('a plain DSN leads to a probe of its address, once a day, and to nothing else', () => {
  const story = emptyBook();
  for (let i = 0; i < 50; i++) story.fold(hint('A@example.org', { id: `h${i}` }));
  story.fold(hint('a@example.org'), hint('spam@example.org', { reason: 'spam' }));
  expect(story.asks()).toMatchObject([{ id: 'hint.1', command: { type: 'bounce-hint' } }]);
  expect([...story.rows().keys()].some((id) => id.startsWith('["score"'))).toBe(false);
});

test('warnings come one after another, in their time, and then removal', () => {
  const after = (count: number, what: 'disabled' | 'warned' = 'warned') => {
    const row = emptyBook()
      .fold(standing(1, what, onDay(0), count))
      .score(1);
    return row === undefined ? null : nextOf(1, row, DEFAULT_RULES, onDay(7));
  };
  const at = onDay(0) + 7 * DAY_MS;
  expect(after(1, 'disabled')).toMatchObject({
    ...{ what: 'ask', at },
    asking: { id: '1.warn.1', command: { verdict: 'warn', count: 2 } },
  });
  expect(after(2)).toMatchObject({ at, asking: { command: { verdict: 'warn', count: 3 } } });
  expect(after(3)).toMatchObject({
    at,
    asking: { id: '1.remove.1', command: { verdict: 'remove' } },
  });
});

test('whom an owner disabled is neither warned nor removed', () => {
  const row = emptyBook()
    .fold(standing(1, 'disabled', onDay(0), 0, false))
    .score(1);
  expect(row && nextOf(1, row, DEFAULT_RULES, onDay(50)).what).toBe('forget');
});

test('who waits for a warning is looked at each day, by the rules as they are then', () => {
  const row = emptyBook()
    .fold(standing(1, 'disabled', onDay(0), 1))
    .score(1);
  const next = (rules: Partial<Rules>, from: number) =>
    row && nextOf(1, row, { ...DEFAULT_RULES, ...rules }, from);
  expect(next({}, onDay(0))).toEqual({ what: 'look', at: onDay(1) });
  expect(next({ warningDays: 2 }, onDay(1))).toMatchObject({ what: 'ask', at: onDay(2) });
  expect(next({ warningDays: 10 }, onDay(7))).toEqual({ what: 'look', at: onDay(8) });
  expect(next({ scoring: 'off' }, onDay(70))).toEqual({ what: 'look', at: onDay(71) });
});

test('a probe that did not come back in ten days ends well, and the score is forgotten', () => {
  const story = emptyBook().fold(...daily(5), standing(1, 'probed', onDay(5), 1));
  const row = story.score(1);
  expect(row && nextOf(1, row, DEFAULT_RULES, onDay(5))).toMatchObject({
    at: onDay(5) + PROBE_DAYS * DAY_MS,
    asking: { command: { verdict: 're-enable' } },
  });
  expect(scoreOf(story.fold(standing(1, 'reset', onDay(15))))).toBe(0);
});

test('what comes back of a member who was removed counts no more', () => {
  const story = emptyBook().fold(standing(1, 'removed', onDay(0)), ...daily(9));
  expect([verdicts(story), story.score(1)?.copies]).toEqual([[], []]);
});

/** Post 9 came back from so many, each with four bounces of other days before. */
function many(members: number, changes: Partial<Bounce> = {}): Bounce[] {
  return Array.from({ length: members }, (_, i) =>
    bounce(i + 1, 9, { at: onDay(4), id: `s${i}`, ...changes }),
  );
}

test('B4: one post, one reason, twenty members and more than 5 %: nobody counts it', () => {
  const story = emptyBook({ scoring: 'mailman3' }, 399).fold(...many(20, { reason: 'spam' }));
  expect(story.asks()).toEqual([
    {
      id: 'storm.9',
      command: {
        ...{ type: 'bounce-storm', post: 9, reason: 'spam', bounced: 20, members: 399 },
        ...{ blame: 'provider', where: 'example.org' },
      },
    },
  ]);
  expect(scoreOf(story, 1)).toBe(0);
  expect(scoreOf(story.fold(bounce(50, 9, { at: onDay(4) })), 50)).toBe(0);
});

test.each<[string, Partial<Bounce>[], number]>([
  ['nineteen', many(19), 100],
  ['no more than 5 %', many(20), 400],
  ['twenty for two reasons', [...many(10), ...many(20, { reason: 'spam' }).slice(10)], 100],
])('%s are no storm', (_, bounces, members) => {
  const story = emptyBook({}, members).fold(...(bounces as Bounce[]));
  expect((story.rows().get('["post",9]') as Tally).storm).toBe(null);
});

/** So many members, each with four bounces of days and posts of their own, and a fifth of one that all refuse. */
function beforeStorm(members: number): Bounce[] {
  const earlier = Array.from({ length: members }, (_, i) =>
    [0, 1, 2, 3].map((day) => bounce(i + 1, 20 + 4 * i + day, { at: onDay(day) })),
  );
  return [...earlier.flat(), ...many(members)];
}

test('B4: what was asked before the storm was seen is asked no more', () => {
  const story = emptyBook({}, 100).fold(...beforeStorm(19));
  expect(verdicts(story).filter(([, type]) => type === 'bounce-verdict').length).toBe(19);
  expect(scoreOf(story)).toBe(5);
  story.fold(bounce(20, 9, { at: onDay(4) }));
  expect(verdicts(story)).toEqual([['storm.9', 'bounce-storm']]);
  expect([scoreOf(story), story.score(1)?.asked]).toEqual([4, null]);
  // What comes back of another post on that day counts as on any.
  story.fold(bounce(1, 10, { at: onDay(4) }));
  expect(story.asks()).toMatchObject([
    { id: 'storm.9' },
    { command: { verdict: 'probe', member: 1, cause: { reason: 'user-unknown' } } },
  ]);
});

test('B4: whom a storm disabled before it was seen is enabled again, and nobody else', () => {
  const story = emptyBook({}, 100).fold(...beforeStorm(19));
  const seqOf = (member: number) => story.score(member)?.copies[0]?.words[0].seq ?? 0;
  // Member 1 was disabled because of it, member 2 was probed, member 3 by a hint.
  const probed = (member: number, cause: number) =>
    standing(member, 'probed', onDay(4), 1, false, cause);
  const back = (member: number) => bounce(member, PROBES_FROM + 1, { at: onDay(4, 13) });
  const disabled = (member: number) => standing(member, 'disabled', onDay(4, 14), 1);
  story.fold(probed(1, seqOf(1)), back(1), disabled(1));
  story.fold(probed(2, seqOf(2)));
  story.fold(probed(3, 9_999), back(3), disabled(3));
  const { seq } = story.score(1)?.standing ?? {};
  story.fold(bounce(20, 9, { at: onDay(4) }));
  const enabled = { id: `1.re-enable.${seq}`, command: { verdict: 're-enable', storm: true } };
  expect(story.asks()).toMatchObject([{ id: 'storm.9' }, enabled]);
  // Nor does the probe that it led to disable anybody any more.
  story.fold(back(2));
  expect(verdicts(story).length).toBe(2);
});

test('B4: a list that disables somebody after the storm was seen is asked to enable them', () => {
  const story = emptyBook({}, 100).fold(...beforeStorm(20));
  const cause = story.score(1)?.copies[0]?.words[0].seq ?? 0;
  story.fold(standing(1, 'probed', onDay(4), 1, false, cause));
  story.fold(standing(1, 'disabled', onDay(4), 1));
  expect(story.asks()).toMatchObject([
    { id: 'storm.9' },
    { command: { verdict: 're-enable', member: 1, storm: true } },
  ]);
  story.fold(standing(1, 'reset', onDay(4)));
  expect(verdicts(story).length).toBe(1);
});

test('B1: a post so old that nobody remembers what came back of it counts no more', () => {
  expect(scoreOf(emptyBook().fold(bounce(1, 1, { at: onDay(59) })))).toBe(1);
  expect(
    emptyBook()
      .fold(bounce(1, 1, { at: onDay(61) }))
      .rows().size,
  ).toBe(0);
});

test('of the words of one copy the weightiest of its first day counts, whatever comes first', () => {
  const full = { reason: 'mailbox-full', permanent: false };
  const words = [bounce(1, 1, full), bounce(1, 1), bounce(1, 1, { ...full, at: onDay(1) })];
  for (const order of [words, words.toReversed()]) {
    const story = emptyBook().fold(...order);
    expect(scoreOf(story)).toBe(1);
    expect(story.rows().get(`["day",${onDay(0, 0) / DAY_MS}]`)).toMatchObject({ bounces: 1 });
  }
});

test('the history keeps what the list did and why, however much comes back', () => {
  const story = emptyBook({}, null).fold(standing(1, 'probed', onDay(0), 1, false, 7));
  for (let post = 1; post <= 40; post++) story.fold(bounce(1, post));
  const history = story.score(1)?.history ?? [];
  expect(history.length).toBe(25);
  expect(history[0]).toMatchObject({ seq: 1, what: 'probed 1', cause: 7 });
});

test('who is to blame follows from the reason, and from whose it is', () => {
  const spread = (reason: string) =>
    many(40, { reason }).map((one, i) => ({ ...one, address: `m@p${i}.example` as never }));
  const blame = (reason: string) => {
    const ask = emptyBook({}, 100)
      .fold(...spread(reason))
      .asks()
      .find(({ id }) => id === 'storm.9');
    return ask?.command.type === 'bounce-storm' ? [ask.command.blame, ask.command.where] : null;
  };
  expect(['authentication', 'blocked', 'content'].map(blame)).toEqual([
    ...[
      ['sender-domain', 'author.example'],
      ['route', ''],
      ['post', ''],
    ],
  ]);
});

test('a route is to blame if nearly all came over it, and little of what others took came back', () => {
  const over = (route: string, i: number): Bounce =>
    bounce(i, 9, { route, reason: 'policy', address: `m@p${i}.example` as never });
  const story = (a: number, b: number) => {
    const ofA = Array.from({ length: a }, (_, i) => over('a', i + 1));
    const ofB = Array.from({ length: b }, (_, i) => over('b', a + i + 1));
    return emptyBook({}, 100)
      .fold(...ofA, ...ofB)
      .rows()
      .get('["post",9]') as Tally;
  };
  const sent = { members: 100, author: 'author.example' };
  const blame = (tally: Tally, copies: Record<string, number> | null) => {
    const { blame: of, where } = stormOf(9, 'policy', tally, sent, copies);
    return [of, where];
  };
  expect(blame(story(30, 0), { a: 50, b: 50 })).toEqual(['route', 'a']);
  expect(blame(story(29, 2), { a: 50, b: 50 })).toEqual(['route', 'a']);
  expect(blame(story(29, 5), { a: 50, b: 50 })).toEqual(['post', '']);
  expect(blame(story(30, 0), { a: 100 })).toEqual(['post', '']);
  expect(blame(story(30, 0), null)).toEqual(['post', '']);
});
