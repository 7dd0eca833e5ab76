/**
 * The list actor: one mailing list.
 *
 *      new ──created──▶ open ──declared──▶ emergency     emergency: every post is held, whoever sent it
 *                        │ ▲                  │ │
 *                        │ └─────lifted───────┘ │
 *                        └──────▶ retired ◀─────┘        retired: takes no post and no member; keeps its history
 *
 * L1. A post is never lost: each one is accepted, held or discarded exactly once; a held one is later
 *     approved, rejected or discarded exactly once.
 * L2. A held post leaves the hold only by a moderator's word.
 * L3. At HELD_MAX held posts, or HELD_BYTES_MAX bytes of them, the directory says `full` and the edge answers 452.
 * L4. A member's number is never used again, and `nextMember` only grows.
 * L5. Moderators get at most one notice of holds in NOTICE_EVERY_MS.
 */
import { setup } from 'xstate';
import { unreachable } from '../src/assert.ts';
import { effectsOf, type Happened, withHeld } from './list/effects.ts';
import {
  decideAdd,
  decideGrant,
  decideRemove,
  decideRevoke,
  distinct,
  notAllowed,
  tooMany,
} from './list/membership.ts';
import { decideApprove, decideDiscard, decideKeep, decideReject } from './list/moderation.ts';
import { decideOwnerMail, decidePost, decideTellModerators } from './list/posting.ts';
import { decideOrder, decideResend } from './list/sending.ts';
import { changesOnly, checkSettings, DEFAULT_SETTINGS } from './list/settings.ts';
import { EMPTY, LIST_VERSION, type ListRow } from './list/state.ts';
import {
  decideSetDelivery,
  decideTellOwners,
  decideVerdict,
  troublesAfter,
} from './list/troubles.ts';
import { type Mode, mayManage, type State, type View } from './list/view.ts';
import type { Answer, Command, Effect, Fact, Refusal } from './protocol.ts';
import { transitionOf } from './transition.ts';

// ── Decide ────────────────────────────────────────────────────────────────

/** Policy. Pure: the same words over the same view always give the same facts. */
export function decide(view: View, command: Command): readonly Fact[] | Refusal {
  const mode = view.mode();
  if (mode === 'new' && command.type !== 'create' && !isMail(command))
    return { type: 'refusal', code: 'no-such-list', text: 'there is no such list' };
  if (mode === 'retired' && !isAllowedWhenRetired(command))
    return { type: 'refusal', code: 'retired', text: 'the list is retired' };
  switch (command.type) {
    case 'create':
      return decideCreate(view, command);
    case 'set':
      return decideSet(view, command);
    case 'declare-emergency':
      if (!mayManage(view, command.by)) return notAllowed('declare an emergency');
      return mode === 'emergency' ? [] : [{ type: 'emergency-declared', by: command.by }];
    case 'lift-emergency':
      if (!mayManage(view, command.by)) return notAllowed('lift an emergency');
      return mode === 'open' ? [] : [{ type: 'emergency-lifted', by: command.by }];
    case 'retire':
      if (!mayManage(view, command.by)) return notAllowed('retire the list');
      return mode === 'retired' ? [] : [{ type: 'list-retired', by: command.by }];
    case 'post':
      return decidePost(view, command.post);
    case 'owner-mail':
      return decideOwnerMail(view, command.mail);
    case 'add-members':
      return decideAdd(view, command.members, command.by);
    case 'remove-member':
      return decideRemove(view, command.who, command.by);
    case 'grant':
      return decideGrant(view, command.role, command.address, command.by);
    case 'revoke':
      return decideRevoke(view, command.role, command.address, command.by);
    case 'approve':
      return decideApprove(view, command.hold, command.by);
    case 'reject':
      return decideReject(view, command.hold, command.comment, command.by);
    case 'discard':
      return decideDiscard(view, command.hold, command.by);
    case 'keep-hold':
      return decideKeep(view, command.hold, command.tries);
    case 'order-post':
      return decideOrder(view, command.post, command.order, command.by);
    case 'resend':
      return decideResend(view, command.post, command.to, command.by);
    case 'tell-moderators':
      return decideTellModerators(view, command.due ?? view.at);
    case 'repair':
      // Where something is to be repaired the host asks `decideRepair`, with what it found.
      return { type: 'refusal', code: 'nothing-to-do', text: 'the list is not set aside' };
    case 'bounce-verdict':
    case 'bounce-hint':
    case 'bounce-storm':
      return decideVerdict(view, command);
    case 'set-delivery':
      return decideSetDelivery(view, command);
    case 'tell-owners':
      return decideTellOwners(view, command.due);
    default:
      return unreachable(command);
  }
}

