/**
 * What a recipient is: asked by the edge at each RCPT, answered from the directory's copy in
 * memory.
 *
 * R1. Nobody is told "unknown" (550) because a copy lags: what the copy does not have is read
 *     at the leader first.
 * R2. What cannot be known now is 451: not ready, the leader away, too many unknown names at
 *     once. The MTA keeps the mail and comes again.
 * R3. Mail for domains that are not ours is refused (550 5.7.1): we relay for nobody.
 */
import { MailError } from '../errors.ts';
import { type Address, addressKey, domainOf, localPartOf } from '../mail/address.ts';
import {
  classify,
  type KnownList,
  type ListLookup,
  listNamesOf,
  type Meaning,
  mailKindOf,
} from '../mail/classify.ts';
import type { ListKey } from '../mail/list-key.ts';
import { parseMachineAddress } from '../mail/machine-address.ts';
import type { Clock } from '../world.ts';
import type { RcptAnswer } from './edge-transaction.ts';

export type ResolverNeeds = {
  /** The copy in memory. */
  readonly mirror: ListLookup;
  /** The truth, a request away. Throws MailError 451 4.3.0 when it cannot be asked. */
  readonly leader: {
    find(address: Address): Promise<KnownList | null>;
    keysByPrefix(prefix: string): Promise<readonly ListKey[]>;
  };
  /** The secrets of machine addresses, as they are now. */
  readonly secrets: () => readonly Uint8Array[];
  /** True for a domain that this site receives mail for, as A-labels. */
  readonly isOurs: (domain: string) => boolean;
  /** False until the copy is there, and while NATS is away. */
  readonly isReady: () => boolean;
  /**
   * The site's limit, bytes: holds for what is no post, as a DSN may hold a whole post and more.
   */
  readonly sizeMax: number;
  readonly clock: Pick<Clock, 'monotonic'>;
};

/**
 * How long a name that the leader did not know is not asked for again. A list made meanwhile is in
 * the copy.
 */
export const UNKNOWN_MS = 10_000;
/** Unknown names remembered; the oldest go first. */
const UNKNOWN_NAMES_MAX = 10_000;
/**
 * Unknown names asked for at the leader within a second; more are 451, so that a dictionary is no
 * load.
 */
export const LEADER_NAMES_PER_SECOND_MAX = 200;

/** Says what an address is: at once if the copy knows it. */
export function createResolver(
  needs: ResolverNeeds,
): (address: Address) => RcptAnswer | Promise<RcptAnswer> {
  const unknown = createUnknownNames(needs.clock);
  const meaningOf = (address: Address, lists: ListLookup): Meaning =>
    classify(address, { lists, secrets: needs.secrets(), isOurs: needs.isOurs });

  async function askLeader(address: Address, meaning: Meaning): Promise<RcptAnswer> {
    if (meaning.kind === 'wrong-mac' && (await isPrefixNews(address, needs))) {
      return refuse(notNow());
    }
    const names = meaning.kind === 'wrong-mac' ? [address] : listNamesOf(address);
    const found = await Promise.all(names.map((name) => needs.leader.find(name)));
    const answer = judge(meaningOf(address, withLists(needs.mirror, found)), needs.sizeMax);
    if ('refuse' in answer && answer.refuse.status === '5.1.1') unknown.add(address, answer);
    return answer;
  }

  return (address) => {
    if (!needs.isReady()) return refuse(notNow());
    const meaning = meaningOf(address, needs.mirror);
    if (meaning.kind !== 'unknown' && meaning.kind !== 'wrong-mac') {
      return judge(meaning, needs.sizeMax);
    }
    if (!needs.isOurs(domainOf(address))) return refuse(notOurs());
    const before = unknown.find(address);
    if (before !== null) return before;
    return unknown.mayAsk() ? askLeader(address, meaning) : refuse(notNow());
  };
}

/**
 * A machine address of a list so new that the copy has not its key yet: then the MAC says nothing
 * so far.
 */
async function isPrefixNews(address: Address, needs: ResolverNeeds): Promise<boolean> {
  const prefix = parseMachineAddress(localPartOf(address))?.prefix ?? '';
  const here = needs.mirror.keysByPrefix(prefix);
  const there = await needs.leader.keysByPrefix(prefix);
  return there.some((key) => !here.includes(key));
}

/** The copy, and what the leader has just said. */
function withLists(mirror: ListLookup, found: readonly (KnownList | null)[]): ListLookup {
  const lists = new Map<string, KnownList>();
  for (const list of found) if (list !== null) lists.set(addressKey(list.address), list);
  return {
    find: (address) => mirror.find(address) ?? lists.get(addressKey(address)) ?? null,
    byKey: (key) => mirror.byKey(key),
    keysByPrefix: (prefix) => mirror.keysByPrefix(prefix),
  };
}

/** A list that takes no posts now still takes bounces, commands and mail to its owners. */
function judge(meaning: Meaning, sizeMax: number): RcptAnswer {
  const kind = mailKindOf(meaning);
  if (meaning.kind === 'wrong-mac') return { ...refuse(noSuch()), isWrongMac: true };
  if (kind === null || meaning.kind === 'unknown') return refuse(noSuch());
  if (meaning.kind === 'confirm-token') return { kind, maxMessageBytes: sizeMax };
  const { state, maxMessageBytes } = meaning.list;
  if (state === 'new') return refuse(notNow());
  if (state === 'retired') return refuse(new MailError(550, '5.1.1', 'The list is no longer here'));
  if (kind !== 'post') return { kind, maxMessageBytes: sizeMax };
  if (state === 'full') {
    return refuse(new MailError(452, '4.3.1', 'The list is full, try again later'));
  }
  return { kind, maxMessageBytes };
}

// ── Names nobody knows ────────────────────────────────────────────────────

type UnknownNames = {
  /** What was answered to this name a moment ago, or null. */
  find(address: Address): RcptAnswer | null;
  add(address: Address, answer: RcptAnswer): void;
  /** True if the leader may be asked about one more name now; counts it. */
  mayAsk(): boolean;
};

function createUnknownNames(clock: Pick<Clock, 'monotonic'>): UnknownNames {
  const names = new Map<string, { readonly until: number; readonly answer: RcptAnswer }>();
  let second = -1;
  let asked = 0;
  return {
    find(address) {
      const known = names.get(addressKey(address));
      return known !== undefined && clock.monotonic() < known.until ? known.answer : null;
    },
    add(address, answer) {
      names.delete(addressKey(address)); // So that the first in the map is always the oldest.
      names.set(addressKey(address), { until: clock.monotonic() + UNKNOWN_MS, answer });
      if (names.size <= UNKNOWN_NAMES_MAX) return;
      const [oldest] = names.keys();
      if (oldest !== undefined) names.delete(oldest);
    },
    mayAsk() {
      const now = Math.floor(clock.monotonic() / 1_000);
      if (now !== second) asked = 0;
      second = now;
      return asked++ < LEADER_NAMES_PER_SECOND_MAX;
    },
  };
}

// ── Refusals ──────────────────────────────────────────────────────────────

function refuse(error: MailError): { readonly refuse: MailError } {
  return { refuse: error };
}

function noSuch(): MailError {
  return new MailError(550, '5.1.1', 'No such list here');
}

function notOurs(): MailError {
  return new MailError(550, '5.7.1', 'We do not relay mail');
}

function notNow(): MailError {
  return new MailError(451, '4.3.0', 'Not ready, try again later');
}
