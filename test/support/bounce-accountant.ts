/**
 * The accountant of bounces: after a crash test, was any DSN lost that was answered 250, and did any
 * count twice, or for somebody whose mail did not come back?
 *
 * It knows nothing of the program: it reads the client's journal of DSNs, the sink's log (whose copy
 * went out with which return path), the records of TROUPE_LEDGER and TROUPE_BOUNCES as a plain
 * consumer gave them, and what the operator's command line says of each list.
 *
 *   lost      a DSN for a copy that the sink has, answered 250 and not in BOUNCES; an event in
 *             BOUNCES that the scores or the day's counts do not have
 *   double    a (post, member) that the scores or the day's counts have more than once
 *   wrong     a forged DSN that counts; an event that nothing explains; a true return path that was
 *             refused; a member whose mail was stopped, though nobody's probe came back
 *
 * A member who has left counts no more from then on: the list's own word stands in BOUNCES, so what
 * counts is a matter of the order there.
 */
import { type JournalLine, messageIdOf } from './journal.ts';
import type { SinkLine } from './sink-process.ts';

type Message = { readonly subject: string; readonly data: Uint8Array };

/** What `troupe bounces ls` and `troupe bounces report` say of a list with `--json`. */
export type BouncesOf = {
  readonly list: string;
  readonly members: readonly {
    readonly number: number;
    readonly address: string;
    readonly bounces: number;
    readonly mail: string;
  }[];
  readonly days: readonly { readonly bounces: number; readonly complaints: number }[];
  readonly posts: readonly {
    readonly post: number;
    readonly reasons: Readonly<Record<string, { readonly count: number }>>;
  }[];
};

export type BounceBooks = {
  /** Of the DSNs: `list` is the return path each was sent to. */
  readonly journal: readonly JournalLine[];
  readonly sink: readonly SinkLine[];
  /** All of TROUPE_LEDGER and of TROUPE_BOUNCES, in the order of their sequences. */
  readonly ledger: readonly Message[];
  readonly bounces: readonly Message[];
  readonly said: readonly BouncesOf[];
};

export type BounceAccount = {
  /** Copies whose DSN was answered 250, however often it was sent. */
  readonly bounced: number;
  /** DSNs that were made up: refused, or answered 250. */
  readonly forged: number;
  readonly lost: readonly string[];
  readonly double: readonly string[];
  readonly wrong: readonly string[];
};

/** Numbers from here on are probes, and count in no score. */
const PROBES_FROM = 2 ** 29;

/** Settles the books; the time it takes grows with the copies. */
export function settleBounces(books: BounceBooks): BounceAccount {
  const lists = listsIn(books.ledger);
  const account: Findings = { lost: [], double: [], wrong: [] };
  const dsns = readJournal(books, lists, account.wrong);
  const counted = new Map(
    [...lists.values()].map((list) => [list, readEvents(books, list, dsns, account.wrong)]),
  );
  for (const { list, name } of dsns.acked.values()) {
    if (counted.get(list)?.seen.has(name) !== true) {
      account.lost.push(`${list.address} ${name}: 250, and no event`);
    }
  }
  for (const [list, events] of counted) {
    const said = books.said.find((one) => one.list === list.address);
    if (said === undefined) account.lost.push(`${list.address}: nothing is said of its bounces`);
    else compare(said, list, events, account);
  }
  return { bounced: dsns.acked.size, forged: dsns.forged, ...account };
}

// ── The ledger ────────────────────────────────────────────────────────────

type List = {
  readonly whose: string;
  address: string;
  /** Numbers by address: who leaves and comes again has two. */
  readonly numbers: Map<string, number[]>;
  /** Addresses by number, of those who are members still. */
  readonly members: Map<number, string>;
  /** By Message-ID. */
  readonly posts: Map<string, number>;
  /** Whose mail was stopped, or who was removed, by the list itself. */
  readonly punished: string[];
};

