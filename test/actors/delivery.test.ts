/** A member in trouble: the law of the chart, and what the list decides about verdicts. */
import { expect, test } from 'vitest';
import { DAY_MS } from '../../actors/bounces/scoring.ts';
import type { Storm } from '../../actors/bounces/storm.ts';
import type { Cause, Verdict } from '../../actors/bounces.ts';
import {
  type DeliveryFact,
  type DeliveryMode,
  isDeliveryFact,
  machine,
  takesDelivery,
} from '../../actors/delivery.ts';
import { OWNERS_EVERY_MS } from '../../actors/list/troubles.ts';
import type { By, Effect, Fact } from '../../actors/protocol.ts';
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

const MODES: readonly DeliveryMode[] = ['delivering', 'probing', 'disabled', 'removed'];
const ALWAYS = ['delivery-enabled', 'member-removed'] as const;
/** The law, written down once more by hand. */
const LAW: Readonly<Record<DeliveryMode, readonly Fact['type'][]>> = {
  delivering: [...ALWAYS, 'member-probed', 'delivery-disabled'],
  probing: [...ALWAYS, 'probe-passed', 'delivery-disabled'],
  disabled: [...ALWAYS, 'member-warned'],
  removed: [],
};
const TYPES: Readonly<Record<DeliveryFact['type'] | 'member-removed', true>> = {
  'member-probed': true,
  'probe-passed': true,
  'delivery-disabled': true,
  'member-warned': true,
  'delivery-enabled': true,
  'member-removed': true,
};

test('the chart of a member takes exactly the facts that the table says', () => {
  const types = Object.keys(TYPES) as Fact['type'][];
  for (const type of types) {
    const marks = MODES.map((mode) => (takesDelivery(mode, type) ? '×' : '·').padEnd(12));
    console.log(`${type.padEnd(20)}${marks.join('')}`);
    for (const mode of MODES)
      expect([mode, type, takesDelivery(mode, type)]).toEqual([
        mode,
        type,
        LAW[mode].includes(type),
      ]);
  }
  expect(Object.keys(machine.states).sort()).toEqual([...MODES].sort());
  expect(isDeliveryFact({ type: 'member-removed', number: 1, address: BART, by: OPERATOR })).toBe(
    false,
  );
});

const CAUSE: Cause = { seq: 9, reason: 'user-unknown', status: '5.1.1', code: 550, diagnostic: '' };
const LIST: By = { kind: 'list' };
const LIST_ELSEWHERE = address('news@lists.example');

type Of = Extract<Verdict, { type: 'bounce-verdict' }>;
const verdict = (what: Of['verdict'], changes: Partial<Of> = {}): Of => ({
  ...{ type: 'bounce-verdict', verdict: what, member: 1, count: 0, complaint: false, cause: CAUSE },
  ...changes,
});
const of = { number: 1, address: BART };
const probed: Fact = { type: 'member-probed', ...of, probe: 1, cause: CAUSE };
const disabled = (changes: Partial<DeliveryFact> = {}): Fact =>
  ({
    ...{ type: 'delivery-disabled', ...of, why: 'bounces', warning: 1, of: 3, cause: CAUSE },
    ...{ by: LIST, ...changes },
  }) as Fact;
const inTrouble = () => given(...made, probed, disabled());

/** The effects that the facts so far have left in the outbox. */
const effects = (story: Story): Effect[] =>
  [...story.rows.range([KEY, 'outbox'], [KEY, 'outboy'])].map(([, effect]) => effect as Effect);

test('a member is probed once, by a number of their own for each probe', () => {
  given(...made)
    .when(verdict('probe'))
    .then(probed);
  given(...made, probed)
    .when(verdict('probe'))
    .then();
  const again = given(...made, probed, { type: 'probe-passed', ...of });
  again.when(verdict('probe')).then({ ...probed, probe: 2 } as Fact);
});

