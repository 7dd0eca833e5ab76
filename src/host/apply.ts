/**
 * The only fold. The turn, recovery, followers and rebuild all write rows through `applyEntry` and `finish`, so what was
 * live and what is rebuilt cannot differ (design §3).
 */

import { type DeliveryFact, isDeliveryFact, stepDelivery } from '../../actors/delivery.ts';
import type { Happened } from '../../actors/list/effects.ts';
import type { Verdict } from '../../actors/list/view.ts';
import { answerOf, step, takes } from '../../actors/list.ts';
import type { Effect, Fact } from '../../actors/protocol.ts';
import { assert } from '../assert.ts';
import { addressKey, domainOf } from '../mail/address.ts';
import type { Done, Draft, MemberRow, PostRow } from '../store/list-rows.ts';
import type { Entry, LedgerRecord } from './record.ts';

const DAY_MS = 86_400_000;
/** A command is known again for this long. */
export const SEEN_MS = 7 * DAY_MS;
/** Who left is remembered this long, so that a late bounce finds whose it was (design §3). */
export const LEFT_MS = 60 * DAY_MS;
/** Expired rows that one record deletes: more than it adds, so that they never pile up. */
const EXPIRED_PER_RECORD = 64;
const EXPIRED_PER_ENTRY = 4;

/** Folds one entry: steps the chart, writes rows, effects and `seen`. Throws a BugError for a fact that the chart would not take. */
export function applyEntry(draft: Draft, n: number, index: number, entry: Entry): void {
  let k = 0;
  for (const fact of entry.facts) {
    const effects = [...stepList(draft, fact), ...stepMember(draft, fact)];
    writeRows(draft, n, fact);
    for (const effect of effects) draft.put(['outbox', n, index, k++], effect);
  }
  if (k > 0) {
    const head = draft.head();
    draft.put(['head'], { ...head, waiting: head.waiting + k });
  }
  draft.put(['seen', entry.commandId], [n, index, answerOf(null, entry.facts)]);
  expire(draft, SEEN_MS, n, index, ['seen', entry.commandId]);
}

/** The list's own chart takes every fact but those of one member's mail. */
function stepList(draft: Draft, fact: Fact): readonly Effect[] {
  if (isDeliveryFact(fact)) return [];
  const before = draft.list();
  assert(takes(before.value, fact.type), `${before.value} does not take ${fact.type}`);
  const { row, effects } = step(before, happened(draft, fact));
  draft.put(['list'], row);
  return effects;
}

/** The mail of a hold is counted by what its row says: an old fact says nothing of it. */
function happened(draft: Draft, fact: Exclude<Fact, DeliveryFact>): Happened {
  switch (fact.type) {
    case 'hold-approved':
    case 'hold-rejected':
    case 'hold-discarded':
      return { ...fact, at: draft.at, heldBytes: draft.hold(fact.hold)?.post.bytes ?? 0 };
    default:
      return { ...fact, at: draft.at };
  }
}

/** The chart of a member's mail; who leaves without ever having been in trouble has none. */
function stepMember(draft: Draft, fact: Fact): readonly Effect[] {
  const isLeaving = fact.type === 'member-removed';
  if (!isDeliveryFact(fact) && !(isLeaving && draft.hasTrouble(fact.number))) return [];
  const { row, effects } = stepDelivery(draft.trouble(fact.number), { ...fact, at: draft.at });
  draft.put(['trouble', fact.number], isLeaving ? undefined : row);
  return effects;
}

/** Folds the rest of a record, once its entries are in: what of the outbox is done, what has expired, and the head. */
export function finish(
  draft: Draft,
  record: Omit<LedgerRecord, 'entries'> & { readonly entries: { readonly length: number } },
  stored: { readonly seq: number; readonly hash: string },
): void {
  if (record.done !== undefined) clearOutbox(draft, record.done);
  const limit = EXPIRED_PER_RECORD + EXPIRED_PER_ENTRY * record.entries.length;
  for (const [key, tail] of draft.range('expiry', [0], [draft.at], limit)) {
    draft.remove(tail as [string, ...(string | number)[]]);
    draft.remove(tailOf(key));
  }
  const { n, epoch } = record;
  const done = record.done ?? draft.head().done;
  draft.put(['head'], { ...draft.head(), n, epoch, at: draft.at, done, ...stored });
}

/** Folds a whole record as the ledger gives it back. */
export function apply(
  draft: Draft,
  record: LedgerRecord,
  stored: { readonly seq: number; readonly hash: string },
): void {
  record.entries.forEach((entry, index) => {
    applyEntry(draft, record.n, index, entry);
  });
  finish(draft, record, stored);
}

