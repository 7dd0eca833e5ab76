/**
 * What a node does for a slot that is its own (`actors/slot.ts`): folds what its rows lack, then takes from its mailbox, answers
 * requests, lets its lists and their outboxes work and folds its bounces, until it is another's.
 */
import { endWith, within } from '../ending.ts';
import { slotOf } from '../mail/list-key.ts';
import { listKeys, openDraft } from '../store/list-rows.ts';
import type { Lists } from './awake.ts';
import type { Bounces } from './bounces.ts';
import { inSlices, recover } from './fold.ts';
import type { SlotWork } from './holding.ts';
import { followMailbox, type Mailbox } from './mailbox.ts';
import type { OwnedSlot } from './slots.ts';
import type { Suspicion } from './suspicion.ts';
import type { HostWorld } from './world.ts';

/** Handing a slot over waits so long for requests in hand; whoever is not answered by then asks the next owner. */
const ASKS_MS_MAX = 1_000;

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
  const resumeUndone = createResuming(needs);

  async function stop({ slot }: OwnedSlot): Promise<void> {
    const service = services.get(slot);
    services.delete(slot);
    await service?.stop();
  }

  return {
    recover: (slots) => recoverAll(world, slots),
    serve: (slot) => {
      lists.serve(slot);
      bounces.serve(slot);
      suspicion.serve(slot);
      services.set(slot.slot, startService(slot, needs));
      resumeUndone(slot.slot);
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
    await within(world.clock, ASKS_MS_MAX, asks.close());
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

/** Wakes the lists of a slot whose outboxes an owner before left undone; all slots of one tick in one walk over the lists. */
function createResuming({ world, lists, fatal }: Needs): (slot: number) => void {
  const { rows, nextTick } = world;
  const slots = new Set<number>();
  let isUnderWay = false;

  async function walk(): Promise<void> {
    while (slots.size > 0) {
      const served = new Set(slots);
      slots.clear();
      for await (const key of inSlices(world, listKeys(rows))) {
        const isLeftUndone = served.has(slotOf(key)) && openDraft(rows, key, 0).head().waiting > 0;
        if (isLeftUndone) lists.resume(key);
      }
    }
    isUnderWay = false;
  }

  return (slot) => {
    slots.add(slot);
    if (isUnderWay) return;
    isUnderWay = true;
    nextTick(() => void walk().catch(fatal));
  };
}