test('D1: bounces disable only whom a probe was sent to; the member is told, and the owners', () => {
  given(...made)
    .when(verdict('disable'))
    .then();
  given(...made, probed)
    .when(verdict('disable'))
    .then(disabled(), { type: 'owners-told', disabled: 1, removed: 0, to: [ANNE] });
  const story = inTrouble();
  expect(story.draft().memberRow(1)).toMatchObject({ address: BART, off: true });
  expect(effects(story)).toMatchObject([
    { type: 'publish-directory' },
    { type: 'tell-bounces', event: { what: 'probed', count: 1 } },
    { type: 'send-probe', address: BART, probe: 1 },
    { type: 'tell-bounces', event: { what: 'disabled', count: 1, byBounces: true } },
    { type: 'send-warning', address: BART, warning: 1, of: 3 },
    { type: 'tell-suspects', address: BART, dead: { at: expect.any(Number), cause: CAUSE } },
  ]);
});

test.each([
  ['a complaint', { why: 'complaint' }],
  ['an owner', { why: 'owner', warning: 0 }],
  ['the member', { why: 'member', warning: 0 }],
  ['a refusal that is not about the address', { cause: { ...CAUSE, reason: 'policy' } }],
  ['a mailbox that is full', { cause: { ...CAUSE, reason: 'mailbox-full' } }],
  ['a domain that takes no mail', { cause: { ...CAUSE, reason: 'host-unknown' } }],
])('D4: an address that %s stopped is not suspect on other lists', (_, changes) => {
  const story = given(...made, probed, disabled(changes as never));
  expect(effects(story).map(({ type }) => type)).not.toContain('tell-suspects');
});

const HINT = {
  type: 'bounce-hint',
  address: BART,
  cause: { ...CAUSE, elsewhere: { list: LIST_ELSEWHERE, since: START } },
} as const;

test('D4: what another list found leads to one probe, however often it is told', () => {
  const asked: Fact = { ...probed, cause: HINT.cause } as Fact;
  given(...made)
    .when(HINT)
    .then(asked);
  const story = given(...made, asked, { type: 'probe-passed', ...of }).later(40 * DAY_MS);
  story.when(HINT).then();
  const later = { list: LIST_ELSEWHERE, since: START + 40 * DAY_MS };
  story
    .when({ ...HINT, cause: { ...CAUSE, elsewhere: later } })
    .then({ ...probed, probe: 2, cause: { ...CAUSE, elsewhere: later } } as Fact);
});

test('D4: no probe is sent where the list does not ask, or the member is in trouble already', () => {
  for (const settings of [{ bounceSuspects: false }, { bounceScoring: 'off' }] as const)
    given(...made, { type: 'settings-changed', settings, by: OPERATOR })
      .when(HINT)
      .then();
  given(...made, probed)
    .when(HINT)
    .then();
  given(...made, probed, disabled())
    .when(HINT)
    .then();
  given(...made)
    .when({ ...HINT, address: ANNE })
    .then();
});

test('D4: whoever is sent to again is no suspect; a probe that did not come back says nothing', () => {
  const story = inTrouble().and({ type: 'delivery-enabled', ...of, by: OPERATOR });
  expect(effects(story).at(-1)).toEqual({ type: 'tell-suspects', address: BART, dead: null });
  const passed = given(...made, probed, { type: 'probe-passed', ...of });
  expect(effects(passed).map(({ type }) => type)).not.toContain('tell-suspects');
});

test('a complaint disables at once, with one notice and no reminders', () => {
  const [fact] = given(...made).decide(verdict('disable', { complaint: true })) as readonly Fact[];
  expect(fact).toMatchObject({ type: 'delivery-disabled', why: 'complaint', warning: 1, of: 1 });
  const story = given(...made, disabled({ why: 'complaint', of: 1 } as never)).later(99 * DAY_MS);
  story.when(verdict('warn', { count: 2 })).then();
  story.when(verdict('remove')).then();
});

