/**
 * The host: wakes list actors of the slots that this node owns, gives each one turn at a time, and lets them go again. Whatever a
 * caller is told has been appended and committed before.
 */
import type { Command, InspectLevel, Question } from '../../actors/protocol.ts';
import { endWith } from '../ending.ts';
import { MailError } from '../errors.ts';
import { type ListKey, slotOf } from '../mail/list-key.ts';
import { openDraft } from '../store/list-rows.ts';
import { DISK_FREE_BYTES_MIN } from '../store/open.ts';
import type { Asked } from '../world.ts';
import { answerAsk } from './ask.ts';
import { createLists, type Lists } from './awake.ts';
import { answerBounces, isAboutBounces } from './bounce-questions.ts';
import { type Bounces, createBounces } from './bounces.ts';
import { createCommitter } from './commit.ts';
import { recover } from './fold.ts';
import type { SlotWork } from './holding.ts';
import { lagAt } from './levels.ts';
import { followMailbox, type Mailbox, WORKING_EVERY_MS } from './mailbox.ts';
import type { Membership } from './membership.ts';
import { type Owner, startOwner } from './owner.ts';
import { answer, type QuestionAnswer } from './questions.ts';
import type { OwnedSlot } from './slots.ts';
import { type Standby, startStandby } from './standby.ts';
import type { Reply } from './turn.ts';
import type { HostWorld } from './world.ts';

const SWEEP_EVERY_MS = 15_000;
const DISK_LOOK_EVERY_MS = 5_000;

export type HostStatus = ReturnType<Lists['status']> & {
  readonly slots: readonly {
    readonly slot: number;
    readonly epoch: number;
    readonly reached: number;
  }[];
  /** Slots whose ledger this node follows, to be their next owner. */
  readonly standby: readonly number[];
  readonly inHand: number;
  readonly isDiskLow: boolean;
  readonly diskFreeBytes: number;
};

export type Host = {
  /** Decides a command; resolves when its turn is over. Never rejects. */
  command(key: ListKey, asked: Asked<Command>): Promise<Reply>;
  question(key: ListKey, question: Question): QuestionAnswer;
  /** The list as its owner has it, compared with the ledger as far as the level says. Rejects with MailError 451. */
  inspect(key: ListKey, level: InspectLevel): Promise<QuestionAnswer>;
  /** Where a list's history stands: its owner's epoch, its last record's sequence and number. */
  position(key: ListKey): { readonly epoch: number; readonly seq: number; readonly n: number };
  /** False if the list's slot is not ours, or not ours for long enough to speak for it. */
  mayAnswer(key: ListKey): boolean;
  status(): HostStatus;
  /** No command is taken now, for want of room on the disk; cheap to ask. */
  isDiskLow(): boolean;
  /** Resolves when every slot that this node is to have is served. */
  settled(): Promise<void>;
  /** Hands every slot over. */
  drain(): Promise<void>;
  /** Owns slots again, as the placement says; not while a drain is under way. */
  undrain(): Promise<void>;
  /** Drains, then stops. */
  stop(): Promise<void>;
};

/** Starts owning slots as the placement says. `fatal` hears of what this process cannot live with. */
export async function startHost(
  world: HostWorld,
  membership: Membership,
  fatal: (error: unknown) => void,
): Promise<Host> {
  const stopping = new AbortController();
  const owned = (): readonly OwnedSlot[] => owner.owned();
  const reached = () =>
    [...owned(), ...standby.followed()]
      .map((slot) => slot.reachedRow())
      .filter((row) => row !== null);
  const committer = createCommitter(world.rows, world.nextTick, reached);
  const fenced = (slot: number): void => owner.fenced(slot);
  const lists = createLists({ world, committer, fenced, fatal });
  const bounces = createBounces(world, fatal);
  const serving = createServing(world, { lists, bounces }, fatal, (key, request) =>
    answerAsk(host, world.node, key, request),
  );
  const work: SlotWork = {
    recover: async (slots) => {
      await standby.leave(slots.map(({ slot }) => slot));
      await recoverAll(world, slots, lists);
      serving.recovered();
    },
    ...serving,
  };
  const owner: Owner = startOwner(world, membership, work, fatal);
  const standby: Standby = startStandby(world, membership, owner);
  /** Said first, so that whoever is next takes each slot the moment it is free. */
  const drain = async (): Promise<void> => {
    await membership.lease.drain();
    await owner.drain();
  };
  const disk = await watchDisk(world, stopping.signal);
  void every(world, SWEEP_EVERY_MS, stopping.signal, lists.sweep);
  void every(world, WORKING_EVERY_MS, stopping.signal, serving.renew);

  const host: Host = {
    command: (key, asked) => {
      const low = disk.isLow() ? new MailError(452, '4.3.1', 'no room; try again later') : null;
      const error = low ?? lists.refusal(key);
      if (error !== null) return Promise.resolve({ kind: 'failed', error });
      const bytes = JSON.stringify(asked).length;
      return new Promise((reply) => lists.enqueue(key, { asked, bytes, reply }));
    },
    question: (key, question) => {
      if (isAboutBounces(question)) {
        bounces.settle(slotOf(key)); // What is folded and not written yet is asked about too.
        return answerBounces(world, key, question, bounces.status(slotOf(key)));
      }
      return answer(world.rows, key, question, () => ({
        ...lists.running(key),
        node: world.node,
        asOf: world.clock.now(),
        leaseMsLeft: Math.round(membership.lease.msLeft()),
      }));
    },
    inspect: async (key, level) => {
      const before = host.question(key, { ask: 'inspect' });
      if ('type' in before) return before;
      const lag = await lagAt(level, key, { world, lists });
      return { ...host.question(key, { ask: 'inspect' }), level, lag } as QuestionAnswer;
    },
    position: (key) => {
      const { seq, n } = openDraft(world.rows, key, 0).head();
      return { epoch: lists.running(key).epoch, seq, n };
    },
    mayAnswer: (key) => owner.find(slotOf(key)) !== null && membership.lease.msLeft() > 0,
    isDiskLow: disk.isLow,
    status: () => ({
      ...lists.status(),
      slots: owned().map(statusOf),
      standby: standby.followed().map(({ slot }) => slot),
      inHand: serving.inHand(),
      isDiskLow: disk.isLow(),
      diskFreeBytes: disk.freeBytes(),
    }),
    settled: owner.settled,
    drain,
    undrain: async () => {
      await membership.lease.undrain();
      owner.undrain();
    },
    stop: async () => {
      if (membership.lease.msLeft() > 0) await drain();
      stopping.abort();
      await standby.stop();
      await owner.stop();
      await world.rows.flushed();
    },
  };
  return host;
}

