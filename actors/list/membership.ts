/** Membership: who joins, who leaves, who owns and who moderates. */
import type { Address } from '../../src/mail/address.ts';
import { addressKey } from '../../src/mail/address.ts';
import {
  ADD_MEMBERS_MAX,
  type By,
  type Fact,
  type NewMember,
  type Refusal,
  type Role,
} from '../protocol.ts';
import { mayManage, type View } from './view.ts';

/** Owners or moderators of one list; each gets every notice, so there is a bound. */
export const ROLE_MAX = 100;

export function decideAdd(
  view: View,
  members: readonly NewMember[],
  by: By,
): readonly Fact[] | Refusal {
  if (!mayManage(view, by)) return notAllowed('add members');
  if (members.length > ADD_MEMBERS_MAX)
    return { type: 'refusal', code: 'too-many', text: `at most ${ADD_MEMBERS_MAX} at once` };
  const fresh = new Map<string, NewMember>();
  for (const member of members) {
    const key = addressKey(member.address);
    if (view.standing(member.address).member === null && !fresh.has(key)) fresh.set(key, member);
  }
  if (fresh.size === 0) return [];
  const first = view.state().nextMember;
  const already = members.length - fresh.size;
  return [{ type: 'members-added', first, members: [...fresh.values()], already, by }];
}

export function decideRemove(
  view: View,
  who: { readonly address: Address } | { readonly number: number },
  by: By,
): readonly Fact[] | Refusal {
  const number = 'number' in who ? who.number : view.standing(who.address).member;
  if (!mayRemove(view, number, by)) return notAllowed('remove this member');
  const address = number === null ? null : view.member(number);
  if (number === null || address === null) {
    // A link may be followed twice; an operator who mistyped an address wants to know.
    if (by.kind === 'token') return [];
    return { type: 'refusal', code: 'not-a-member', text: 'that address is not a member' };
  }
  return [{ type: 'member-removed', number, address, by }];
}

/** A token speaks for one member only; a person for themselves and, as an owner, for anyone. */
function mayRemove(view: View, number: number | null, by: By): boolean {
  if (by.kind === 'token') return by.member === number;
  if (by.kind === 'person' && number !== null && view.standing(by.address).member === number)
    return true;
  return mayManage(view, by);
}

export function decideGrant(
  view: View,
  role: Role,
  address: Address,
  by: By,
): readonly Fact[] | Refusal {
  if (!mayManage(view, by)) return notAllowed(`name a ${role}`);
  if (has(view, role, address)) return [];
  return (
    tooMany(role, [...view.roles(role), address]) ?? [{ type: 'role-granted', role, address, by }]
  );
}

export function tooMany(role: Role, addresses: readonly Address[]): Refusal | null {
  if (addresses.length <= ROLE_MAX) return null;
  return { type: 'refusal', code: 'too-many', text: `a list has at most ${ROLE_MAX} ${role}s` };
}

/** Each address once, as it was first written. */
export function distinct(addresses: readonly Address[]): readonly Address[] {
  const first = new Map<string, Address>();
  for (const address of addresses) {
    if (!first.has(addressKey(address))) first.set(addressKey(address), address);
  }
  return [...first.values()];
}

export function decideRevoke(
  view: View,
  role: Role,
  address: Address,
  by: By,
): readonly Fact[] | Refusal {
  if (!mayManage(view, by)) return notAllowed(`dismiss a ${role}`);
  return has(view, role, address) ? [{ type: 'role-revoked', role, address, by }] : [];
}

function has(view: View, role: Role, address: Address): boolean {
  const standing = view.standing(address);
  return role === 'owner' ? standing.isOwner : standing.isModerator;
}

export function notAllowed(what: string): Refusal {
  return { type: 'refusal', code: 'not-allowed', text: `you may not ${what}` };
}