type Fact = {
  readonly type: string;
  readonly address?: string;
  readonly first?: number;
  readonly number?: number;
  readonly members?: readonly { readonly address: string }[];
  readonly post?: { readonly messageId: string };
  readonly by?: { readonly kind: string };
};

/** By what a list's subjects end with. */
function listsIn(ledger: readonly Message[]): Map<string, List> {
  const lists = new Map<string, List>();
  for (const { subject, data } of ledger) {
    const whose = whoseOf(subject);
    if (whose === 'owner') continue;
    const fresh = { numbers: new Map(), members: new Map(), posts: new Map(), punished: [] };
    const list: List = lists.get(whose) ?? { whose, address: '', ...fresh };
    lists.set(whose, list);
    const record = JSON.parse(Buffer.from(data).toString()) as {
      readonly entries: readonly { readonly facts: readonly Fact[] }[];
    };
    for (const { facts } of record.entries) for (const fact of facts) readFact(fact, list);
  }
  return lists;
}

const whoseOf = (subject: string): string => subject.slice(subject.lastIndexOf('.') + 1);

function readFact(fact: Fact, list: List): void {
  const { type, address = '', number = 0, first = 0 } = fact;
  const isByList = fact.by?.kind === 'list';
  if (type === 'list-created') list.address = address;
  if (type === 'members-added') {
    fact.members?.forEach((member, i) => {
      list.members.set(first + i, member.address);
      const before = list.numbers.get(member.address) ?? [];
      list.numbers.set(member.address, [...before, first + i]);
    });
  }
  if (type === 'member-removed') list.members.delete(number);
  if (type === 'post-accepted') list.posts.set(fact.post?.messageId ?? '', number);
  if (isByList && (type === 'member-removed' || type === 'delivery-disabled')) {
    list.punished.push(`${address}: ${type} by the list`);
  }
}

// ── The journal ───────────────────────────────────────────────────────────

/** One copy that came back: `name` is its post's number and its member's. */
type Bounced = { readonly list: List; readonly name: string };
type Dsns = {
  /** By return path: those that were answered 250. */
  readonly acked: ReadonlyMap<string, Bounced>;
  /** Those that were sent at all: by list and name. */
  readonly sent: ReadonlySet<string>;
  readonly forged: number;
};

const nameOf = (post: number, member: number): string => `post ${post} member ${member}`;

function readJournal(books: BounceBooks, lists: Map<string, List>, wrong: string[]): Dsns {
  const copies = new Map(books.sink.map((line) => [line.sender, line]));
  const acked = new Map<string, Bounced>();
  const sent = new Set<string>();
  const forged = new Set<string>();
  for (const { kind, list: path, marker, code } of books.journal) {
    const copy = copies.get(path);
    if (copy === undefined) {
      forged.add(marker);
      // A plain DSN is taken, and is a hint; a return path that we never gave must not be.
      if (kind === 'acked' && path.startsWith('b+')) wrong.push(`${path}: forged, and taken`);
      continue;
    }
    const bounced = whoseIs(copy, lists);
    if (bounced === null) wrong.push(`${path}: no list sent it`);
    else if (kind === 'refused') wrong.push(`${path}: a true return path was refused: ${code}`);
    else {
      sent.add(`${bounced.list.whose} ${bounced.name}`);
      if (kind === 'acked') acked.set(path, bounced);
    }
  }
  return { acked, sent, forged: forged.size };
}

function whoseIs({ marker, recipients }: SinkLine, lists: Map<string, List>): Bounced | null {
  for (const list of lists.values()) {
    const post = list.posts.get(messageIdOf(marker));
    const numbers = list.numbers.get(recipients[0] ?? '');
    const member = numbers?.at(-1);
    if (post !== undefined && member !== undefined) return { list, name: nameOf(post, member) };
  }
  return null;
}

// ── BOUNCES ───────────────────────────────────────────────────────────────

type Event = {
  readonly type: string;
  readonly source?: string;
  readonly verified?: boolean;
  readonly member: number | null;
  readonly post?: number | null;
  readonly what?: string;
  readonly reason?: string;
};

