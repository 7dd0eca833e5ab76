/**
 * Takes commands that nobody waits for from MAILBOX and hands them to the host, one consumer a slot.
 *
 * A command is acked when its turn is over. A list with too many in hand makes its slot wait a moment; if it is still no
 * further, what is above goes to LATER, so that a blocked list never stops the others of its slot. What is for a list that is set aside
 * goes there at once.
 */

import type { Command } from '../../actors/protocol.ts';
import { unreachable } from '../assert.ts';
import { endWith } from '../ending.ts';
import { textOf } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import { decodeAsked } from '../nats/codec.ts';
import { partsOf } from '../nats/subjects.ts';
import type { Asked, Delivery, Queue } from '../world.ts';
import type { Reply, Waiting } from './turn.ts';
import type { HostWorld } from './world.ts';

/** Commands of one slot that the client holds before they are handed on. */
const AHEAD = 64;
/** Commands of one list in hand (design §4). */
export const IN_HAND_MAX = 256;
/** How long a slot waits for a list that has its hands full, before it puts commands off. */
const FULL_WAIT_MS = 2_000;
/**
 * How long what a blocked list cannot take waits in LATER. Longer than MAILBOX knows an id (2 minutes): what comes back sooner would
 * be taken for what it was, and lost.
 */
const PUT_OFF_MS = 180_000;
/** `ack_wait` is 10 s. */
export const WORKING_EVERY_MS = 3_000;

export type MailboxNeeds = {
  readonly world: HostWorld;
  /** Commands in hand of a list. */
  readonly inHand: (key: ListKey) => number;
  /** It takes no turns until its operator has looked at it. */
  readonly isSetAside: (key: ListKey) => boolean;
  readonly enqueue: (key: ListKey, waiting: Waiting) => void;
  /** Resolves after the list's next turn. */
  readonly turned: (key: ListKey) => Promise<void>;
  readonly fatal: (error: unknown) => void;
};

export type Mailbox = {
  inHand(): number;
  /** Renews what is in hand; to be called every {@link WORKING_EVERY_MS}. */
  renew(): void;
};

/** Follows the mailbox of one slot until the signal aborts; what is in hand then is given back. */
export function followMailbox(slot: number, needs: MailboxNeeds, signal: AbortSignal): Mailbox {
  const inHand = new Set<Delivery>();
  follow(needs.world.mailbox(slot), needs, inHand, signal).catch(needs.fatal);
  signal.addEventListener('abort', () => {
    for (const delivery of inHand) delivery.giveBack();
  });
  return {
    inHand: () => inHand.size,
    renew: () => {
      for (const delivery of inHand) delivery.working();
    },
  };
}

async function follow(
  queue: Queue,
  needs: MailboxNeeds,
  inHand: Set<Delivery>,
  signal: AbortSignal,
): Promise<void> {
  for await (const delivery of queue.take(AHEAD, signal)) {
    const parts = partsOf(delivery.subject);
    const asked = read(delivery);
    if (parts === null || parts.whose === 'owner' || typeof asked === 'string') {
      await park(needs.world, delivery, typeof asked === 'string' ? asked : 'no list key');
      continue;
    }
    const key = parts.whose;
    const isRoom = !needs.isSetAside(key) && (await hasRoom(key, needs, signal));
    // The slot's next owner must not have to wait for ack_wait.
    if (signal.aborted) return delivery.giveBack();
    if (!isRoom) {
      await putOff(needs.world, key, asked, delivery);
      continue;
    }
    inHand.add(delivery);
    const reply = (outcome: Reply): void => {
      void settle(needs.world, delivery, outcome).finally(() => inHand.delete(delivery));
    };
    needs.enqueue(key, { asked, bytes: delivery.data.length, reply });
    await needs.world.yields();
  }
}

function read(delivery: Delivery): Asked<Command> | string {
  try {
    return decodeAsked(delivery.data);
  } catch (error) {
    return textOf(error);
  }
}

async function hasRoom(key: ListKey, needs: MailboxNeeds, signal: AbortSignal): Promise<boolean> {
  const { clock } = needs.world;
  if (needs.inHand(key) < IN_HAND_MAX) return true;
  const waited = endWith(signal);
  const tooLong = clock.sleep(FULL_WAIT_MS, waited.signal);
  let isOver = false;
  void tooLong.then(() => {
    isOver = true;
  });
  while (needs.inHand(key) >= IN_HAND_MAX && !isOver)
    await Promise.race([needs.turned(key), tooLong]);
  waited.end();
  return needs.inHand(key) < IN_HAND_MAX;
}

/** Not acked until LATER has it: a crash between the two delivers it once more, and `seen` knows it. */
async function putOff(
  world: HostWorld,
  key: ListKey,
  asked: Asked<Command>,
  delivery: Delivery,
): Promise<void> {
  try {
    const due = world.clock.now() + PUT_OFF_MS;
    await world.later.put(`${key}.s${delivery.seq}`, due, { to: 'mailbox', key, asked });
    delivery.ack();
    world.meter.count('mailbox_put_off');
  } catch (error) {
    world.log.warn(
      { list: key, err: error },
      'mailbox: LATER does not take; the command comes again',
    );
  }
}

async function settle(world: HostWorld, delivery: Delivery, reply: Reply): Promise<void> {
  switch (reply.kind) {
    case 'answer':
      return delivery.ack();
    case 'refusal':
      world.log.warn({ subject: delivery.subject, why: reply.refusal.text }, 'mailbox: refused');
      return delivery.ack();
    case 'bug':
      return park(world, delivery, textOf(reply.error));
    case 'failed':
      return; // It comes again after ack_wait.
    default:
      return unreachable(reply);
  }
}

async function park(world: HostWorld, delivery: Delivery, why: string): Promise<void> {
  try {
    await world.parked.put('mailbox', delivery, why);
    delivery.ack();
    world.log.error({ subject: delivery.subject, seq: delivery.seq, why }, 'mailbox: parked');
  } catch (error) {
    world.log.warn({ err: error }, 'mailbox: could not park; the command comes again');
  }
}
