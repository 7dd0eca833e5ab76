/** Queues: durable pull consumers, by what they carry. */
import type { Msg } from 'nats';
import { crashPoint } from '../failpoint.ts';
import { CLASSES, type Class } from '../mail/chunk.ts';
import type { MailKind } from '../mail/envelope.ts';
import type { Delivery, OutgoingQueues, Queue } from '../world.ts';
import type { Nats } from './connect.ts';
import { ACK, NAK, numbersOf, pull, respond, WORKING } from './pull.ts';
import { apiRequest, failure } from './stored.ts';
import {
  DUE_DURABLE,
  mailboxDurable,
  mailDurable,
  outgoingDurable,
  type StreamName,
} from './streams.ts';

/**
 * A durable that `ensureStreams` made. `take` waits through lost connections and restarts; at its
 * end it gives back what it held and had not yielded. What was yielded is the caller's to ack or
 * give back.
 */
export function openQueue(nats: Nats, stream: StreamName, durable: string): Queue {
  return {
    name: durable,
    async *take(ahead, signal) {
      const source = { stream, consumer: durable, kind: 'durable', ahead, bytesMax: 0 } as const;
      for await (const msg of pull(nats, source, signal)) yield deliveryOf(nats, msg);
    },
    async depth() {
      const answer = await apiRequest(nats, `$JS.API.CONSUMER.INFO.${stream}.${durable}`, {});
      if (answer.error !== undefined) throw failure(answer.error);
      return {
        waiting: Number(answer.num_pending),
        inHand: Number(answer.num_ack_pending),
      };
    },
  };
}

/** Mail of one kind, as the edge stored it. */
export function mailQueue(nats: Nats, kind: MailKind): Queue {
  return openQueue(nats, 'TROUPE_MAIL', mailDurable(kind));
}

/** Commands for the lists of one slot; taken by its owner only. */
export function mailboxQueue(nats: Nats, slot: number): Queue {
  return openQueue(nats, 'TROUPE_MAILBOX', mailboxDurable(slot));
}

/** Chunks of one class. */
export function outgoingQueue(nats: Nats, cls: Class): Queue {
  return openQueue(nats, 'TROUPE_OUTGOING', outgoingDurable(cls));
}

/** All four, by class. */
export function outgoingQueues(nats: Nats): OutgoingQueues {
  return Object.fromEntries(CLASSES.map((cls) => [cls, outgoingQueue(nats, cls)])) as Record<
    Class,
    Queue
  >;
}

/** What waited in LATER and is due. */
export function dueQueue(nats: Nats): Queue {
  return openQueue(nats, 'TROUPE_LATER', DUE_DURABLE);
}

/**
 * A delivery of an earlier process on this node, made ours by its stored ack subject: the server
 * does not care who acks. Its headers are gone; chunks have none that matter.
 */
export function adopt(nats: Nats, ackToken: string, data: Uint8Array): Delivery {
  return deliveryOf(nats, { subject: '', reply: ackToken, data });
}

type Message = Pick<Msg, 'subject' | 'data'> & {
  readonly reply?: string;
  readonly headers?: Msg['headers'];
};

function deliveryOf(nats: Nats, msg: Message): Delivery {
  const { seq, deliveries, storedAt } = numbersOf(msg);
  return {
    ackToken: msg.reply ?? '',
    subject: msg.subject,
    seq,
    deliveries,
    storedAt,
    data: msg.data,
    header: (name) => msg.headers?.get(name) ?? '',
    ack: () => {
      crashPoint('ack', msg.subject);
      respond(nats, msg, ACK);
    },
    working: () => respond(nats, msg, WORKING),
    giveBack: () => respond(nats, msg, NAK),
  };
}
