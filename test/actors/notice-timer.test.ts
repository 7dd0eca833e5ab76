import { test } from 'vitest';
import type { Fact } from '../../actors/protocol.ts';
import { ANNE, given, made, post, START } from '../support/list-story.ts';

const DUE = START + 600_000;
const held: readonly Fact[] = [
  { type: 'post-held', hold: 1, post: post(), reasons: ['not-a-member'] },
  { type: 'moderators-notice-set', due: DUE },
];

test('a timer that fires while the list’s clock is behind tells the moderators all the same', () => {
  given(...made, ...held)
    .when({ type: 'tell-moderators', due: DUE })
    .then({ type: 'moderators-told', holds: 1, to: [ANNE] });
});

test('an old timer that fires late tells nobody', () => {
  given(...made, ...held)
    .later(700_000)
    .when({ type: 'tell-moderators', due: DUE - 1 })
    .then();
});

test('a timer of an older version, which does not say what it is for, counts by the time', () => {
  const story = given(...made, ...held);
  story.when({ type: 'tell-moderators' }).then();
  story
    .later(600_000)
    .when({ type: 'tell-moderators' })
    .then({ type: 'moderators-told', holds: 1, to: [ANNE] });
});
