/**
 * The protocol of the list actor: what may be asked of it, what may have happened to it, what it
 * answers and what it causes. The whole vocabulary on one page; `list.ts` gives it meaning.
 */
import type { Address } from '../src/mail/address.ts';
import type { Mode } from '../src/mail/chunk.ts';
import type { PostSummary } from '../src/mail/summary.ts';
import type { BounceQuestion } from './bounces/report.ts';
import type { Scoring } from './bounces/scoring.ts';
import type { DeliveryCommand, DeliveryEffect, DeliveryFact } from './delivery.ts';
import type { ChainQuestion, Repair, RepairCommand, RepairFact } from './list/repairing.ts';
import type { TroubleEffect, TroubleFact } from './list/troubles.ts';
import type { PostCommand, PostEffect, PostFact, PostQuestion } from './protocol-posts.ts';

export type { PostSummary } from '../src/mail/summary.ts';

// ── What commands and facts are made of ───────────────────────────────────

/** Who asks. A `token` is one of our own MACed addresses or links: it speaks for that member only. */
export type By =
  | { readonly kind: 'operator'; readonly name: string }
  | { readonly kind: 'person'; readonly address: Address }
  | { readonly kind: 'token'; readonly member: number }
  | { readonly kind: 'list' };

export type Role = 'owner' | 'moderator';

/** Who may post without being held. `closed`: nobody (all are held); `members`: members, owners and moderators; `anyone`. */
export type Posting = 'closed' | 'members' | 'anyone';

/** Every setting that can be changed with `list set`. */
export type Settings = {
  readonly displayName: string;
  readonly description: string;
  readonly posting: Posting;
  readonly mode: Mode;
  readonly subjectPrefix: string;
  readonly footer: string;
  /** The largest post, bytes as received. Larger is refused at SMTP (552). */
  readonly maxMessageBytes: number;
  /** What bounces count for, when a member is probed, and how often warned before removal. */
  readonly bounceScoring: Scoring;
  readonly bounceThreshold: number;
  readonly bounceWarnings: number;
  readonly bounceWarningDays: number;
  /** What owners hear of members whom bounces disable and remove. */
  readonly bounceNotices: 'none' | 'removals' | 'all';
  /** Probes members whose address another list found dead, and tells other lists of its own. */
  readonly bounceSuspects: boolean;
};

/** Why a post was held or discarded; told to moderators in these words. */
export type Reason =
  | 'retired'
  | 'not-a-member'
  | 'list-closed'
  | 'emergency'
  | 'no-sender'
  | 'too-large'
  | 'suspicious-mime';

/** A hold's id: counted from 1 on its list. */
export type HoldId = number;

export type NewMember = { readonly address: Address; readonly name: string };

// ── Commands: imperative, may be refused ──────────────────────────────────

export type Command =
  | {
      readonly type: 'create';
      readonly address: Address;
      readonly settings: Partial<Settings>;
      readonly owners: readonly Address[];
      readonly moderators?: readonly Address[];
      readonly by: By;
    }
  | { readonly type: 'set'; readonly settings: Partial<Settings>; readonly by: By }
  | { readonly type: 'declare-emergency'; readonly by: By }
  | { readonly type: 'lift-emergency'; readonly by: By }
  | { readonly type: 'retire'; readonly by: By }
  | { readonly type: 'post'; readonly post: PostSummary }
  | { readonly type: 'owner-mail'; readonly mail: PostSummary }
  /** At most 1,000 at once; those who are members already are counted, not refused. */
  | { readonly type: 'add-members'; readonly members: readonly NewMember[]; readonly by: By }
  | {
      readonly type: 'remove-member';
      readonly who: { readonly address: Address } | { readonly number: number };
      readonly by: By;
    }
  | { readonly type: 'grant'; readonly role: Role; readonly address: Address; readonly by: By }
  | { readonly type: 'revoke'; readonly role: Role; readonly address: Address; readonly by: By }
  | { readonly type: 'approve'; readonly hold: HoldId; readonly by: By }
  | { readonly type: 'reject'; readonly hold: HoldId; readonly comment: string; readonly by: By }
  | { readonly type: 'discard'; readonly hold: HoldId; readonly by: By }
  | PostCommand
  /**
   * A timer: tell the moderators of the holds that came since the last notice. `due` is the time it was set for: it has come by
   * the clock that fired it, even if the list's is behind.
   */
  | { readonly type: 'tell-moderators'; readonly due?: number }
  /** A timer: HELD had no room for the mail of this hold, `tries` times by now; it may have some again. */
  | { readonly type: 'keep-hold'; readonly hold: HoldId; readonly tries: number }
  | RepairCommand
  | DeliveryCommand;

