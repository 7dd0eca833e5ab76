import { expect, test } from 'vitest';
import { step } from '../../actors/list.ts';
import { type By, type Fact, RESEND_MAX } from '../../actors/protocol.ts';
import { ANNE, address, BART, given, made, OPERATOR, post } from '../support/list-story.ts';

const accepted: Fact = {
  type: 'post-accepted',
  ...{ number: 1, counter: 2, width: 500, post: post(), class: 'post', hold: null },
};
const order = (what: 'go' | 'pause' | 'cancel', by: By = OPERATOR) =>
  ({ type: 'order-post', post: 1, order: what, by }) as const;
const ordered = (what: 'go' | 'pause' | 'cancel') =>
  ({ type: 'post-ordered', number: 1, order: what, by: OPERATOR }) as const;
const CAL = address('cal@example.org');

test('a post is paused and resumed; saying it twice changes nothing', () => {
  given(...made, accepted)
    .when(order('pause'))
    .then(ordered('pause'));
  given(...made, accepted, ordered('pause'))
    .when(order('pause'))
    .then();
  given(...made, accepted, ordered('pause'))
    .when(order('go'))
    .then(ordered('go'));
  given(...made, accepted)
    .when(order('go'))
    .then();
});

test('what was cancelled stays so', () => {
  const story = given(...made, accepted, ordered('cancel'));
  story.when(order('cancel')).then();
  story.when(order('go')).refused('already-decided');
  story.when({ type: 'resend', post: 1, to: [1], by: OPERATOR }).refused('already-decided');
});

test('owners may, members may not, and a post that never was cannot be', () => {
  const by = (who: typeof ANNE) => ({ kind: 'person', address: who }) as const;
  const story = given(...made, accepted);
  story.when({ ...order('pause'), by: by(ANNE) }).then({ ...ordered('pause'), by: by(ANNE) });
  story.when({ ...order('pause'), by: by(BART) }).refused('not-allowed');
  story.when({ type: 'resend', post: 1, to: [1], by: by(BART) }).refused('not-allowed');
  story.when({ ...order('pause'), post: 2 }).refused('no-such-post');
  story.when({ type: 'resend', post: 2, to: [1], by: OPERATOR }).refused('no-such-post');
});

test('a retired list’s last posts can still be stopped, but not sent again', () => {
  const story = given(...made, accepted, { type: 'list-retired', by: OPERATOR });
  story.when(order('cancel')).then(ordered('cancel'));
  story.when({ type: 'resend', post: 1, to: [1], by: OPERATOR }).refused('retired');
});

test('a post is sent again only to those who were to get it and are members still', () => {
  const joined: Fact = {
    type: 'members-added',
    ...{ first: 2, already: 0, by: OPERATOR, members: [{ address: CAL, name: '' }] },
  };
  const story = given(...made, accepted, joined);
  const resend = (...to: readonly number[]) =>
    ({ type: 'resend', post: 1, to, by: OPERATOR }) as const;
  const resent = { type: 'post-resent', number: 1, again: 1, to: [1], by: OPERATOR } as const;
  story.when(resend(1, 2, 1, 99)).then(resent);
  story.when(resend(2, 99)).refused('nothing-to-do');
  story.when(resend(...Array.from({ length: RESEND_MAX + 1 }, (_, n) => n))).refused('too-many');
  story
    .and(resent)
    .when(resend(1))
    .then({ ...resent, again: 2 });
});

test('a post is not sent again to a member whose delivery is disabled', () => {
  const disabled: Fact = {
    ...{ type: 'delivery-disabled', number: 1, address: BART, why: 'owner' },
    ...{ warning: 0, of: 0, cause: null, by: OPERATOR },
  };
  const resend = { type: 'resend', post: 1, to: [1], by: OPERATOR } as const;
  given(...made, accepted, disabled)
    .when(resend)
    .refused('nothing-to-do');
});

test('each order is told to outgoing, and a resend carries the settings of its day', () => {
  const row = given(...made, accepted)
    .draft()
    .list();
  expect(step(row, { ...ordered('pause'), at: 1 }).effects).toEqual([
    { type: 'order-post', number: 1, order: 'pause' },
  ]);
  const resent = {
    type: 'post-resent',
    number: 1,
    again: 1,
    to: [1],
    by: OPERATOR,
    at: 1,
  } as const;
  expect(step(row, resent).effects).toEqual([
    ...[{ type: 'deliver-again', number: 1, again: 1, to: [1], settings: row.context.settings }],
  ]);
});
