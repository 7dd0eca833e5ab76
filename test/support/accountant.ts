/**
 * The accountant: after a crash test, was any mail lost, sent to the wrong person, or sent twice
 * without cause?
 *
 * It works offline and knows nothing of the program: it reads the client's journal, the sink's log,
 * and the records of TROUPE_LEDGER and TROUPE_ARCHIVE as a plain consumer gave them.
 *
 *   lost        a post that got 250 and of which the ledger says nothing; a member of an accepted
 *               post without a copy, unless the sink refused it for good; an accepted post that is
 *               not in the archive
 *   wrong       a copy that no fact implies, or whose body is another; a post or a command decided
 *               twice; mail of no post that is neither a notice nor a probe
 *   duplicates  a second copy for the same member, laid to the kill nearest to the first copy
 *   broken      a ledger that is no chain
 */
import { createHash } from 'node:crypto';
import { type JournalLine, messageIdOf } from './journal.ts';
import type { SinkLine } from './sink-process.ts';

type Message = { readonly seq: number; readonly subject: string; readonly data: Uint8Array };

/** When a process was killed, ms since the epoch. */
export type Kill = { readonly at: number; readonly what: string };

export type Books = {
  readonly journal: readonly JournalLine[];
  readonly sink: readonly SinkLine[];
  /** All of TROUPE_LEDGER and of TROUPE_ARCHIVE, in the order of their sequences. */
  readonly ledger: readonly Message[];
  readonly archive: readonly Message[];
  readonly kills: readonly Kill[];
};

export type Duplicate = {
  readonly marker: string;
  readonly recipient: string;
  readonly firstAt: number;
  readonly againAt: number;
  /** Index into `kills`; null where no kill was near. */
  readonly kill: number | null;
  /** What sent the first copy and the second, by their EHLO. */
  readonly firstBy?: string;
  readonly againBy?: string;
  /** The sink took the first copy and dropped the connection instead of saying so (RFC 1047). */
  readonly isFirstUnanswered?: boolean;
  /** Who was last put off at the sink with this recipient before the first copy, and when. */
  readonly putOff?: { readonly by: string; readonly at: number };
  /** The chunk of the post that the recipient is in, where the ledger says how wide chunks are. */
  readonly chunk?: number;
};

export type Account = {
  readonly acked: number;
  readonly accepted: number;
  readonly held: number;
  readonly discarded: number;
  readonly copies: number;
  readonly lost: readonly string[];
  readonly wrong: readonly string[];
  readonly broken: readonly string[];
  readonly duplicates: readonly Duplicate[];
};

/** A transaction was in flight at a kill if its copy reached the sink within this of it. */
const NEAR_MS = 2_000;

// ── The ledger, folded by the accountant's own reading ────────────────────

type Member = { readonly number: number; readonly address: string; removedAt: number | null };
type Accepted = { readonly order: number; readonly counter: number; readonly width?: number };
type List = { readonly subject: string; address: string; readonly members: Member[] };
/** What the ledger says of one post. */
type Fate = {
  readonly list: List;
  decided: number;
  held: number;
  discarded: number;
  readonly accepted: Accepted[];
};

type Fact = {
  readonly type: string;
  readonly address?: string;
  readonly first?: number;
  readonly number?: number;
  readonly counter?: number;
  readonly width?: number;
  readonly hold?: number | null;
  readonly members?: readonly { readonly address: string }[];
  readonly post?: { readonly messageId: string };
};
type Entry = { readonly commandId: string; readonly facts: readonly Fact[] };
type LedgerRecord = {
  readonly n: number;
  readonly epoch: number;
  readonly prev: string;
  readonly at: number;
  readonly entries: readonly Entry[];
};

type Ledger = {
  /** By Message-ID. */
  readonly fates: Map<string, Fate>;
  /** Addresses that a list sent a probe. */
  readonly probed: Set<string>;
  readonly broken: string[];
  readonly wrong: string[];
};

function readLedger(messages: readonly Message[]): Ledger {
  const ledger: Ledger = { fates: new Map(), probed: new Set(), broken: [], wrong: [] };
  const subjects = Map.groupBy(messages, ({ subject }) => subject);
  for (const [subject, records] of subjects) {
    if (!subject.endsWith('.owner')) readList(subject, records, ledger);
  }
  return ledger;
}

