import { expect, test } from 'vitest';
import { ROLE_MAX } from '../../actors/list/membership.ts';
import { APPROVE_MS_MAX } from '../../actors/list/moderation.ts';
import type { Mode } from '../../actors/list/view.ts';
import { machine, takes } from '../../actors/list.ts';
import type { Command, Fact } from '../../actors/protocol.ts';
import {
  ANNE,
  address,
  BART,
  effectsOf,
  given,
  held,
  LIST,
  made,
  OPERATOR,
  post,
  STRANGER,
} from '../support/list-story.ts';

const MODES: readonly Mode[] = ['new', 'open', 'emergency', 'retired'];

const WORKING = [
  'settings-changed',
  'list-retired',
  'members-added',
  'member-removed',
  'role-granted',
  'role-revoked',
  'post-accepted',
  'post-held',
  'hold-to-keep',
  'hold-approved',
  'hold-rejected',
  'hold-discarded',
  'moderators-told',
  'moderators-notice-set',
  'owner-mail-forwarded',
  'owner-mail-discarded',
  'owner-mail-parked',
  'post-ordered',
  'post-resent',
  'storm-seen',
  'owners-told',
  'owners-to-tell',
  'list-repaired',
] as const;

/** What may happen in which mode: the law, written down once more by hand. */
const LAW: Readonly<Record<Mode, readonly Fact['type'][]>> = {
  new: ['list-created', 'post-discarded', 'owner-mail-discarded'],
  open: [...WORKING, 'emergency-declared'],
  emergency: [...WORKING, 'emergency-lifted'],
  retired: [
    'member-removed',
    'post-discarded',
    'hold-to-keep',
    'hold-rejected',
    'hold-discarded',
    'moderators-told',
    'owner-mail-discarded',
    'post-ordered',
    'owners-told',
    'list-repaired',
  ],
};

/** Every type of fact there is; one that is missing here does not compile. */
const ALL: Readonly<Record<Fact['type'], true>> = {
  'list-created': true,
  'post-ordered': true,
  'post-resent': true,
  'settings-changed': true,
  'emergency-declared': true,
  'emergency-lifted': true,
  'list-retired': true,
  'members-added': true,
  'member-removed': true,
  'role-granted': true,
  'role-revoked': true,
  'post-accepted': true,
  'post-held': true,
  'post-discarded': true,
  'hold-to-keep': true,
  'hold-approved': true,
  'hold-rejected': true,
  'hold-discarded': true,
  'moderators-told': true,
  'moderators-notice-set': true,
  'owner-mail-forwarded': true,
  'owner-mail-discarded': true,
  'owner-mail-parked': true,
  'storm-seen': true,
  'owners-told': true,
  'owners-to-tell': true,
  'list-repaired': true,
  // Of one member's mail: the delivery chart takes these.
  'member-probed': true,
  'probe-passed': true,
  'delivery-disabled': true,
  'member-warned': true,
  'delivery-enabled': true,
};
const TYPES = Object.keys(ALL).sort() as Fact['type'][];

test('the chart takes exactly the facts that the table of states and facts says', () => {
  const rows = TYPES.map((type) => [type, ...MODES.map((mode) => (takes(mode, type) ? '×' : '·'))]);
  console.log(
    [['fact', ...MODES], ...rows]
      .map(
        ([name, ...marks]) =>
          `${(name ?? '').padEnd(24)}${marks.map((m) => m.padEnd(11)).join('')}`,
      )
      .join('\n'),
  );
  for (const mode of MODES)
    for (const type of TYPES)
      expect([mode, type, takes(mode, type)]).toEqual([mode, type, LAW[mode].includes(type)]);
});

test('no state of the chart is unknown to the table', () => {
  expect(Object.keys(machine.states).sort()).toEqual([...MODES].sort());
});

test("a member's post is accepted for those who are members now", () => {
  given(...made)
    .when({ type: 'post', post: post({ from: [BART] }) })
    .then({
      type: 'post-accepted',
      number: 1,
      post: post({ from: [BART] }),
      counter: 2,
      width: 1_000,
      hold: null,
    });
});

test("a stranger's post is held and the owners are told at once", () => {
  const eve = post({ from: [STRANGER] });
  given(...made)
    .when({ type: 'post', post: eve })
    .then(
      { type: 'post-held', hold: 1, post: eve, reasons: ['not-a-member'] },
      { type: 'moderators-told', holds: 1, to: [ANNE] },
    );
});