const isMail = (command: Command): boolean =>
  command.type === 'post' || command.type === 'owner-mail';

const ALLOWED_WHEN_RETIRED: ReadonlySet<Command['type']> = new Set([
  ...([
    'order-post',
    'retire',
    'remove-member',
    'approve',
    'reject',
    'discard',
    'keep-hold',
    'tell-moderators',
  ] as const),
  ...(['bounce-verdict', 'bounce-hint', 'bounce-storm', 'tell-owners'] as const),
]);

/** A retired list still answers its mail, lets members go, lets moderators clear what is held, and its last posts be stopped. */
function isAllowedWhenRetired(command: Command): boolean {
  return isMail(command) || ALLOWED_WHEN_RETIRED.has(command.type);
}

function decideCreate(
  view: View,
  command: Extract<Command, { type: 'create' }>,
): readonly Fact[] | Refusal {
  if (!mayManage(view, command.by)) return notAllowed('create a list');
  if (view.mode() !== 'new') {
    return view.state().address === command.address
      ? []
      : { type: 'refusal', code: 'exists', text: 'this key belongs to another list' };
  }
  const owners = distinct(command.owners);
  const moderators = distinct(command.moderators ?? []);
  const wrong =
    checkSettings(command.settings) ?? tooMany('owner', owners) ?? tooMany('moderator', moderators);
  if (wrong !== null) return wrong;
  const settings = { ...DEFAULT_SETTINGS, ...command.settings };
  const roles = moderators.length === 0 ? { owners } : { owners, moderators };
  return [{ type: 'list-created', address: command.address, settings, ...roles, by: command.by }];
}

function decideSet(
  view: View,
  command: Extract<Command, { type: 'set' }>,
): readonly Fact[] | Refusal {
  if (!mayManage(view, command.by)) return notAllowed('change settings');
  const wrong = checkSettings(command.settings);
  if (wrong !== null) return wrong;
  const settings = changesOnly(view.state().settings, command.settings);
  if (Object.keys(settings).length === 0) return [];
  return [{ type: 'settings-changed', settings, by: command.by }];
}

/**
 * What the caller is told of a command that was not refused. It follows from the facts; the command is asked only
 * where there are none (then nothing was recorded, so nothing else could know).
 */
export function answerOf(command: Command | null, facts: readonly Fact[]): Answer {
  for (const fact of facts) {
    switch (fact.type) {
      case 'list-created':
        return { type: 'created' };
      case 'members-added':
        return {
          type: 'members-added',
          added: fact.members.length,
          already: fact.already,
          first: fact.first,
        };
      case 'member-removed':
        return { type: 'member-removed', number: fact.number, address: fact.address };
      case 'post-accepted':
        return { type: 'accepted', post: fact.number };
      case 'post-held':
        return { type: 'held', hold: fact.hold };
      case 'post-discarded':
        return { type: 'discarded', reasons: fact.reasons };
      case 'post-resent':
        return { type: 'resent', members: fact.to.length };
    }
  }
  if (command?.type === 'add-members')
    return { type: 'members-added', added: 0, already: command.members.length, first: 0 };
  return { type: 'done' };
}

// ── Machine ───────────────────────────────────────────────────────────────

/** What a fact changes in the state. Rows (members, holds, roles) are written by the host's fold. */
function evolve(state: State, fact: Happened): State {
  switch (fact.type) {
    case 'list-created': {
      // A fact of 0.1 lacks the settings that came later.
      const settings = { ...DEFAULT_SETTINGS, ...fact.settings };
      return { ...state, address: fact.address, settings, createdAt: fact.at };
    }
    case 'settings-changed':
      return { ...state, settings: { ...state.settings, ...fact.settings } };
    case 'members-added': {
      const many = fact.members.length;
      return { ...state, nextMember: state.nextMember + many, live: state.live + many };
    }
    case 'member-removed':
      return { ...state, live: state.live - 1 };
    case 'post-accepted':
      return { ...state, posts: fact.number };
    case 'post-held': {
      const { held, heldBytes } = withHeld(state, 1, fact.post.bytes);
      return { ...state, held, heldBytes, holds: fact.hold, untold: state.untold + 1 };
    }
    case 'hold-approved':
    case 'hold-rejected':
    case 'hold-discarded':
      return { ...state, ...withHeld(state, -1, -fact.heldBytes) };
    case 'moderators-told':
      return { ...state, untold: 0, toldAt: fact.at, noticeDue: null };
    case 'moderators-notice-set':
      return { ...state, noticeDue: fact.due };
    case 'list-repaired': {
      const { posts, nextMember, holds } = fact;
      return { ...state, posts, nextMember, holds };
    }
    case 'owners-told':
    case 'owners-to-tell':
      return { ...state, troubles: troublesAfter(state.troubles, fact) };
    default:
      return state;
  }
}