function readList(subject: string, messages: readonly Message[], ledger: Ledger): void {
  const list: List = { subject, address: '', members: [] };
  const commands = new Set<string>();
  let last = { n: 0, epoch: 0, at: 0, hash: '' };
  let order = 0;
  for (const { data } of messages) {
    const record = JSON.parse(Buffer.from(data).toString()) as LedgerRecord;
    const { n, epoch, prev, at } = record;
    if (n !== last.n + 1) ledger.broken.push(`${subject}: record ${n} follows ${last.n}`);
    if (prev !== last.hash) ledger.broken.push(`${subject}: record ${n} has another hash before`);
    if (epoch < last.epoch) ledger.broken.push(`${subject}: record ${n} is of an older epoch`);
    if (at < last.at) ledger.broken.push(`${subject}: record ${n} goes back in time`);
    last = { n, epoch, at, hash: createHash('sha256').update(data).digest('base64url') };
    for (const { commandId, facts } of record.entries) {
      if (commands.has(commandId)) ledger.wrong.push(`${subject}: ${commandId} is decided twice`);
      commands.add(commandId);
      for (const fact of facts) readFact(fact, list, order++, ledger);
    }
  }
}

function readFact(fact: Fact, list: List, order: number, { fates, probed }: Ledger): void {
  const fate = (): Fate => {
    const messageId = fact.post?.messageId ?? '';
    const known = fates.get(messageId);
    if (known !== undefined) return known;
    const fresh: Fate = { list, decided: 0, held: 0, discarded: 0, accepted: [] };
    fates.set(messageId, fresh);
    return fresh;
  };
  if (fact.type === 'list-created') list.address = fact.address ?? '';
  if (fact.type === 'members-added') {
    fact.members?.forEach(({ address }, i) => {
      list.members.push({ number: (fact.first ?? 0) + i, address, removedAt: null });
    });
  }
  if (fact.type === 'member-removed') {
    for (const member of list.members) {
      if (member.number === fact.number) member.removedAt = order;
    }
  }
  if (fact.type === 'member-probed') probed.add(fact.address ?? '');
  if (fact.type === 'post-held') {
    fate().held++;
    fate().decided++;
  }
  if (fact.type === 'post-discarded') {
    fate().discarded++;
    fate().decided++;
  }
  if (fact.type === 'post-accepted') {
    if (fact.hold === null) fate().decided++;
    const { counter = 0, width } = fact;
    fate().accepted.push({ order, counter, ...(width !== undefined && { width }) });
  }
}

/** Who must have a copy, and who may: a member who left after the acceptance may have one. */
function impliedBy({ list, accepted }: Fate): { must: Set<string>; may: Set<string> } {
  const must = new Set<string>();
  const may = new Set<string>();
  for (const { order, counter } of accepted) {
    for (const { number, address, removedAt } of list.members) {
      if (number >= counter || (removedAt !== null && removedAt < order)) continue;
      may.add(address);
      if (removedAt === null) must.add(address);
    }
  }
  return { must, may };
}

// ── The account ───────────────────────────────────────────────────────────

/** Settles the books; the time it takes grows with the copies. */
export function settle(books: Books): Account {
  const { fates, probed, broken, wrong } = readLedger(books.ledger);
  const lost: string[] = [];
  const duplicates: Duplicate[] = [];
  const copies = copiesOf(books, probed, wrong);
  const refused = refusedIn(books);
  const putOff = putOffIn(books);
  const journal = Map.groupBy(books.journal, ({ marker }) => marker);
  const archived = archivedIn(books.archive);
  let accepted = 0;
  for (const [marker, lines] of journal) {
    const isAcked = lines.some(({ kind }) => kind === 'acked');
    const fate = fates.get(messageIdOf(marker));
    if (isAcked && fate === undefined) lost.push(`${marker}: 250, and no fact`);
    if (fate === undefined) continue;
    if (fate.decided !== 1) wrong.push(`${marker}: decided ${fate.decided} times`);
    if (fate.list.address !== lines[0]?.list) wrong.push(`${marker}: on ${fate.list.address}`);
    if (fate.accepted.length === 0) continue;
    accepted++;
    if (!archived.has(messageIdOf(marker))) lost.push(`${marker}: not archived`);
    for (const address of impliedBy(fate).must) {
      const name = `${marker} ${address}`;
      if (!copies.has(name) && !refused.has(name)) lost.push(`${marker}: no copy for ${address}`);
    }
  }
  for (const lines of copies.values()) {
    judgeCopies(lines, { journal, fates, putOff, kills: books.kills }, wrong, duplicates);
  }
  const all = [...fates.values()];
  return {
    acked: books.journal.filter(({ kind }) => kind === 'acked').length,
    accepted,
    held: all.reduce((sum, { held }) => sum + held, 0),
    discarded: all.reduce((sum, { discarded }) => sum + discarded, 0),
    copies: copies.size,
    lost,
    wrong,
    broken,
    duplicates,
  };
}

type Copy = {
  readonly marker: string;
  readonly recipient: string;
  readonly at: number;
  readonly bodySha: string;
  readonly helo?: string;
  readonly isUnanswered: boolean;
};

/**
 * The copies at the sink by post and recipient. Mail without a marker must be a notice, which has a
 * null sender, or a probe.
 */
