/**
 * The host: wakes list actors of the slots that this node owns, gives each one turn at a time, and lets them go again. Whatever a
 * caller is told has been appended and committed before.
 *
 *   owner ──slots──▶ serving ──commands──▶ lists ──turns──▶ rows     `owner.ts` which slots; `awake.ts` the lists; `bounces.ts` beside
 *   standby: what would be ours next, folded as it comes             `asking.ts` what may be asked of it all
 */
import { within } from '../ending.ts';
import { MailError } from '../errors.ts';
import { type ListKey, SLOTS } from '../mail/list-key.ts';
import { DISK_FREE_BYTES_MIN } from '../store/open.ts';
import { answerAsk } from './ask.ts';
import { type Asking, createAsking } from './asking.ts';
import { createLists, type Lists } from './awake.ts';
import { createBounces } from './bounces.ts';
import { createCommitter } from './commit.ts';
import { checkNotShorter } from './fold.ts';
import { WORKING_EVERY_MS } from './mailbox.ts';
import type { Membership } from './membership.ts';
import { type Owner, startOwner } from './owner.ts';
import { createServing, type Serving } from './serving.ts';
import { type OwnedSlot, ownSlot } from './slots.ts';
import { type Standby, startStandby } from './standby.ts';
import { startSuspicion } from './suspicion.ts';
import type { HostWorld } from './world.ts';

const DISK_LOOK_EVERY_MS = 5_000;
/** What a stop waits for the slots to be handed over: the next owner has them anyway once our lease is given back. */
export const DRAIN_MS_MAX = 20_000;

export type HostStatus = ReturnType<Lists['status']> & {
  readonly slots: readonly {
    readonly slot: number;
    readonly epoch: number;
    readonly reached: number;
    readonly lag: number;
  }[];
  /** Slots whose ledger this node follows, to be their next owner. */
  readonly standby: readonly number[];
  readonly inHand: number;
  readonly isDiskLow: boolean;
  readonly diskFreeBytes: number;
};

export type Host = Asking & {
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

type DiskWatch = { readonly freeBytes: () => number; readonly isLow: () => boolean };
type Parts = {
  readonly lists: Lists;
  readonly asking: Asking;
  readonly serving: Serving;
  readonly owner: Owner;
  readonly standby: Standby;
};

/** Starts owning slots as the placement says. `fatal` hears of what this process cannot live with. */
export async function startHost(
  world: HostWorld,
  membership: Membership,
  fatal: (error: unknown) => void,
): Promise<Host> {
  const folded = Array.from({ length: SLOTS }, (_, slot) => ownSlot(world.rows, slot, 0));
  await checkNotShorter(world, folded).catch((error: unknown) => {
    if (!(error instanceof MailError)) throw error; // It is asked again when slots are recovered.
  });
  const stopping = new AbortController();
  const often = (ms: number, run: () => void | Promise<void>): void =>
    void every(world, ms, stopping.signal, run).catch(fatal);
  const disk = await watchDisk(world, often);
  const { lists, asking, serving, owner, standby } = wire(
    world,
    membership,
    disk,
    stopping.signal,
    fatal,
  );
  often(world.passiveMs / 4, lists.sweep);
  often(WORKING_EVERY_MS, serving.renew);
  /** Said at once, so that whoever is next takes each slot the moment it is free. */
  const drain = async (): Promise<void> => {
    await Promise.all([membership.lease.drain(), owner.drain()]);
  };
  return {
    ...asking,
    isDiskLow: disk.isLow,
    status: () => ({
      ...lists.status(),
      slots: owner.owned().map(statusOf),
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
      if (membership.lease.msLeft() > 0) await within(world.clock, DRAIN_MS_MAX, drain());
      stopping.abort();
      await standby.stop();
      await owner.stop();
      await world.rows.flushed();
    },
  };
}

/** Makes the parts; each knows of the others only what it is handed here. */
function wire(
  world: HostWorld,
  membership: Membership,
  disk: DiskWatch,
  stopping: AbortSignal,
  fatal: (error: unknown) => void,
): Parts {
  const reached = () =>
    [...owner.owned(), ...standby.followed()]
      .map((slot) => slot.reachedRow())
      .filter((row) => row !== null);
  const committer = createCommitter(world.rows, world.nextTick, reached);
  const fenced = (slot: number): void => owner.fenced(slot);
  const lists = createLists({ world, committer, fenced, fatal });
  const bounces = createBounces(world, fatal);
  const suspicion = startSuspicion(world, stopping, fatal);
  const isServed = (slot: number): boolean => owner.find(slot) !== null;
  const { lease } = membership;
  const asking = createAsking({
    ...{ world, lists, bounces, suspicion, lease, isServed, isDiskLow: disk.isLow },
  });
  const answer: Parameters<HostWorld['serveAsks']>[1] = (key: ListKey, request) =>
    answerAsk(asking, world.node, key, request);
  const serving = createServing({ world, lists, bounces, suspicion, answer, fatal });
  const recover = async (slots: readonly OwnedSlot[]): Promise<void> => {
    await standby.leave(slots);
    await serving.recover(slots);
  };
  const owner: Owner = startOwner(world, membership, { ...serving, recover }, fatal);
  const standby: Standby = startStandby(world, membership, owner);
  return { lists, asking, serving, owner, standby };
}

const statusOf = ({ slot, epoch, reached, lag }: OwnedSlot) => ({
  ...{ slot, epoch, reached: reached(), lag: lag() },
});

/** A disk that cannot be asked any more counts as full: nothing is taken that might have no place. */
async function watchDisk(
  { disk, log }: HostWorld,
  often: (ms: number, run: () => Promise<void>) => void,
): Promise<DiskWatch> {
  let free = await disk.freeBytes();
  often(DISK_LOOK_EVERY_MS, async () => {
    free = await disk.freeBytes().catch((error: unknown) => {
      log.warn({ err: error }, 'the disk cannot be asked for its room; no command is taken');
      return 0;
    });
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
