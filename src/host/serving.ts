/**
 * What a node does for a slot that is its own (`actors/slot.ts`): folds what its rows lack, then takes from its mailbox, answers
 * requests, lets its lists and their outboxes work and folds its bounces, until it is another's.
 */
import { endWith } from '../ending.ts';
import { type ListKey, slotOf } from '../mail/list-key.ts';
import { listKeys, openDraft } from '../store/list-rows.ts';
import type { Rows } from '../world.ts';
import type { Lists } from './awake.ts';
import type { Bounces } from './bounces.ts';
import { recover } from './fold.ts';
import type { SlotWork } from './holding.ts';
import { followMailbox, type Mailbox } from './mailbox.ts';
import type { OwnedSlot } from './slots.ts';
import type { Suspicion } from './suspicion.ts';
import type { HostWorld } from './world.ts';

export type Serving = SlotWork & {
  /** Tells NATS that what is in hand is still being worked on; to be called every WORKING_EVERY_MS. */
  renew(): void;
  /** Commands in hand. */
  inHand(): number;
};

type Needs = {
  readonly world: HostWorld;
  readonly lists: Lists;
  readonly bounces: Bounces;
  readonly suspicion: Suspicion;
  /** Answers a request for a list. */
  readonly answer: Parameters<HostWorld['serveAsks']>[1];
  readonly fatal: (error: unknown) => void;
};

type Service = { readonly mailbox: Mailbox; readonly stop: () => Promise<void> };

export function createServing(needs: Needs): Serving {
  const { world, lists, bounces, suspicion } = needs;
  const services = new Map<number, Service>();
  /** Found in one pass for all slots that are recovered together. */
  let undone: ReadonlyMap<number, readonly ListKey[]> = new Map();

  async function stop({ slot }: OwnedSlot): Promise<void> {
    const service = services.get(slot);
    services.delete(slot);
    await service?.stop();
  }

  return {
    recover: async (slots) => {
      await recoverAll(world, slots);
      undone = undoneIn(world.rows);
    },
    serve: (slot) => {
      lists.serve(slot);
      bounces.serve(slot);
      suspicion.serve(slot);
      services.set(slot.slot, startService(slot, needs));
      for (const key of undone.get(slot.slot) ?? []) lists.resume(key);
    },
    drain: async (slot) => {
      await stop(slot);
      await Promise.all([lists.drain(slot), bounces.drain(slot)]);
    },
    drop: (slot) => {
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

function startService(slot: OwnedSlot, { world, lists, answer, fatal }: Needs): Service {
  const { enqueue, waiting: inHand, isSetAside, turned } = lists;
  const leaving = endWith(slot.signal);
  const mailbox = followMailbox(
    slot.slot,
    { world, enqueue, inHand, isSetAside, turned, fatal },
    leaving.signal,
  );
  const asks = world.serveAsks(slot.slot, answer);
  const stop = async (): Promise<void> => {
    leaving.end();
    await asks.close();
  };
  return { mailbox, stop };
}

async function recoverAll(world: HostWorld, slots: readonly OwnedSlot[]): Promise<void> {
  if (slots.length === 0) return;
  const began = world.clock.monotonic();
  const records = await recover(world, slots, (done, seq) =>
    world.log.info({ done, seq }, 'host: folding the ledger'),
  );
  const tookMs = Math.round(world.clock.monotonic() - began);
  world.log.info({ slots: slots.length, records, tookMs }, 'host: recovered');
}

/** Lists whose outboxes an owner before left undone, by slot. */
function undoneIn(rows: Rows): ReadonlyMap<number, readonly ListKey[]> {
  const undone = new Map<number, ListKey[]>();
  for (const key of listKeys(rows)) {
    if (openDraft(rows, key, 0).head().waiting === 0) continue;
    undone.set(slotOf(key), [...(undone.get(slotOf(key)) ?? []), key]);
  }
  return undone;
}