const statusOf = ({ slot, epoch, reached }: OwnedSlot) => ({ slot, epoch, reached: reached() });

/** Per slot: its mailbox, its requests, its lists' outboxes. */
function createServing(
  world: HostWorld,
  { lists, bounces }: { readonly lists: Lists; readonly bounces: Bounces },
  fatal: (error: unknown) => void,
  handler: Parameters<HostWorld['serveAsks']>[1],
) {
  type Service = { readonly mailbox: Mailbox; readonly stop: () => Promise<void> };
  const services = new Map<number, Service>();
  /** Lists whose outboxes an owner before left undone, by slot; found in one pass for all slots that are recovered together. */
  let undone = new Map<number, ListKey[]>();
  const { enqueue, waiting: inHand, turned } = lists;
  const stop = async ({ slot }: OwnedSlot): Promise<void> => {
    const service = services.get(slot);
    services.delete(slot);
    await service?.stop();
  };
  return {
    recovered: (): void => {
      undone = new Map();
      for (const key of listKeys(world)) {
        if (openDraft(world.rows, key, 0).head().waiting === 0) continue;
        undone.set(slotOf(key), [...(undone.get(slotOf(key)) ?? []), key]);
      }
    },
    serve: (slot: OwnedSlot): void => {
      lists.serve(slot);
      bounces.serve(slot);
      const leaving = endWith(slot.signal);
      const needs = { world, enqueue, inHand, turned, fatal };
      const mailbox = followMailbox(slot.slot, needs, leaving.signal);
      const asks = world.serveAsks(slot.slot, handler);
      const end = async (): Promise<void> => {
        leaving.end();
        await asks.close();
      };
      services.set(slot.slot, { mailbox, stop: end });
      for (const key of undone.get(slot.slot) ?? []) lists.resume(key);
    },
    drain: async (slot: OwnedSlot): Promise<void> => {
      await stop(slot);
      await Promise.all([lists.drain(slot), bounces.drain(slot)]);
    },
    drop: (slot: OwnedSlot): void => {
      void stop(slot);
      lists.drop(slot);
      bounces.drop(slot);
    },
    renew: () => {
      for (const { mailbox } of services.values()) mailbox.renew();
    },
    inHand: () => [...services.values()].reduce((sum, { mailbox }) => sum + mailbox.inHand(), 0),
  };
}

async function recoverAll(
  world: HostWorld,
  slots: readonly OwnedSlot[],
  lists: Lists,
): Promise<void> {
  if (slots.length === 0) return;
  const began = world.clock.monotonic();
  const records = await recover(world, slots, lists.quarantine, (done, seq) =>
    world.log.info({ done, seq }, 'host: folding the ledger'),
  );
  const tookMs = Math.round(world.clock.monotonic() - began);
  world.log.info({ slots: slots.length, records, tookMs }, 'host: recovered');
}

async function watchDisk(world: HostWorld, signal: AbortSignal) {
  let free = await world.disk.freeBytes();
  void every(world, DISK_LOOK_EVERY_MS, signal, async () => {
    free = await world.disk.freeBytes();
  });
  return { freeBytes: () => free, isLow: () => free < DISK_FREE_BYTES_MIN };
}

async function every(
  world: HostWorld,
  ms: number,
  signal: AbortSignal,
  run: () => void | Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await world.clock.sleep(ms, signal);
    await run();
  }
}

/** Every list that has rows, by skipping from one to the next. */
export function* listKeys({ rows }: Pick<HostWorld, 'rows'>): Iterable<ListKey> {
  let from: readonly string[] = ['$']; // Above '#slot', below every key.
  for (;;) {
    const [next] = [...rows.range(from, ['{'], 1)];
    if (next === undefined) return;
    const key = String(next[0][0]) as ListKey;
    yield key;
    from = [key, '\uffff'];
  }
}