test('D2, D3: warnings keep their order and their distance, and removal comes after the last', () => {
  const story = inTrouble();
  story.when(verdict('warn', { count: 2 })).then();
  story.later(7 * DAY_MS);
  story.when(verdict('warn', { count: 3 })).then();
  story.when(verdict('remove')).then();
  const warned = (warning: number): Fact => ({ type: 'member-warned', ...of, warning, of: 3 });
  story.when(verdict('warn', { count: 2 })).then(warned(2));
  story
    .and(warned(2))
    .later(7 * DAY_MS)
    .and(warned(3));
  story.when(verdict('remove')).then();
  story.later(7 * DAY_MS);
  const removed: Fact = { type: 'member-removed', ...of, by: LIST };
  story
    .when(verdict('remove'))
    .then(removed, { type: 'owners-told', disabled: 0, removed: 1, to: [ANNE] });
  story.and(removed);
  expect(effects(story).at(-1)).toMatchObject({ type: 'tell-bounces', event: { what: 'removed' } });
  expect(story.draft().hasTrouble(1)).toBe(false);
});

test('a member who was never in trouble leaves without a word to the bounce actor', () => {
  const story = given(...made).and({ type: 'member-removed', ...of, by: OPERATOR });
  expect(effects(story).map(({ type }) => type)).toEqual(['publish-directory']);
});

test('a probe passes when its time is over, not before', () => {
  const story = given(...made, probed).later(9 * DAY_MS);
  story.when(verdict('re-enable')).then();
  story
    .later(DAY_MS)
    .when(verdict('re-enable'))
    .then({ type: 'probe-passed', ...of });
});

test('B1: a hint leads to one probe a week, of a member, who goes on getting mail', () => {
  const hint = { type: 'bounce-hint', address: BART, cause: CAUSE } as const;
  const story = given(...made);
  story.when({ ...hint, address: ANNE }).then();
  story.when(hint).then(probed);
  story.and(probed).when(hint).then();
  expect(story.draft().memberRow(1)?.off).toBe(undefined);
  story.later(6 * DAY_MS).and({ type: 'probe-passed', ...of });
  story.when(hint).then();
  story
    .later(DAY_MS)
    .when(hint)
    .then({ ...probed, probe: 2 } as Fact);
});

test('the link in a warning brings the mail back, for whom it was sent to alone', () => {
  const story = inTrouble();
  const press = (member: number) =>
    story.when({
      ...{ type: 'set-delivery', who: { number: 1 }, on: true },
      by: { kind: 'token', member },
    });
  const enabled: Fact = { type: 'delivery-enabled', ...of, by: { kind: 'token', member: 1 } };
  press(2).refused('not-allowed');
  press(1).then(enabled);
  story.and(enabled);
  expect(story.draft().memberRow(1)).toEqual({
    address: BART,
    name: 'Bart',
    at: expect.any(Number),
  });
  press(1).then();
});

test('a link does not undo what an owner did, nor does it turn mail off', () => {
  const by: By = { kind: 'token', member: 1 };
  const who = { number: 1 };
  const off = given(...made, disabled({ why: 'owner', warning: 0, of: 0, by: OPERATOR } as never));
  off.when({ type: 'set-delivery', who, on: true, by }).then();
  given(...made)
    .when({ type: 'set-delivery', who, on: false, by })
    .refused('not-allowed');
});

test('members and owners turn mail off and on; nobody else does', () => {
  const story = given(...made);
  const set = (by: By, on: boolean) =>
    story.decide({ type: 'set-delivery', who: { address: BART }, on, by });
  expect(set({ kind: 'person', address: BART }, false)).toMatchObject([{ why: 'member' }]);
  expect(set({ kind: 'person', address: ANNE }, false)).toMatchObject([{ why: 'owner' }]);
  const eve = { kind: 'person', address: 'eve@x.example' as never } as const;
  expect(set(eve, false)).toMatchObject({ code: 'not-allowed' });
  expect(set(OPERATOR, true)).toMatchObject([{ type: 'delivery-enabled' }]);
});

test('owners hear of the first at once, and of all others together an hour later', () => {
  const story = given(
    ...made,
    { type: 'owners-told', disabled: 1, removed: 0, to: [ANNE] },
    probed,
  );
  const due = story.draft().at + OWNERS_EVERY_MS;
  const facts = story.decide(verdict('disable')) as readonly Fact[];
  expect(facts.at(1)).toEqual({ type: 'owners-to-tell', disabled: 1, removed: 0, due });
  story.and(...facts);
  expect(effects(story).at(-1)).toEqual({ type: 'set-owners-timer', due });
  story.when({ type: 'tell-owners', due: due - 1 }).then();
  const told: Fact = { type: 'owners-told', disabled: 1, removed: 0, to: [ANNE] };
  story.when({ type: 'tell-owners', due }).then(told);
  story.and(told).when({ type: 'tell-owners', due }).then();
});

