/**
 * Repair of one list whose ledger does not hold together (decision 0016): what cannot be folded is left out by a record that says so,
 * appended like any other.
 *
 * Crash windows: before the append the list is still set aside, its rows folded as far as they go; after it whoever folds the ledger
 * next finds the record, leaves out what it names and goes on.
 */
import {
  type ChainView,
  decideRepair,
  POSTS_NAMED_MAX,
  type RepairCommand,
} from '../../actors/list/repairing.ts';
import { answerOf } from '../../actors/list.ts';
import type { Refusal } from '../../actors/protocol.ts';
import { MailError } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import { asideRow } from '../store/aside.ts';
import { openDraft } from '../store/list-rows.ts';
import type { Asked } from '../world.ts';
import { append } from './append.ts';
import { applyEntry, finish } from './apply.ts';
import { notHere } from './awake-list.ts';
import {
  BrokenChainError,
  type Folding,
  factsOf,
  foldAnew,
  foldRecord,
  isSkipped,
  mend,
  type Rest,
  type Skip,
  survey,
} from './chain.ts';
import type { Committer } from './commit.ts';
import { repairsOf } from './questions.ts';
import { encodeRecord, hashOf } from './record.ts';
import type { OwnedSlot } from './slots.ts';
import type { Reply } from './turn.ts';
import type { HostWorld } from './world.ts';

type Needs = {
  readonly world: HostWorld;
  readonly committer: Committer;
  /** The slot of a list, where it is served. */
  readonly served: (key: ListKey) => OwnedSlot | null;
  readonly isSetAside: (key: ListKey) => boolean;
  /** Its ledger does not hold together, which was not known. */
  readonly broken: (key: ListKey, error: BrokenChainError) => void;
  /** It may take turns again. */
  readonly mended: (key: ListKey) => void;
};

export type Repairs = {
  /** What the list's ledger is like; one that does not hold together sets its list aside. Rejects with MailError 451. */
  chain(key: ListKey): Promise<ChainView>;
  /** Leaves out what the command names, if that is what cannot be folded. Never rejects; asked again meanwhile, it is one repair. */
  repair(key: ListKey, asked: Asked<RepairCommand>): Promise<Reply>;
};

export function createRepairs(needs: Needs): Repairs {
  const { world, served, isSetAside } = needs;
  const underWay = new Map<string, Promise<Reply>>();
  /** A caller that had no answer in time asks again; the ledger is read once. */
  const looking = new Map<ListKey, Promise<ChainView>>();
  return {
    chain: (key) => {
      const there = looking.get(key);
      if (there !== undefined) return there;
      const look = (async () => {
        const slot = served(key);
        if (slot === null) throw notHere();
        const broken = await lookAt(world, slot.slot, key);
        if (broken !== null && !slot.signal.aborted && !isSetAside(key))
          needs.broken(key, new BrokenChainError(broken.from, broken.why));
        return { broken, repairs: repairsOf(world.rows, key) };
      })().finally(() => looking.delete(key));
      looking.set(key, look);
      return look;
    },
    repair: (key, asked) => {
      const slot = served(key);
      if (slot === null) return Promise.resolve({ kind: 'failed', error: notHere() });
      const before = openDraft(world.rows, key, 0).seen(asked.id);
      const at = openDraft(world.rows, key, 0).head();
      if (before !== null)
        return Promise.resolve({ kind: 'answer', answer: before[2], n: before[0], seq: at.seq });
      const name = `${key} ${asked.id}`;
      const there = underWay.get(name);
      if (there !== undefined) return there;
      if (!isSetAside(key)) return Promise.resolve(refused(world, key, WHOLE));
      if (underWay.size > 0) return Promise.resolve({ kind: 'failed', error: busy() });
      const reply = repair(needs, slot, key, asked)
        .catch((error: unknown): Reply => {
          if (error instanceof MailError) return { kind: 'failed', error };
          world.log.error({ list: key, err: error }, 'host: a repair threw');
          return { kind: 'bug', error };
        })
        .finally(() => underWay.delete(name));
      underWay.set(name, reply);
      return reply;
    },
  };
}

const WHOLE: Refusal = {
  type: 'refusal',
  code: 'nothing-to-do',
  text: 'the list is not set aside: there is nothing to repair',
};
const MENDED: Refusal = {
  type: 'refusal',
  code: 'nothing-to-do',
  text: 'its ledger holds together: its rows were folded anew and it goes on',
};
/** One at a time on a node: each reads a whole ledger, and an operator has time. */
const busy = (): MailError => new MailError(451, '4.3.2', 'another list is being repaired');
const grown = (): MailError =>
  new MailError(451, '4.3.0', 'somebody else appended a record; look at it again');

function refused({ rows }: HostWorld, key: ListKey, refusal: Refusal): Reply {
  const { n, seq } = openDraft(rows, key, 0).head();
  return { kind: 'refusal', refusal, n, seq };
}

