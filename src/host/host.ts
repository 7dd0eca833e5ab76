/**
 * The host: wakes list actors, gives each one turn at a time, and lets them go again. Whatever a caller is told has been
 * appended and committed before.
 */
import type { Command, Question } from '../../actors/protocol.ts';
import { MailError } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import { openDraft } from '../store/list-rows.ts';
import { DISK_FREE_BYTES_MIN } from '../store/open.ts';
import type { Asked } from '../world.ts';
import { createLists, type Lists } from './awake.ts';
import { createCommitter } from './commit.ts';
import { recover } from './fold.ts';
import { followMailboxes } from './mailbox.ts';
import { answer, type QuestionAnswer } from './questions.ts';
import { acquireAll, type OwnedSlot } from './slots.ts';
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
  readonly inHand: number;
  readonly isDiskLow: boolean;
  readonly diskFreeBytes: number;
};

export type Host = {
  /** Decides a command; resolves when its turn is over. Never rejects. */
  command(key: ListKey, asked: Asked<Command>): Promise<Reply>;
  question(key: ListKey, question: Question): QuestionAnswer;
  /** Where a list's history stands: its owner's epoch, its last record's sequence and number. */
  position(key: ListKey): { readonly epoch: number; readonly seq: number; readonly n: number };
  status(): HostStatus;
  /** No command is taken now, for want of room on the disk; cheap to ask. */
  isDiskLow(): boolean;
  /** Takes no more commands, finishes what is under way, tells the ledger what the outboxes have done. */
  stop(): Promise<void>;
};

/** Acquires the slots, folds what the store lacks, and starts. `fatal` hears of what this process cannot live with. */
export async function startHost(world: HostWorld, fatal: (error: unknown) => void): Promise<Host> {
  const stopping = new AbortController();
  const ending = new AbortController();
  const acquired = await acquireAll(world, ending.signal);
  const slots = new Map(acquired.map((slot) => [slot.slot, slot]));
  const committer = createCommitter(world.rows, world.nextTick, () =>
    [...slots.values()].map((slot) => slot.reachedRow()).filter((row) => row !== null),
  );
  const signals = { stopping: stopping.signal, ending: ending.signal };
  const lists = createLists({ world, slots, committer, ...signals, fatal });
  await recoverAll(world, acquired, lists);

  // What a crash left undone is done now.
  for (const key of listKeys(world)) {
    if (openDraft(world.rows, key, 0).head().waiting > 0) lists.resume(key);
  }
  const { enqueue, waiting: inHand, turned } = lists;
  const needs = { world, enqueue, inHand, turned, fatal };
  const mailbox = followMailboxes([...slots.keys()], needs, stopping.signal);
  const disk = await watchDisk(world, stopping.signal);
  void every(world, SWEEP_EVERY_MS, stopping.signal, lists.sweep);

  return {
    command: (key, asked) => {
      const low = disk.isLow() ? new MailError(452, '4.3.1', 'no room; try again later') : null;
      const error = low ?? lists.refusal(key);
      if (error !== null) return Promise.resolve({ kind: 'failed', error });
      const bytes = JSON.stringify(asked).length;
      return new Promise((reply) => lists.enqueue(key, { asked, bytes, reply }));
    },
    question: (key, question) => answer(world.rows, key, question, () => lists.running(key)),
    position: (key) => {
      const { seq, n } = openDraft(world.rows, key, 0).head();
      return { epoch: lists.running(key).epoch, seq, n };
    },
    isDiskLow: disk.isLow,
    status: () => ({
      ...lists.status(),
      slots: [...slots.values()].map(statusOf),
      inHand: mailbox.inHand(),
      isDiskLow: disk.isLow(),
      diskFreeBytes: disk.freeBytes(),
    }),
    stop: async () => {
      stopping.abort();
      await lists.settle();
      ending.abort();
      await mailbox.finished;
      await world.rows.flushed();
    },
  };
}

const statusOf = ({ slot, epoch, reached }: OwnedSlot) => ({ slot, epoch, reached: reached() });

async function recoverAll(
  world: HostWorld,
  slots: readonly OwnedSlot[],
  lists: Lists,
): Promise<void> {
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