/** The most members one `add-members` may carry; a bulk command becomes one fact (design §3). */
export const ADD_MEMBERS_MAX = 1_000;
/** The most members one `resend` may name. */
export const RESEND_MAX = 10_000;

// ── Facts: past tense, kept for ever, never refused. Shapes only grow. ─────

export type Fact =
  | {
      readonly type: 'list-created';
      readonly address: Address;
      readonly settings: Settings;
      readonly owners: readonly Address[];
      /** Absent: none. */
      readonly moderators?: readonly Address[];
      readonly by: By;
    }
  | { readonly type: 'settings-changed'; readonly settings: Partial<Settings>; readonly by: By }
  | { readonly type: 'emergency-declared'; readonly by: By }
  | { readonly type: 'emergency-lifted'; readonly by: By }
  | { readonly type: 'list-retired'; readonly by: By }
  /** Numbers are `first`, `first + 1`, … in order. */
  | {
      readonly type: 'members-added';
      readonly first: number;
      readonly members: readonly NewMember[];
      readonly already: number;
      readonly by: By;
    }
  | {
      readonly type: 'member-removed';
      readonly number: number;
      readonly address: Address;
      readonly by: By;
    }
  | {
      readonly type: 'role-granted';
      readonly role: Role;
      readonly address: Address;
      readonly by: By;
    }
  | {
      readonly type: 'role-revoked';
      readonly role: Role;
      readonly address: Address;
      readonly by: By;
    }
  /** Goes to the members whose number is below `counter`, in chunks of `width` numbers. `hold`: it was held until now. */
  | {
      readonly type: 'post-accepted';
      readonly number: number;
      readonly post: PostSummary;
      readonly counter: number;
      readonly width: number;
      readonly hold: HoldId | null;
    }
  | {
      readonly type: 'post-held';
      readonly hold: HoldId;
      readonly post: PostSummary;
      readonly reasons: readonly Reason[];
    }
  | {
      readonly type: 'post-discarded';
      readonly post: PostSummary;
      readonly reasons: readonly Reason[];
    }
  /** Its mail is not yet in HELD, which was full `tries` times. */
  | {
      readonly type: 'hold-to-keep';
      readonly hold: HoldId;
      readonly post: PostSummary;
      readonly tries: number;
    }
  | { readonly type: 'hold-approved'; readonly hold: HoldId; readonly by: By }
  /** `tell`: who is told, or null where nobody may be (RFC 3834). */
  | {
      readonly type: 'hold-rejected';
      readonly hold: HoldId;
      readonly comment: string;
      readonly subject: string;
      readonly messageId: string;
      readonly tell: Address | null;
      readonly by: By;
    }
  | { readonly type: 'hold-discarded'; readonly hold: HoldId; readonly by: By }
  | PostFact
  /** A notice of `holds` held posts goes to moderators (or owners, where there are none). */
  | { readonly type: 'moderators-told'; readonly holds: number; readonly to: readonly Address[] }
  /** The next notice is due at this time. */
  | { readonly type: 'moderators-notice-set'; readonly due: number }
  | {
      readonly type: 'owner-mail-forwarded';
      readonly mail: PostSummary;
      readonly to: readonly Address[];
    }
  | { readonly type: 'owner-mail-discarded'; readonly mail: PostSummary }
  /** The list has no owner. */
  | { readonly type: 'owner-mail-parked'; readonly mail: PostSummary }
  | RepairFact
  | DeliveryFact
  | TroubleFact;

// ── Answers ───────────────────────────────────────────────────────────────

/** What an accepted command did; kept in `seen`, so it is small and follows from the facts alone. */
export type Answer =
  | { readonly type: 'created' }
  | { readonly type: 'done' }
  | {
      readonly type: 'members-added';
      readonly added: number;
      readonly already: number;
      readonly first: number;
    }
  | { readonly type: 'member-removed'; readonly number: number; readonly address: Address }
  | { readonly type: 'accepted'; readonly post: number }
  | { readonly type: 'held'; readonly hold: HoldId }
  | { readonly type: 'discarded'; readonly reasons: readonly Reason[] }
  | { readonly type: 'resent'; readonly members: number };

/** Why a command was refused. `code` is for programs, `text` for people. */
export type Refusal = {
  readonly type: 'refusal';
  readonly code:
    | 'no-such-list'
    | 'exists'
    | 'retired'
    | 'not-allowed'
    | 'not-a-member'
    | 'no-such-hold'
    | 'no-such-post'
    | 'already-decided'
    | 'mail-gone'
    | 'bad-setting'
    | 'too-many'
    | 'nothing-to-do';
  readonly text: string;
};

// ── Questions: read-only, same way as commands, change nothing ─────────────