async function repair(
  { world, committer, mended }: Needs,
  slot: OwnedSlot,
  key: ListKey,
  { id, command }: Asked<RepairCommand>,
): Promise<Reply> {
  if ((await mend(world, slot.slot, key)) === null) {
    mended(key);
    return refused(world, key, MENDED);
  }
  const looked = await lookAt(world, slot.slot, key);
  if (looked?.from !== command.from || looked.to !== command.to) return notWhatWasShown(world, key);
  const { skips } = await survey(world, slot.slot, key);
  const rest = await foldAnew(world, slot.slot, key, skips);
  if (rest?.from !== command.from || rest.to !== command.to) return notWhatWasShown(world, key);
  const reply = await leaveOut(world, committer, slot, key, { id, command }, rest);
  if (reply.kind === 'answer') mended(key);
  return reply;
}

const notWhatWasShown = (world: HostWorld, key: ListKey): Reply =>
  refused(world, key, {
    type: 'refusal',
    code: 'not-allowed',
    text: 'what cannot be folded is not what was named; look at it again',
  });

/** Appends the record, as a turn does, after the last one there is. */
async function leaveOut(
  world: HostWorld,
  committer: Committer,
  slot: OwnedSlot,
  key: ListKey,
  { id, command }: Asked<RepairCommand>,
  rest: Rest,
): Promise<Reply> {
  const head = openDraft(world.rows, key, 0).head();
  const draft = openDraft(world.rows, key, Math.max(head.at, world.clock.now()));
  const facts = decideRepair(draft, rest, rest.numbers, command.by);
  if ('code' in facts) return refused(world, key, facts);
  const entry = { commandId: id, facts };
  const record = { n: head.n + 1, epoch: slot.epoch, prev: head.hash, at: draft.at };
  applyEntry(draft, record.n, 0, entry);
  const bytes = encodeRecord(record, [JSON.stringify(entry)]);
  const settle = slot.appending(key);
  const outcome = await append(world, slot.slot, key, bytes, rest.to, slot.signal);
  if (outcome.kind === 'stopped') return { kind: 'failed', error: notHere() };
  if (outcome.kind === 'behind') {
    settle();
    return { kind: 'failed', error: grown() };
  }
  if (slot.signal.aborted) return { kind: 'failed', error: notHere() };
  const { seq } = outcome;
  finish(draft, { ...record, entries: [entry] }, { seq, hash: hashOf(bytes) });
  slot.folded(seq);
  settle();
  await committer.commit([...draft.writes(), [asideRow(key), undefined]], slot.signal);
  if (slot.signal.aborted || slot.msLeft() === 0) return { kind: 'failed', error: notHere() };
  const { from, to, records } = rest;
  world.log.warn({ list: key, from, to, records, by: command.by }, 'host: records are left out');
  return { kind: 'answer', answer: answerOf(null, facts), n: record.n, seq };
}

// ── What is wrong, and what is in it ──────────────────────────────────────

async function lookAt(world: Folding, slot: number, key: ListKey): Promise<ChainView['broken']> {
  const { skips, broken } = await survey(world, slot, key);
  const next = await nextBroken(world, slot, key, skips);
  const first = next === null || (broken !== null && broken.seq < next.seq) ? broken : next;
  if (first === null) return null;
  const found = { to: first.seq, records: 0 };
  const contents = { unreadable: 0, facts: {} as Record<string, number>, mails: [] as number[] };
  for await (const { seq, bytes } of world.ledger.read(slot, key, first.seq - 1)) {
    found.to = seq;
    found.records += 1;
    note(contents, bytes);
  }
  return { why: first.message, from: first.seq, ...found, ...contents };
}

function note(
  contents: { unreadable: number; facts: Record<string, number>; mails: number[] },
  bytes: Uint8Array,
): void {
  const facts = factsOf(bytes);
  if (facts === null) contents.unreadable += 1;
  for (const fact of facts ?? []) {
    const { type } = fact;
    contents.facts[type] = (contents.facts[type] ?? 0) + 1;
    const mail = fact.type === 'post-accepted' ? fact.post?.mail?.seq : undefined;
    if (mail !== undefined && contents.mails.length < POSTS_NAMED_MAX) contents.mails.push(mail);
  }
}

/** The record after those that are folded, if the list cannot take it. */
async function nextBroken(
  world: Folding,
  slot: number,
  key: ListKey,
  skips: readonly Skip[],
): Promise<BrokenChainError | null> {
  const { seq: after } = openDraft(world.rows, key, 0).head();
  try {
    for await (const stored of world.ledger.read(slot, key, after)) {
      if (isSkipped(skips, stored.seq)) continue;
      foldRecord(world, key, stored);
      return null;
    }
    return null;
  } catch (error) {
    if (error instanceof BrokenChainError) return error;
    throw error;
  }
}