test('a post with two authors is held unless both are members', () => {
  const story = given(...made);
  expect(story.decide({ type: 'post', post: post({ from: [BART, STRANGER] }) })).toMatchObject([
    { type: 'post-held' },
    {},
  ]);
});

test('anyone may post to a list that says so, and nobody to a closed one', () => {
  const open = given(...made, {
    type: 'settings-changed',
    settings: { posting: 'anyone' },
    by: OPERATOR,
  });
  expect(open.decide({ type: 'post', post: post({ from: [STRANGER] }) })).toMatchObject([
    { type: 'post-accepted' },
  ]);
  const closed = given(...made, {
    type: 'settings-changed',
    settings: { posting: 'closed' },
    by: OPERATOR,
  });
  expect(closed.decide({ type: 'post', post: post({ from: [BART] }) })).toMatchObject([
    { type: 'post-held', reasons: ['list-closed'] },
    {},
  ]);
});

test('in an emergency every post is held, whoever sent it', () => {
  const story = given(...made, { type: 'emergency-declared', by: OPERATOR });
  expect(story.decide({ type: 'post', post: post() })).toMatchObject([
    { type: 'post-held', reasons: ['emergency'] },
    {},
  ]);
});

test('a post larger than the list takes, or with bad MIME, is held with every reason', () => {
  const odd = post({ from: [STRANGER], bytes: 40_001, problems: ['suspicious-mime'] });
  expect(given(...made).decide({ type: 'post', post: odd })).toMatchObject([
    { type: 'post-held', reasons: ['too-large', 'not-a-member', 'suspicious-mime'] },
    {},
  ]);
});

test('approving sends the held post to those who are members then', () => {
  given(...made, held(1))
    .when({ type: 'approve', hold: 1, by: OPERATOR })
    .then(
      { type: 'hold-approved', hold: 1, by: OPERATOR },
      {
        type: 'post-accepted',
        number: 1,
        post: post({ from: [STRANGER], sender: STRANGER }),
        counter: 2,
        width: 1_000,
        hold: 1,
      },
    );
});

test('approving twice is not an error; deciding otherwise afterwards is', () => {
  const story = given(...made, held(1), { type: 'hold-approved', hold: 1, by: OPERATOR });
  story.when({ type: 'approve', hold: 1, by: OPERATOR }).then();
  story.when({ type: 'reject', hold: 1, comment: '', by: OPERATOR }).refused('already-decided');
  story.when({ type: 'discard', hold: 2, by: OPERATOR }).refused('no-such-hold');
});

test('a post whose held mail is no longer kept is not approved, only rejected or discarded', () => {
  const story = given(...made, held(1)).later(APPROVE_MS_MAX);
  expect(story.decide({ type: 'approve', hold: 1, by: OPERATOR })).toHaveLength(2);
  story.later(1).when({ type: 'approve', hold: 1, by: OPERATOR }).refused('mail-gone');
  for (const type of ['reject', 'discard'] as const)
    expect(story.decide({ type, hold: 1, comment: '', by: OPERATOR })).toHaveLength(1);
});

test('a rejection tells the envelope sender, but never a machine', () => {
  const rejected = (changes: object) =>
    given(...made, held(1, changes)).decide({
      type: 'reject',
      hold: 1,
      comment: 'No.',
      by: OPERATOR,
    });
  expect(rejected({})).toMatchObject([{ tell: STRANGER }]);
  expect(rejected({ automatic: true })).toMatchObject([{ tell: null }]);
  expect(rejected({ sender: '' })).toMatchObject([{ tell: null }]);
});

test('only operators, owners and moderators decide about held posts', () => {
  const moderator = address('mo@example.org');
  const story = given(...made, held(1), {
    type: 'role-granted',
    role: 'moderator',
    address: moderator,
    by: OPERATOR,
  });
  const by = (person: typeof BART) => ({ kind: 'person', address: person }) as const;
  story.when({ type: 'discard', hold: 1, by: by(BART) }).refused('not-allowed');
  expect(story.decide({ type: 'discard', hold: 1, by: by(moderator) })).toHaveLength(1);
  expect(story.decide({ type: 'discard', hold: 1, by: by(ANNE) })).toHaveLength(1);
  story.when({ type: 'retire', by: by(moderator) }).refused('not-allowed');
});

test('adding counts those who are members already and those named twice', () => {
  given(...made)
    .when({
      type: 'add-members',
      members: [
        { address: address('BART@example.net'), name: '' },
        { address: STRANGER, name: 'Eve' },
        { address: STRANGER, name: 'Eve' },
      ],
      by: OPERATOR,
    })
    .then({
      type: 'members-added',
      first: 2,
      members: [{ address: STRANGER, name: 'Eve' }],
      already: 2,
      by: OPERATOR,
    });
});

