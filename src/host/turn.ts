/**
 * The turn: decide over a draft, append, commit, and only then speak (design §3). Written once.
 *
 * Crash windows: before the append nothing has happened; after it the record is folded by whoever reads the ledger next;
 * after the commit the commands are answered by `seen` when they come again.
 */
import { answerOf, decide } from '../../actors/list.ts';
import type { Answer, Command, Fact, Refusal } from '../../actors/protocol.ts';
import { assert } from '../assert.ts';
import type { MailError } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import { MESSAGE_BYTES_MAX } from '../nats/streams.ts';
import { type Done, type Draft, openDraft } from '../store/list-rows.ts';
import type { Asked } from '../world.ts';
import { append } from './append.ts';
import { applyEntry, finish } from './apply.ts';
import type { Committer } from './commit.ts';
import { foldGap } from './fold.ts';
import { encodeRecord, hashOf } from './record.ts';
import type { OwnedSlot } from './slots.ts';
import type { HostWorld } from './world.ts';

/** A turn takes at most this many commands, and this many bytes of facts. */
export const TURN_COMMANDS_MAX = 256;
export const TURN_BYTES_MAX = 512 * 1024;
/** One command's facts may take more than a turn's, alone in their record; past this they fit no record, its head included. */
const ENTRY_BYTES_MAX = MESSAGE_BYTES_MAX - 4 * 1024;
/** A turn that appends nothing is not fenced by the ledger: it answers only well within the lease (design §3). */
const LEASE_LEFT_MS_MIN = 3_000;
/** What a fact may be larger than its command: numbers, reasons, names of fields. */
const FACT_SLACK_BYTES = 1_024;

export type Reply =
  | { readonly kind: 'answer'; readonly answer: Answer; readonly n: number; readonly seq: number }
  | {
      readonly kind: 'refusal';
      readonly refusal: Refusal;
      readonly n: number;
      readonly seq: number;
    }
  /** It threw: the mail is to be kept aside, the caller told that it is our fault. */
  | { readonly kind: 'bug'; readonly error: unknown }
  /** Not decided; ask again. */
  | { readonly kind: 'failed'; readonly error: MailError };

export type Waiting = {
  readonly asked: Asked<Command>;
  /** About what its facts will take in the record. */
  readonly bytes: number;
  readonly reply: (reply: Reply) => void;
};

/** What a turn needs to know of the list it is for. */
export type TurnOf = {
  readonly key: ListKey;
  readonly slot: OwnedSlot;
  readonly waiting: Waiting[];
  /** How far the outbox is; null where the ledger knows it already. */
  readonly untoldDone: () => Done | null;
  /** A record is appended even if it says nothing: who can is the owner. */
  readonly isBarrier: boolean;
};

/** `took`: the turn is over. `behind`: the gap has been folded, turn again. `stale`: another owner writes. `stopped`: the host stops. */
export type TurnOutcome = 'took' | 'behind' | 'stale' | 'stopped';

type Decided = {
  readonly draft: Draft;
  /** The number of the record to be. */
  readonly n: number;
  readonly entries: string[];
  /** Of the entries. */
  bytes: number;
  readonly replies: (() => void)[];
};

/** Takes one turn; with nothing waiting it appends a marker of what the outbox has done. */
export async function takeTurn(
  list: TurnOf,
  world: HostWorld,
  committer: Committer,
): Promise<TurnOutcome> {
  const batch = take(list.waiting);
  const seqOf = { value: 0 };
  const { draft, entries, replies } = decideAll(list, batch, world, seqOf);
  const head = draft.head();
  const done = list.untoldDone();
  seqOf.value = head.seq;
  const isSilent = entries.length === 0 && (batch.length > 0 || done === null);
  if (isSilent && !list.isBarrier) {
    if (!maySpeak(list.slot, LEASE_LEFT_MS_MIN)) return putBack(list, batch);
    for (const reply of replies) reply();
    return 'took';
  }
  const { epoch } = list.slot;
  const record = { n: head.n + 1, epoch, prev: head.hash, at: draft.at, ...(done ? { done } : {}) };
  const bytes = encodeRecord(record, entries);
  const settle = list.slot.appending(list.key);
  const outcome = await append(world, list.slot.slot, list.key, bytes, head.seq, list.slot.signal);
  if (outcome.kind === 'stopped') return 'stopped'; // Not settled: it may have been appended.
  if (outcome.kind === 'behind') {
    settle();
    list.waiting.unshift(...batch); // The gap may hold these very commands: `seen` will tell.
    return (await foldGap(world, list.slot, list.key, committer)) === 'stale' ? 'stale' : 'behind';
  }
  // The slot went while the append was on its way: whoever folds the record now must not meet half of it from here.
  if (list.slot.signal.aborted) return putBack(list, batch);
  finish(draft, { ...record, entries }, { seq: outcome.seq, hash: hashOf(bytes) });
  list.slot.folded(outcome.seq);
  settle(); // How far the slot is folded goes with these rows, in their transaction.
  await committer.commit(draft.writes(), list.slot.signal);
  if (!maySpeak(list.slot, 0)) return putBack(list, batch);
  seqOf.value = outcome.seq;
  for (const reply of replies) reply();
  return 'took';
}

