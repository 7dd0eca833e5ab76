/** What a list's facts cause outside of it, as data. */
import { assert } from '../../src/assert.ts';
import type { Effect, Fact } from '../protocol.ts';
import { HELD_BYTES_MAX, HELD_MAX } from './posting.ts';
import { troubleEffects } from './troubles.ts';
import type { Mode, State } from './view.ts';

/** A fact with the time of its record, and with the bytes of the mail where it ends a hold. */
export type Happened = (Exclude<Fact, HoldEnd> | (HoldEnd & { readonly heldBytes: number })) & {
  readonly at: number;
};
export type HoldEnd = Extract<Fact, { type: 'hold-approved' | 'hold-rejected' | 'hold-discarded' }>;

/** What is held, counted; a row of before there were bytes counts none, so these never go below it. */
export type HeldCount = Pick<State, 'held' | 'heldBytes'>;

export function withHeld(state: HeldCount, posts: number, bytes: number): HeldCount {
  return { held: state.held + posts, heldBytes: Math.max(0, state.heldBytes + bytes) };
}

const isFull = ({ held, heldBytes }: HeldCount): boolean =>
  held >= HELD_MAX || heldBytes >= HELD_BYTES_MAX;

/** What a fact causes, given the state after it. */
export function effectsOf(state: State, mode: Mode, fact: Happened): readonly Effect[] {
  switch (fact.type) {
    case 'list-created':
    case 'settings-changed':
      return [directory(state, 'active')];
    case 'list-retired':
      return [directory(state, 'retired')];
    case 'list-repaired':
      // What is left out may have changed what the directory says.
      return [directory(state, mode === 'retired' ? 'retired' : 'active')];
    case 'post-accepted': {
      const { number, post, counter, width, hold } = fact;
      const { settings } = state;
      const deliver = {
        type: 'deliver',
        number,
        counter,
        width,
        hold,
        post,
        settings,
      } as const;
      return [deliver, { type: 'archive', number, hold, post }];
    }
    case 'post-held': {
      const { hold, post } = fact;
      const keep = { type: 'keep-held', hold, post } as const;
      const isFilled = isFull(state) && !isFull(withHeld(state, -1, -post.bytes));
      return isFilled ? [keep, directory(state, 'full')] : [keep];
    }
    case 'hold-to-keep': {
      const { hold, post, tries } = fact;
      return [{ type: 'keep-held', hold, post, tries }];
    }
    case 'hold-approved':
      return roomAgain(state, mode, fact);
    case 'hold-rejected': {
      const drop = { type: 'drop-held', hold: fact.hold } as const;
      const { hold, at, tell, comment, subject, messageId } = fact;
      if (tell === null) return [drop, ...roomAgain(state, mode, fact)];
      const notice = {
        type: 'notify-rejection',
        hold,
        at,
        to: tell,
        subject,
        messageId,
        comment,
      } as const;
      return [notice, drop, ...roomAgain(state, mode, fact)];
    }
    case 'hold-discarded':
      return [{ type: 'drop-held', hold: fact.hold }, ...roomAgain(state, mode, fact)];
    case 'moderators-told': {
      const { holds, to, at } = fact;
      if (to.length === 0) return [];
      return [{ type: 'notify-moderators', holds, held: state.held, newest: state.holds, at, to }];
    }
    case 'moderators-notice-set':
      return [{ type: 'set-timer', due: fact.due }];
    case 'post-ordered':
      return [{ type: 'order-post', number: fact.number, order: fact.order }];
    case 'post-resent': {
      const { number, again, to } = fact;
      return [{ type: 'deliver-again', number, again, to, settings: state.settings }];
    }
    case 'owner-mail-parked':
      return [{ type: 'park-owner-mail', mail: fact.mail }];
    case 'owner-mail-forwarded':
      return [{ type: 'forward', mail: fact.mail, to: fact.to }];
    case 'owners-to-tell':
    case 'owners-told':
    case 'storm-seen':
      return troubleEffects(fact);
    default:
      return [];
  }
}

/** `full` unless there is room: a change of settings on a full list must not reopen it. */
function directory(state: State, wanted: 'active' | 'full' | 'retired'): Effect {
  const { address } = state;
  assert(address !== '', 'a list without an address has no facts but its creation');
  const { maxMessageBytes } = state.settings;
  const is = wanted === 'active' && isFull(state) ? 'full' : wanted;
  return { type: 'publish-directory', address, state: is, maxMessageBytes };
}

/** The end of a hold that makes room again opens the list; a retired one stays retired. */
function roomAgain(
  state: State,
  mode: Mode,
  { heldBytes }: { readonly heldBytes: number },
): readonly Effect[] {
  const wasFull = isFull(withHeld(state, 1, heldBytes));
  return wasFull && !isFull(state) && mode !== 'retired' ? [directory(state, 'active')] : [];
}