/** Deletes the rows before `done`; they were done. */
function clearOutbox(draft: Draft, done: Done): void {
  const { waiting } = draft.head();
  const gone = draft.range('outbox', [0], [done.n, done.index, done.k], waiting);
  for (const [key] of gone) draft.remove(tailOf(key));
  draft.put(['head'], { ...draft.head(), waiting: waiting - gone.length });
}

function tailOf(key: readonly (string | number)[]): [string, ...(string | number)[]] {
  const [, kind, ...rest] = key;
  return [String(kind), ...rest];
}

/** The row `tail` goes when the records' time has passed `ms` from now. `x` makes the entry's own key. */
function expire(
  draft: Draft,
  ms: number,
  n: number,
  x: number,
  tail: readonly [string, string | number],
): void {
  draft.put(['expiry', draft.at + ms, n, x, tail[0]], tail);
}

function writeRows(draft: Draft, n: number, fact: Fact): void {
  switch (fact.type) {
    case 'list-created':
      draft.put(['roles'], { owner: fact.owners, moderator: fact.moderators ?? [] });
      return;
    case 'members-added':
      fact.members.forEach(({ address, name }, i) => {
        draft.put(['member', fact.first + i], { address, name, at: draft.at });
        draft.put(['address', addressKey(address)], fact.first + i);
      });
      return;
    case 'member-removed':
      countOff(draft, fact.number, false);
      draft.put(['left', fact.number], draft.memberRow(fact.number));
      expire(draft, LEFT_MS, n, fact.number, ['left', fact.number]);
      draft.remove(['member', fact.number]);
      draft.remove(['address', addressKey(fact.address)]);
      return;
    case 'role-granted': {
      const roles = draft.rolesRow();
      draft.put(['roles'], { ...roles, [fact.role]: [...roles[fact.role], fact.address] });
      return;
    }
    case 'role-revoked': {
      const roles = draft.rolesRow();
      const gone = addressKey(fact.address);
      const left = roles[fact.role].filter((address) => addressKey(address) !== gone);
      draft.put(['roles'], { ...roles, [fact.role]: left });
      return;
    }
    case 'post-accepted': {
      draft.put(['post', fact.number], postRowOf(draft, fact));
      return;
    }
    case 'post-ordered':
      draft.put(['post', fact.number], { ...draft.postRow(fact.number), order: fact.order });
      return;
    case 'post-resent':
      draft.put(['post', fact.number], { ...draft.postRow(fact.number), resends: fact.again });
      return;
    case 'post-held': {
      const { hold, post, reasons } = fact;
      draft.put(['hold', hold], { hold, post, reasons, heldAt: draft.at });
      return;
    }
    case 'delivery-disabled':
    case 'delivery-enabled': {
      const { off: _, ...member } = assertFound(draft.memberRow(fact.number));
      const off = fact.type === 'delivery-disabled';
      countOff(draft, fact.number, off);
      draft.put(['member', fact.number], off ? { ...member, off } : member);
      return;
    }
    case 'list-repaired': {
      const { from, to, records, by } = fact;
      draft.put(['repair', n], { n, at: draft.at, from, to, records, by });
      return;
    }
    case 'storm-seen': {
      const { post } = fact.storm;
      const row = draft.postRow(post);
      if (row !== null) draft.put(['post', post], { ...row, storm: true });
      return;
    }
    case 'hold-approved':
      decided(draft, n, fact.hold, 'approved');
      return;
    case 'hold-rejected':
      decided(draft, n, fact.hold, 'rejected');
      return;
    case 'hold-discarded':
      decided(draft, n, fact.hold, 'discarded');
      return;
    default:
      return;
  }
}

function postRowOf(draft: Draft, fact: Extract<Fact, { type: 'post-accepted' }>): PostRow {
  const { counter, width, hold, post } = fact;
  const { id, subject, mail, smtputf8, trace } = post;
  const messageId = post.messageIdIsOurs ? post.messageId : '';
  const to = { counter, width, live: draft.state().live - draft.offCount() };
  const [author] = post.from;
  const by = author === undefined ? {} : { author: domainOf(author) };
  return { id, at: draft.at, ...to, ...by, subject, hold, mail, messageId, smtputf8, trace };
}

/** How many get no posts, when this member does from now on, or does not. */
function countOff(draft: Draft, number: number, off: boolean): void {
  const wasOff = draft.memberRow(number)?.off === true;
  if (off !== wasOff) draft.put(['off'], Math.max(0, draft.offCount() + (off ? 1 : -1)));
}

function assertFound(row: MemberRow | null): MemberRow {
  assert(row !== null, 'a fact about the mail of nobody');
  return row;
}

function decided(draft: Draft, n: number, hold: number, verdict: Verdict): void {
  draft.remove(['hold', hold]);
  draft.put(['verdict', hold], verdict);
  expire(draft, SEEN_MS, n, hold, ['verdict', hold]);
}