/** True if this node may still answer for the slot, and will for `ms` more. */
function maySpeak({ signal, msLeft }: OwnedSlot, ms: number): boolean {
  const left = msLeft();
  return !signal.aborted && (left === null || left > ms);
}

/** What was decided may stand; but it is not ours to say so. Whoever owns the list answers when asked again. */
function putBack(list: TurnOf, batch: readonly Waiting[]): TurnOutcome {
  list.waiting.unshift(...batch);
  return 'stale';
}

/** The commands of this turn at most, in order: what their facts take is known once they are decided. */
function take(waiting: Waiting[]): Waiting[] {
  let bytes = 0;
  let many = 0;
  for (const { bytes: more } of waiting) {
    if (many === TURN_COMMANDS_MAX || (many > 0 && bytes + more > TURN_BYTES_MAX)) break;
    bytes += more + FACT_SLACK_BYTES;
    many += 1;
  }
  return waiting.splice(0, many);
}

/**
 * Decides the commands over one draft. One that throws is taken out, and the others are decided anew without it; from the
 * first whose facts do not fit the record any more they wait for the next turn.
 */
function decideAll(
  list: TurnOf,
  batch: Waiting[],
  world: HostWorld,
  seqOf: { readonly value: number },
): Decided {
  for (;;) {
    const head = openDraft(world.rows, list.key, 0).head();
    const draft = openDraft(world.rows, list.key, Math.max(head.at, world.clock.now()));
    const decided: Decided = { draft, n: head.n + 1, entries: [], bytes: 0, replies: [] };
    let fitting = batch.length;
    const poison = batch.find((waiting, index) => {
      if (index >= fitting) return false;
      try {
        if (!decideOne(decided, waiting, seqOf)) fitting = index;
        return false;
      } catch (error) {
        world.log.error(
          { list: list.key, command: waiting.asked.command.type, err: error },
          'turn: a command threw',
        );
        waiting.reply({ kind: 'bug', error });
        return true;
      }
    });
    if (poison === undefined) {
      list.waiting.unshift(...batch.splice(fitting));
      return decided;
    }
    batch.splice(batch.indexOf(poison), 1);
  }
}

/** False, and nothing is changed, if its facts do not fit this record beside those before. */
function decideOne(
  decided: Decided,
  { asked, reply }: Waiting,
  seqOf: { readonly value: number },
): boolean {
  const { draft, n, entries, replies } = decided;
  const before = draft.seen(asked.id);
  if (before !== null) {
    replies.push(() =>
      reply({ kind: 'answer', answer: before[2], n: before[0], seq: seqOf.value }),
    );
    return true;
  }
  const facts: readonly Fact[] | Refusal = decide(draft, asked.command);
  if (isRefusal(facts)) {
    replies.push(() => reply({ kind: 'refusal', refusal: facts, n: n - 1, seq: seqOf.value }));
    return true;
  }
  const answer = answerOf(asked.command, facts);
  if (facts.length > 0) {
    const entry = { commandId: asked.id, facts };
    const json = JSON.stringify(entry);
    const bytes = Buffer.byteLength(json);
    assert(bytes <= ENTRY_BYTES_MAX, 'the facts of one command are larger than a record may be');
    if (entries.length > 0 && decided.bytes + bytes > TURN_BYTES_MAX) return false;
    applyEntry(draft, n, entries.length, entry);
    entries.push(json);
    decided.bytes += bytes;
  }
  replies.push(() => reply({ kind: 'answer', answer, n, seq: seqOf.value }));
  return true;
}

const isRefusal = (decided: readonly Fact[] | Refusal): decided is Refusal =>
  !Array.isArray(decided);