type Events = {
  /** Every (post, member) that there is a verified event of. */
  readonly seen: ReadonlySet<string>;
  /** Those that count, posts by member: the first event, while they were a member. */
  readonly counting: ReadonlyMap<number, ReadonlySet<number>>;
  /** By post: each member with each reason. A copy that was sent twice may come back for two. */
  readonly reasons: ReadonlyMap<number, ReadonlySet<string>>;
};

function readEvents(books: BounceBooks, list: List, dsns: Dsns, wrong: string[]): Events {
  const refused = refusedIn(books.sink, list);
  const seen = new Set<string>();
  const counting = new Map<number, Set<number>>();
  const reasons = new Map<number, Set<string>>();
  const left = new Set<number>();
  const mine = books.bounces.filter(({ subject }) => whoseOf(subject) === list.whose);
  for (const event of mine.flatMap(({ data }) => eventsIn(data))) {
    const { member, post = null, verified } = event;
    if (event.what === 'removed' && member !== null) left.add(member);
    if (event.type !== 'bounce' || verified !== true || member === null || post === null) continue;
    if (post >= PROBES_FROM) continue;
    const name = nameOf(post, member);
    const causes = event.source === 'smtp' ? refused : dsns.sent;
    if (!causes.has(`${list.whose} ${name}`)) {
      wrong.push(`${list.address} ${name}: an event by ${event.source} that nothing explains`);
    }
    seen.add(name);
    if (left.has(member)) continue;
    counting.set(member, (counting.get(member) ?? new Set()).add(post));
    reasons.set(post, (reasons.get(post) ?? new Set()).add(`${member} ${event.reason ?? ''}`));
  }
  return { seen, counting, reasons };
}

/** One event, or an array of them. */
function eventsIn(data: Uint8Array): readonly Event[] {
  const value = JSON.parse(Buffer.from(data).toString()) as Event | readonly Event[];
  return Array.isArray(value) ? value : [value as Event];
}

/** What the sink itself refused for good. */
function refusedIn(sink: readonly SinkLine[], list: List): ReadonlySet<string> {
  const names = sink.flatMap(({ answer = 250, marker, recipients }) => {
    const post = list.posts.get(messageIdOf(marker));
    if (answer < 500 || post === undefined) return [];
    const numbers = recipients.flatMap((one) => list.numbers.get(one) ?? []);
    return numbers.map((number) => `${list.whose} ${nameOf(post, number)}`);
  });
  return new Set(names);
}

// ── What the site says ────────────────────────────────────────────────────

type Findings = Readonly<Record<'lost' | 'double' | 'wrong', string[]>>;

function compare(
  said: BouncesOf,
  list: List,
  { counting, reasons: found }: Events,
  findings: Findings,
): void {
  const total = [...counting.values()].reduce((sum, posts) => sum + posts.size, 0);
  const days = said.days.reduce((sum, day) => sum + day.bounces + day.complaints, 0);
  judge(`${list.address}, all its days`, days, total, findings);
  const members = new Map(said.members.map((member) => [member.number, member]));
  for (const number of list.members.keys()) {
    const of = `${list.address} member ${number}`;
    judge(of, members.get(number)?.bounces ?? 0, counting.get(number)?.size ?? 0, findings);
  }
  for (const { post, reasons } of said.posts) {
    const count = Object.values(reasons).reduce((sum, reason) => sum + reason.count, 0);
    judge(`${list.address} post ${post}`, count, found.get(post)?.size ?? 0, findings);
  }
  for (const { address, mail } of said.members) {
    if (mail === 'disabled' || mail === 'removed') findings.wrong.push(`${address}: ${mail}`);
  }
  findings.wrong.push(...list.punished.map((what) => `${list.address} ${what}`));
}

function judge(of: string, count: number, right: number, { lost, double }: Findings): void {
  if (count < right) lost.push(`${of}: ${count} of ${right} count`);
  if (count > right) double.push(`${of}: ${count} count, and are ${right}`);
}
