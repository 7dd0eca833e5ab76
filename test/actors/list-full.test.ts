/** What is held, as far as there is room for it: by number, by bytes, and in HELD. */
import { expect, test } from 'vitest';
import { HELD_BYTES_MAX, HELD_MAX } from '../../actors/list/posting.ts';
import type { Command } from '../../actors/protocol.ts';
import {
  effectsOf,
  given,
  held,
  heldPost,
  made,
  OPERATOR,
  type Story,
} from '../support/list-story.ts';

const statesOf = (story: Story): string[] =>
  effectsOf(story).flatMap((effect) => (effect.type === 'publish-directory' ? [effect.state] : []));

test('L3: the hold that fills the list makes the directory say full, and the next decision opens it', () => {
  const full = given(...made);
  for (let hold = 1; hold <= HELD_MAX; hold++) full.and(held(hold));
  expect(statesOf(full)).toEqual(['active', 'full']);
  full.and({ type: 'settings-changed', settings: { displayName: 'Still full' }, by: OPERATOR });
  expect(statesOf(full)).toEqual(['active', 'full', 'full']);
  full.and({ type: 'hold-discarded', hold: 7, by: OPERATOR });
  expect(statesOf(full)).toEqual(['active', 'full', 'full', 'active']);
});

test('L3: so does the hold whose mail fills it in bytes, and each way out of the hold gives them back', () => {
  const half = { bytes: HELD_BYTES_MAX / 2 };
  const full = given(...made, held(1, half), held(2, { bytes: half.bytes - 1 }));
  expect(statesOf(full)).toEqual(['active']);
  full.and(held(3, { bytes: 1 }));
  expect(statesOf(full)).toEqual(['active', 'full']);
  full.and(held(4), { type: 'hold-discarded', hold: 4, by: OPERATOR });
  expect(statesOf(full)).toEqual(['active', 'full']);
  const subject = { subject: '', messageId: '', tell: null };
  full.and({ type: 'hold-rejected', hold: 2, comment: '', ...subject, by: OPERATOR });
  expect(statesOf(full)).toEqual(['active', 'full', 'active']);
  expect(full.draft().state()).toMatchObject({ held: 2, heldBytes: half.bytes + 1 });
  full.and({ type: 'hold-approved', hold: 1, by: OPERATOR });
  expect(full.draft().state()).toMatchObject({ held: 1, heldBytes: 1 });
});

test('a held mail that HELD had no room for is kept later, unless the post is decided by then', () => {
  const story = given(...made, held(1), held(2));
  const keep: Command = { type: 'keep-hold', hold: 1, tries: 3 };
  const again = { type: 'hold-to-keep', hold: 1, post: heldPost, tries: 3 } as const;
  story.when(keep).then(again);
  story.and(again);
  expect(effectsOf(story).at(-1)).toEqual({ ...again, type: 'keep-held' });
  story.and({ type: 'list-retired', by: OPERATOR });
  story.when(keep).then(again);
  story.and({ type: 'hold-discarded', hold: 1, by: OPERATOR });
  story.when(keep).then();
});