test.each([
  ['none', [0, 0]],
  ['removals', [0, 1]],
  ['all', [1, 1]],
] as const)(
  'owners who want to hear of %s hear of that',
  (bounceNotices, [ofDisabled, ofRemoved]) => {
    const by = OPERATOR;
    const settings: Fact = { type: 'settings-changed', settings: { bounceNotices }, by };
    const many = (story: Story, what: Of['verdict']) =>
      (story.decide(verdict(what)) as readonly Fact[]).length - 1;
    expect(many(given(...made, settings, probed), 'disable')).toBe(ofDisabled);
    const last = inTrouble().and(settings, { type: 'member-warned', ...of, warning: 3, of: 3 });
    expect(many(last.later(7 * DAY_MS), 'remove')).toBe(ofRemoved);
  },
);

test('whom a storm disabled is enabled, and nobody else by that word', () => {
  const word = { ...verdict('re-enable', { cause: null }), storm: true } as const;
  inTrouble()
    .when(word)
    .then({ type: 'delivery-enabled', ...of, by: LIST });
  given(...made, probed)
    .when(word)
    .then();
  given(...made, probed, disabled({ why: 'complaint' } as Partial<DeliveryFact>))
    .when(word)
    .then();
  // A probe that was given up on late says nothing of who is disabled.
  inTrouble()
    .later(99 * DAY_MS)
    .when(verdict('re-enable'))
    .then();
});

test('each word of the list names the event that caused it, and a person’s names none', () => {
  const causes = (...facts: Fact[]) =>
    effects(given(...made, ...facts)).flatMap((effect) =>
      effect.type === 'tell-bounces' ? [[effect.event.what, effect.event.cause]] : [],
    );
  const later = { ...CAUSE, seq: 12 };
  const warned: Fact = { type: 'member-warned', ...of, warning: 2, of: 3 };
  const removed = (by: By): Fact => ({ type: 'member-removed', ...of, by });
  const enabled = (by: By): Fact => ({ type: 'delivery-enabled', ...of, by });
  const trouble = [probed, disabled({ cause: later } as Partial<DeliveryFact>)];
  expect(causes(...trouble, warned, removed(LIST))).toEqual([
    ...[
      ['probed', 9],
      ['disabled', 12],
      ['warned', 12],
      ['removed', 12],
    ],
  ]);
  expect(causes(probed, { type: 'probe-passed', ...of }).at(-1)).toEqual(['reset', 9]);
  expect(causes(...trouble, enabled(LIST)).at(-1)).toEqual(['reset', 12]);
  expect(causes(...trouble, enabled(OPERATOR)).at(-1)).toEqual(['reset', null]);
  expect(causes(...trouble, removed(OPERATOR)).at(-1)).toEqual(['removed', null]);
});

test('a storm is told to the owners once, however often it is seen', () => {
  const storm: Storm = {
    ...{ post: 1, reason: 'spam', bounced: 40, members: 90 },
    ...{ blame: 'post', where: '' },
  };
  const story = given(...made, {
    ...{ type: 'post-accepted', number: 1, counter: 2, width: 500, class: 'post', hold: null },
    post: post(),
  });
  const seen: Fact = { type: 'storm-seen', storm, to: [ANNE] };
  story.when({ type: 'bounce-storm', ...storm }).then(seen);
  story.and(seen);
  expect(effects(story).at(-1)).toMatchObject({ type: 'notify-storm', to: [ANNE] });
  story.when({ type: 'bounce-storm', ...storm }).then();
});

test('a list with scoring off, or retired, does nothing about verdicts', () => {
  const off: Fact = { type: 'settings-changed', settings: { bounceScoring: 'off' }, by: OPERATOR };
  given(...made, off)
    .when(verdict('probe'))
    .then();
  given(...made, { type: 'list-retired', by: OPERATOR })
    .when(verdict('probe'))
    .then();
});
