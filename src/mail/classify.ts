/**
 * What a recipient address means (features E1): a post, the owners, a command, a bounce.
 *
 * The edge asks at RCPT and the incoming runner asks again. A real list whose name ends in a robot
 * suffix wins over the robot of another. Case is ignored. Machine addresses count only on a domain
 * of ours.
 */
import { unreachable } from '../assert.ts';
import { type Address, domainOf, localPartOf, parseAddress } from './address.ts';
import type { MailKind } from './envelope.ts';
import type { ListKey } from './list-key.ts';
import { parseConfirmAddress, parseMachineAddress, verifyMachine } from './machine-address.ts';

/** A list as the directory knows it. */
export type KnownList = {
  readonly address: Address;
  readonly key: ListKey;
  readonly state: 'new' | 'active' | 'full' | 'retired';
  readonly maxMessageBytes: number;
};

/** What of the directory is asked. */
export type ListLookup = {
  find(address: Address): KnownList | null;
  byKey(key: ListKey): KnownList | null;
  keysByPrefix(prefix: string): readonly ListKey[];
};

export type ClassifyNeeds = {
  readonly lists: ListLookup;
  /** The secrets of machine addresses; all verify. */
  readonly secrets: readonly Uint8Array[];
  /** True for a domain that this site receives mail for, as A-labels. */
  isOurs(domain: string): boolean;
};

type Verb = 'request' | 'join' | 'leave' | 'confirm';

/**
 * `rest` is what stands after the `+` of a robot address, e.g. the token of `-confirm+token`; '' if
 * nothing.
 */
export type Meaning =
  | { readonly kind: 'post'; readonly list: KnownList }
  | { readonly kind: 'owner'; readonly list: KnownList }
  | {
      readonly kind: 'command';
      readonly list: KnownList;
      readonly verb: Verb;
      readonly rest: string;
    }
  /** `b+…`, or `-bounces`, which says neither member nor post (null). */
  | {
      readonly kind: 'bounce';
      readonly list: KnownList;
      readonly member: number | null;
      readonly post: number | null;
    }
  /** `u+…`: mail to it removes this member. */
  | {
      readonly kind: 'leave-token';
      readonly list: KnownList;
      readonly member: number;
      readonly post: number;
    }
  /** `c+…`: whose it is only the list's pending row knows. */
  | { readonly kind: 'confirm-token'; readonly token: string }
  /** The shape of a machine address of ours, but not made by us: 550 at RCPT, and counted. */
  | { readonly kind: 'wrong-mac' }
  | { readonly kind: 'unknown' };

const ROBOTS: Readonly<Record<string, 'owner' | 'bounces' | Verb>> = {
  owner: 'owner',
  bounces: 'bounces',
  request: 'request',
  join: 'join',
  subscribe: 'join',
  leave: 'leave',
  unsubscribe: 'leave',
  confirm: 'confirm',
};
const ROBOT = new RegExp(`^(.+)-(${Object.keys(ROBOTS).join('|')})$`);

/**
 * What mail to this address means. A list that is not in use is found too: its `state` is the
 * caller's to judge.
 */
export function classify(address: Address, needs: ClassifyNeeds): Meaning {
  const list = needs.lists.find(address);
  if (list !== null) return { kind: 'post', list };
  return machineMeaning(address, needs) ?? robotMeaning(address, needs) ?? { kind: 'unknown' };
}

/** The kind of mail, which picks its subject and consumer; null for what is refused. */
export function mailKindOf(meaning: Meaning): MailKind | null {
  switch (meaning.kind) {
    case 'post':
    case 'owner':
    case 'command':
    case 'bounce':
      return meaning.kind;
    case 'leave-token':
    case 'confirm-token':
      return 'command';
    case 'wrong-mac':
    case 'unknown':
      return null;
    default:
      return unreachable(meaning);
  }
}

/**
 * The names a list may have for mail to this address to reach it: the address itself, and the list
 * whose robot it may be. What is unknown is looked up by these at the leader before it is refused.
 */
export function listNamesOf(address: Address): readonly Address[] {
  const robot = robotOf(address);
  return robot === null ? [address] : [address, robot.list];
}

function machineMeaning(address: Address, needs: ClassifyNeeds): Meaning | null {
  if (!needs.isOurs(domainOf(address))) return null;
  const local = localPartOf(address);
  const token = parseConfirmAddress(local);
  if (token !== null) return { kind: 'confirm-token', token };
  const parsed = parseMachineAddress(local);
  if (parsed === null) return null;
  const key = verifyMachine(parsed, needs.lists.keysByPrefix(parsed.prefix), needs.secrets);
  const list = key === null ? null : needs.lists.byKey(key);
  if (list === null) return { kind: 'wrong-mac' };
  const { member, post } = parsed;
  return { kind: parsed.kind === 'b' ? 'bounce' : 'leave-token', list, member, post };
}

function robotMeaning(address: Address, needs: ClassifyNeeds): Meaning | null {
  const robot = robotOf(address);
  const list = robot === null ? null : needs.lists.find(robot.list);
  if (robot === null || list === null) return null;
  const { verb, rest } = robot;
  if (verb === 'owner') return { kind: 'owner', list };
  if (verb === 'bounces') return { kind: 'bounce', list, member: null, post: null };
  return { kind: 'command', list, verb, rest };
}

/** The list whose robot the address names, and which; null if it has not that form. */
function robotOf(
  address: Address,
): { list: Address; verb: 'owner' | 'bounces' | Verb; rest: string } | null {
  const local = localPartOf(address);
  const plus = local.indexOf('+');
  const name = (plus < 0 ? local : local.slice(0, plus)).toLowerCase();
  const match = ROBOT.exec(name);
  const verb = ROBOTS[match?.[2] ?? ''];
  const list = parseAddress(`${match?.[1] ?? ''}@${domainOf(address)}`);
  if (verb === undefined || list === null) return null;
  return { list, verb, rest: plus < 0 ? '' : local.slice(plus + 1) };
}