const chart = setup({
  types: { context: {} as State, events: {} as Happened },
  actions: {
    /** Data: the host writes it as rows of the outbox and performs it later. */
    cause: (_, _effects: readonly Effect[]) => {},
  },
});

/** Every taken fact changes the state and causes its effects; only the chart says where it may happen. */
const taken = (mode: Mode) => [
  chart.assign(({ context, event }) => evolve(context, event)),
  {
    type: 'cause' as const,
    params: ({ context, event }: { context: State; event: Happened }) =>
      effectsOf(context, mode, event),
  },
];

/** What may happen to a list that works, open or not. */
const working = (mode: Mode) => ({
  'settings-changed': { actions: taken(mode) },
  'list-retired': { target: 'retired', actions: taken(mode) },
  'members-added': { actions: taken(mode) },
  'member-removed': { actions: taken(mode) },
  'role-granted': { actions: taken(mode) },
  'role-revoked': { actions: taken(mode) },
  'post-accepted': { actions: taken(mode) },
  'post-held': { actions: taken(mode) },
  'hold-to-keep': { actions: taken(mode) },
  'hold-approved': { actions: taken(mode) },
  'hold-rejected': { actions: taken(mode) },
  'hold-discarded': { actions: taken(mode) },
  'moderators-told': { actions: taken(mode) },
  'moderators-notice-set': { actions: taken(mode) },
  'owner-mail-forwarded': { actions: taken(mode) },
  'owner-mail-discarded': { actions: taken(mode) },
  'owner-mail-parked': { actions: taken(mode) },
  'post-ordered': { actions: taken(mode) },
  'post-resent': { actions: taken(mode) },
  'storm-seen': { actions: taken(mode) },
  'owners-told': { actions: taken(mode) },
  'owners-to-tell': { actions: taken(mode) },
  'list-repaired': { actions: taken(mode) },
});

/** Law: which fact may follow which, what it changes, and what it causes. Flat; driven by facts only. */
export const machine = chart.createMachine({
  id: 'list',
  context: EMPTY,
  initial: 'new',
  states: {
    new: {
      on: {
        'list-created': { target: 'open', actions: taken('new') },
        'post-discarded': { actions: taken('new') },
        'owner-mail-discarded': { actions: taken('new') },
      },
    },
    open: {
      on: {
        ...working('open'),
        'emergency-declared': { target: 'emergency', actions: taken('open') },
      },
    },
    emergency: {
      on: {
        ...working('emergency'),
        'emergency-lifted': { target: 'open', actions: taken('emergency') },
      },
    },
    retired: {
      on: {
        'member-removed': { actions: taken('retired') },
        'post-discarded': { actions: taken('retired') },
        'hold-to-keep': { actions: taken('retired') },
        'hold-rejected': { actions: taken('retired') },
        'hold-discarded': { actions: taken('retired') },
        'moderators-told': { actions: taken('retired') },
        'owner-mail-discarded': { actions: taken('retired') },
        'post-ordered': { actions: taken('retired') },
        'owners-told': { actions: taken('retired') },
        'list-repaired': { actions: taken('retired') },
      },
    },
  },
});

// ── Effects ───────────────────────────────────────────────────────────────

/** True if the chart takes a fact of this type in this mode. */
export function takes(mode: Mode, type: Fact['type']): boolean {
  return (
    (machine.states[mode]?.config.on as Record<string, unknown> | undefined)?.[type] !== undefined
  );
}

const transition = transitionOf(machine);

/** One step of the chart: the next row, and the effects as data. The caller asserts `takes` first. */
export function step(row: ListRow, fact: Happened): { row: ListRow; effects: readonly Effect[] } {
  const snapshot = machine.resolveState({ value: row.value, context: row.context });
  const [next, actions] = transition(snapshot, fact);
  const effects = actions.flatMap((action) => (action.type === 'cause' ? action.params : []));
  const value = next.value as Mode;
  return { row: { version: LIST_VERSION, value, context: next.context }, effects };
}