test('a token removes the member it was made for, nobody else, and twice is no error', () => {
  const story = given(...made);
  const by = (member: number) => ({ kind: 'token', member }) as const;
  story
    .when({ type: 'remove-member', who: { number: 1 }, by: by(1) })
    .then({ type: 'member-removed', number: 1, address: BART, by: by(1) });
  story.when({ type: 'remove-member', who: { number: 1 }, by: by(2) }).refused('not-allowed');
  story
    .and({ type: 'member-removed', number: 1, address: BART, by: by(1) })
    .when({ type: 'remove-member', who: { number: 1 }, by: by(1) })
    .then();
  story
    .when({ type: 'remove-member', who: { address: BART }, by: OPERATOR })
    .refused('not-a-member');
});

test('a retired list discards its mail and takes no members, but lets them go', () => {
  const story = given(...made, held(1), { type: 'list-retired', by: OPERATOR });
  story
    .when({ type: 'post', post: post() })
    .then({ type: 'post-discarded', post: post(), reasons: ['retired'] });
  story.when({ type: 'add-members', members: [], by: OPERATOR }).refused('retired');
  story.when({ type: 'set', settings: { displayName: 'x' }, by: OPERATOR }).refused('retired');
  story.when({ type: 'approve', hold: 1, by: OPERATOR }).refused('retired');
  expect(story.decide({ type: 'discard', hold: 1, by: OPERATOR })).toHaveLength(1);
  expect(
    story.decide({ type: 'remove-member', who: { address: BART }, by: OPERATOR }),
  ).toHaveLength(1);
});

test('a bad setting is refused by name, and an unchanged one is no change', () => {
  const story = given(...made);
  story
    .when({ type: 'set', settings: { subjectPrefix: 'a\r\nBcc: x' }, by: OPERATOR })
    .refused('bad-setting');
  story
    .when({ type: 'set', settings: { maxMessageBytes: 0 }, by: OPERATOR })
    .refused('bad-setting');
  story.when({ type: 'set', settings: { displayName: 'Dev' }, by: OPERATOR }).then();
  story
    .when({ type: 'set', settings: { displayName: 'Dev', footer: 'x\ny' }, by: OPERATOR })
    .then({ type: 'settings-changed', settings: { footer: 'x\ny' }, by: OPERATOR });
});

test('mail to the owners is forwarded to them, and parked where there are none', () => {
  const mail = post({ sender: STRANGER });
  given(...made)
    .when({ type: 'owner-mail', mail })
    .then({ type: 'owner-mail-forwarded', mail, to: [ANNE] });
  const parked = { type: 'owner-mail-parked', mail } as const;
  const left = given(...made, { type: 'role-revoked', role: 'owner', address: ANNE, by: OPERATOR });
  left.when({ type: 'owner-mail', mail }).then(parked);
  left.and(parked);
  expect(effectsOf(left).at(-1)).toEqual({ type: 'park-owner-mail', mail });
  left.and({ type: 'list-retired', by: OPERATOR });
  left.when({ type: 'owner-mail', mail }).then({ type: 'owner-mail-discarded', mail });
});

test('a list begins with its owners and moderators, each once and not too many', () => {
  const create: Command = {
    ...{ type: 'create', address: LIST, settings: {}, by: OPERATOR },
    owners: [ANNE, address('Anne@example.org')],
    moderators: [BART],
  };
  const story = given();
  const facts = story.decide(create);
  expect(facts).toMatchObject([{ type: 'list-created', owners: [ANNE], moderators: [BART] }]);
  if (!('type' in facts)) story.and(...facts);
  expect(story.draft().rolesRow()).toEqual({ owner: [ANNE], moderator: [BART] });
  const many = Array.from({ length: ROLE_MAX + 1 }, (_, i) => address(`m${i}@example.org`));
  given()
    .when({ ...create, owners: many })
    .refused('too-many');
  given()
    .when({ ...create, moderators: many })
    .refused('too-many');
});

test('nobody but the first command makes a list, and making it again is no error', () => {
  given().when({ type: 'set', settings: {}, by: OPERATOR }).refused('no-such-list');
  const create: Command = { type: 'create', address: LIST, settings: {}, owners: [], by: OPERATOR };
  given(...made)
    .when(create)
    .then();
  given(...made)
    .when({ ...create, address: address('other@lists.example') })
    .refused('exists');
});
