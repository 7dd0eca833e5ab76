/** What `decide` may read: the list's rows as they stand within this turn. Nothing else; nothing waits. */
import { unreachable } from '../../src/assert.ts';
import type { Address } from '../../src/mail/address.ts';
import type { PostOrder } from '../../src/mail/chunk.ts';
import type { DeliveryRow } from '../delivery.ts';
import type { By, HeldPost, HoldId, Role, Settings } from '../protocol.ts';

/** A list's mode, as an operator would name it; `new` is before `list-created`. */
export type Mode = 'new' | 'open' | 'emergency' | 'retired';

/** Plain JSON, and small. What grows with members or posts is rows. */
export type State = {
  readonly address: Address | '';
  readonly createdAt: number;
  readonly settings: Settings;
  /** Posts accepted so far: the last post's number. */
  readonly posts: number;
  /** The number that the next member gets; it only grows. */
  readonly nextMember: number;
  /** Members now. */
  readonly live: number;
  /** Posts held now, and ever. */
  readonly held: number;
  readonly holds: HoldId;
  /** What the mails of those held now have together. */
  readonly heldBytes: number;
  /** Holds that no notice has told of, when the last notice went, and when the next is due. */
  readonly untold: number;
  readonly toldAt: number;
  readonly noticeDue: number | null;
  /** What owners have not heard of bounces, when they last did, and when they next will. */
  readonly troubles: {
    readonly disabled: number;
    readonly removed: number;
    readonly toldAt: number;
    readonly due: number | null;
  };
};

/** What an address is to the list. */
export type Standing = {
  readonly member: number | null;
  readonly isOwner: boolean;
  readonly isModerator: boolean;
};

/** What was decided about a hold, kept for a week so that deciding twice is no error. */
export type Verdict = 'approved' | 'rejected' | 'discarded';

/** A post that was accepted: who it went to, and what was said about it since. */
export type SentPost = {
  readonly counter: number;
  readonly order: PostOrder;
  /** How often it was sent again to some. */
  readonly resends: number;
};

export type View = {
  /** The time of the turn, ms since the epoch; never before an earlier turn's. */
  readonly at: number;
  mode(): Mode;
  state(): State;
  standing(of: Address): Standing;
  /** A live member's address. */
  member(number: number): Address | null;
  roles(role: Role): readonly Address[];
  hold(id: HoldId): HeldPost | null;
  verdict(id: HoldId): Verdict | null;
  post(number: number): SentPost | null;
  /** How the member's mail fares. */
  trouble(number: number): DeliveryRow;
  /** True if the post is known as the beginning of a bounce storm. */
  isStorm(post: number): boolean;
};

/** Operators and owners manage a list; a person's right is looked up here, never trusted from outside. */
export function mayManage(view: View, by: By): boolean {
  switch (by.kind) {
    case 'operator':
    case 'list':
      return true;
    case 'person':
      return view.standing(by.address).isOwner;
    case 'token':
      return false;
    default:
      return unreachable(by);
  }
}

/** Moderators decide about held posts; so do those who manage the list. */
export function mayModerate(view: View, by: By): boolean {
  return mayManage(view, by) || (by.kind === 'person' && view.standing(by.address).isModerator);
}