function copiesOf(
  { sink }: Books,
  probed: ReadonlySet<string>,
  wrong: string[],
): Map<string, Copy[]> {
  const copies = new Map<string, Copy[]>();
  for (const { marker, recipients, at, bodySha, sender, messageId, helo, answer = 250 } of sink) {
    if (answer >= 400) continue;
    if (marker === '') {
      const isProbe = sender.startsWith('b+') && recipients.every((one) => probed.has(one));
      if (sender !== '' && !isProbe) wrong.push(`${messageId}: at the sink, and not of this load`);
      continue;
    }
    for (const recipient of recipients) {
      const name = `${marker} ${recipient}`;
      const others = copies.get(name) ?? [];
      const isUnanswered = answer === 0;
      const by = helo === undefined ? {} : { helo };
      const copy = { marker, recipient, at, bodySha, isUnanswered, ...by };
      copies.set(name, [...others, copy]);
    }
  }
  return copies;
}

/** Whom the sink refused for good, by post: they need no copy. */
function refusedIn({ sink }: Books): Set<string> {
  const forGood = sink.filter(({ answer = 250 }) => answer >= 500);
  return new Set(
    forGood.flatMap(({ marker, recipients }) => recipients.map((one) => `${marker} ${one}`)),
  );
}

type PutOff = { readonly by: string; readonly at: number };

/** Who was told to come again with a recipient, by post, in order. */
function putOffIn({ sink }: Books): ReadonlyMap<string, readonly PutOff[]> {
  const found = new Map<string, PutOff[]>();
  for (const { marker, recipients, at, helo = '', answer = 250 } of sink) {
    if (answer < 400 || answer >= 500) continue;
    for (const recipient of recipients) {
      const name = `${marker} ${recipient}`;
      found.set(name, [...(found.get(name) ?? []), { by: helo, at }]);
    }
  }
  return found;
}

type Known = {
  readonly putOff: ReadonlyMap<string, readonly PutOff[]>;
  readonly journal: ReadonlyMap<string, readonly JournalLine[]>;
  readonly fates: ReadonlyMap<string, Fate>;
  readonly kills: readonly Kill[];
};

function judgeCopies(
  [first, ...others]: readonly Copy[],
  { journal, fates, putOff, kills }: Known,
  wrong: string[],
  duplicates: Duplicate[],
): void {
  if (first === undefined) return;
  const { marker, recipient } = first;
  const fate = fates.get(messageIdOf(marker));
  if (fate === undefined || !mayHave(fate, recipient)) {
    wrong.push(`${marker}: a copy for ${recipient}, which no fact implies`);
  }
  const bodySha = journal.get(marker)?.[0]?.bodySha;
  for (const copy of [first, ...others]) {
    if (bodySha !== undefined && copy.bodySha !== bodySha) {
      wrong.push(`${marker}: another body for ${recipient}`);
    }
  }
  const chunk = fate === undefined ? null : chunkOf(fate, recipient);
  let before = first;
  for (const copy of others) {
    const put = putOff.get(`${marker} ${recipient}`)?.findLast(({ at }) => at < before.at);
    duplicates.push({
      ...{ marker, recipient, firstAt: before.at, againAt: copy.at },
      kill: nearest(kills, before.at),
      ...(before.helo !== undefined && { firstBy: before.helo }),
      ...(copy.helo !== undefined && { againBy: copy.helo }),
      ...(put !== undefined && { putOff: put }),
      ...(chunk !== null && { chunk }),
      ...(before.isUnanswered && { isFirstUnanswered: true }),
    });
    before = copy;
  }
}

/** Of the first acceptance; null where the ledger does not say. */
function chunkOf({ list, accepted }: Fate, recipient: string): number | null {
  const width = accepted[0]?.width;
  const member = list.members.find(({ address }) => address === recipient);
  return width === undefined || member === undefined ? null : Math.floor(member.number / width);
}

const impliedCache = new WeakMap<Fate, Set<string>>();

function mayHave(fate: Fate, recipient: string): boolean {
  let may = impliedCache.get(fate);
  if (may === undefined) {
    may = impliedBy(fate).may;
    impliedCache.set(fate, may);
  }
  return may.has(recipient);
}

function nearest(kills: readonly Kill[], at: number): number | null {
  let best: number | null = null;
  for (const [i, kill] of kills.entries()) {
    const distance = Math.abs(kill.at - at);
    const before = best === null ? undefined : kills[best];
    if (distance > NEAR_MS) continue;
    if (before === undefined || distance < Math.abs(before.at - at)) best = i;
  }
  return best;
}

/** The Message-IDs of what is archived. */
function archivedIn(archive: readonly Message[]): Set<string> {
  const ids = new Set<string>();
  for (const { data } of archive) {
    const [, id] = /^message-id:\s*(\S+)/im.exec(Buffer.from(data).toString('latin1')) ?? [];
    if (id !== undefined) ids.add(id);
  }
  return ids;
}