export type Question =
  | { readonly ask: 'list' }
  | { readonly ask: 'inspect'; readonly level?: InspectLevel }
  | ChainQuestion
  | {
      readonly ask: 'roster';
      readonly role: 'member' | Role;
      readonly after: number;
      readonly limit: number;
    }
  | { readonly ask: 'holds'; readonly after: HoldId; readonly limit: number }
  | { readonly ask: 'hold'; readonly hold: HoldId }
  | PostQuestion
  | BounceQuestion;

export type ListView = {
  readonly address: Address;
  readonly key: string;
  readonly state: 'open' | 'emergency' | 'retired';
  readonly settings: Settings;
  readonly members: number;
  readonly posts: number;
  readonly held: number;
  readonly owners: readonly Address[];
  readonly moderators: readonly Address[];
  readonly createdAt: number;
};

export type RosterPage = {
  readonly members: readonly {
    readonly number: number;
    readonly address: Address;
    readonly name: string;
    readonly joinedAt: number;
  }[];
  /** Pass as `after` for the next page; null at the end. */
  readonly next: number | null;
};

export type HeldPost = {
  readonly hold: HoldId;
  readonly post: PostSummary;
  readonly reasons: readonly Reason[];
  readonly heldAt: number;
};
export type HoldsPage = { readonly holds: readonly HeldPost[]; readonly next: HoldId | null };

/**
 * How sure an inspection is to be: what the owner has (`fast`), compared with the ledger (`confirmed`), or after an empty record that
 * only the true owner can append (`barrier`).
 */
export type InspectLevel = 'fast' | 'confirmed' | 'barrier';

/** What `troupe.inspect.list.<address>` answers. */
export type ListInspection = ListView & {
  readonly node: string;
  readonly slot: number;
  readonly epoch: number;
  /** Stream sequence and number of the list's last record. */
  readonly seq: number;
  readonly n: number;
  readonly asOf: number;
  readonly leaseMsLeft: number | null;
  readonly level: InspectLevel;
  /**
   * How far the rows are behind: at level `fast` 1 while a record is being appended or folded; else the sequences that the ledger's last
   * record of the list is ahead.
   */
  readonly lag: number;
  readonly nextMember: number;
  readonly outbox: {
    readonly waiting: number;
    readonly failing: string | null;
    readonly oldest: { readonly n: number; readonly type: string } | null;
  };
  /** Its outbox is so far behind that it takes no turns. */
  readonly blocked: boolean;
  /** Why its ledger does not hold together, if it does not: it takes no turns until it is repaired. */
  readonly quarantined: string | null;
  /** What was left out of its ledger, oldest first. */
  readonly repairs: readonly Repair[];
  /** Commands in hand, not yet decided. */
  readonly waiting: number;
};

// ── Effects: what a fact causes outside the actor ─────────────────────────

/** Each is a row in the outbox until done, and may be done twice with the same ids. */
export type Effect =
  /** Makes the directory say what the list now is. */
  | {
      readonly type: 'publish-directory';
      readonly address: Address;
      readonly state: 'active' | 'full' | 'retired';
      readonly maxMessageBytes: number;
    }
  | {
      readonly type: 'deliver';
      readonly number: number;
      readonly counter: number;
      readonly width: number;
      readonly hold: HoldId | null;
      readonly post: PostSummary;
      readonly settings: Settings;
    }
  | {
      readonly type: 'archive';
      readonly number: number;
      readonly hold: HoldId | null;
      readonly post: PostSummary;
    }
  /** Copies the raw mail of a held post to HELD. `tries`: how often HELD had no room for it; absent: never. */
  | {
      readonly type: 'keep-held';
      readonly hold: HoldId;
      readonly post: PostSummary;
      readonly tries?: number;
    }
  | { readonly type: 'drop-held'; readonly hold: HoldId }
  | {
      readonly type: 'notify-moderators';
      /** New since the last notice, and held in all. */
      readonly holds: number;
      readonly held: number;
      /** The newest of them: makes the notice's ids. */
      readonly newest: HoldId;
      /** When it was decided, ms. */
      readonly at: number;
      readonly to: readonly Address[];
    }
  | {
      readonly type: 'notify-rejection';
      readonly hold: HoldId;
      readonly at: number;
      readonly to: Address;
      readonly subject: string;
      readonly messageId: string;
      readonly comment: string;
    }
  | { readonly type: 'set-timer'; readonly due: number }
  | PostEffect
  | DeliveryEffect
  | TroubleEffect
  /** Sets the mail aside whole, to be replayed when there is an owner. */
  | { readonly type: 'park-owner-mail'; readonly mail: PostSummary }
  | { readonly type: 'forward'; readonly mail: PostSummary; readonly to: readonly Address[] };
