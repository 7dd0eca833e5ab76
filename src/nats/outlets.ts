/** Where runners and the host put things: mailboxes, outgoing, results, and what is set aside. */
import { assert } from '../assert.ts';
import { EVENTS_MAX, encodeBounceEvent, joinBounceEvents } from '../mail/bounce-event.ts';
import { chunkName, isLater, type OrderRow } from '../mail/chunk.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { BouncesOut, MailboxOut, OutgoingOut, Parked, Results } from '../world.ts';
import { decodeOrder, encodeAsked, encodeChunk, encodeOrder } from './codec.ts';
import type { Nats } from './connect.ts';
import { eachOrBatch, joined, storeInGroups } from './groups.ts';
import { MAIL_HEADERS } from './mail-message.ts';
import { FROM_SEQ, FROM_SUBJECT, WHY } from './parked.ts';
import { type BatchMessage, type Publisher, WrongSequence } from './publisher.ts';
import { decodeResult, encodeResult } from './result-codec.ts';
import { away, storedMessage } from './stored.ts';
import * as subjects from './subjects.ts';

/**
 * From this many chunks on a batch is faster than one by one: 10,000/s against 4,500/s (design §3).
 */
export const BATCH_FROM = 64;

/** From so many on a batch of them is stored sooner than each of them (bench bounces). */
export const BOUNCES_BATCH_FROM = 16;

/** The same id for the same list within 2 minutes is one message; later `seen` tells. */
export function mailboxOut<C>(publisher: Publisher): MailboxOut<C> {
  return {
    async put(key, asked) {
      const id = `${key}.${asked.id}`;
      await publisher.publish(subjects.mailbox(key), encodeAsked(asked), { id });
    },
  };
}

/**
 * Bounces of a list that come at once are stored as one message. One told twice counts once in the fold; the Msg-Id only saves it
 * the work. What a list did is rare, and a message of its own.
 */
export function bouncesOut(nats: Nats, publisher: Publisher): BouncesOut {
  const join = {
    of: (each: readonly BatchMessage[]) => ({
      data: joinBounceEvents(each.map(({ data }) => data)),
    }),
    most: EVENTS_MAX,
  };
  const store = storeInGroups(nats, joined(join, eachOrBatch(publisher, BOUNCES_BATCH_FROM)));
  return {
    async put(key, event) {
      const subject = subjects.bounces(key);
      const [data, id] = [encodeBounceEvent(event), `${key}.${event.id}`];
      if (event.type === 'standing') await publisher.publish(subject, data, { id });
      else await store({ subject, data, id });
    },
  };
}

/** A chunk's Msg-Id is its name, so putting it again within 2 hours changes nothing. */
export function outgoingOut(publisher: Publisher): OutgoingOut {
  return {
    async put(chunks) {
      const messages = chunks.map((chunk) => ({
        subject: subjects.outgoing(chunk.class),
        data: encodeChunk(chunk),
        id: chunkName(chunk),
      }));
      if (messages.length >= BATCH_FROM) return publisher.publishBatch(messages);
      await Promise.all(
        messages.map(({ subject, data, id }) => publisher.publish(subject, data, { id })),
      );
    },
  };
}

/**
 * What became of each recipient of a chunk, as last told. Throws `BadMessage` where that is not
 * ours.
 */
export function resultsOf(nats: Nats, publisher: Publisher): Results {
  return {
    async last(id) {
      const found = await storedMessage(nats, 'TROUPE_RESULTS', {
        last_by_subj: subjects.results(id),
      });
      return found === null ? null : decodeResult(found.data);
    },
    async isUntold(key, post) {
      const last = { last_by_subj: subjects.toldOfPost(key, post) };
      return (await storedMessage(nats, 'TROUPE_RESULTS', last)) === null;
    },
    async tell(id, result) {
      await publisher.publish(subjects.results(id), encodeResult(result));
    },
    orderOf: async (key, post) => (await lastOrder(nats, key, post)).order,
    async order(key, post, row) {
      const last = await lastOrder(nats, key, post);
      if (!isLater(row, last)) return;
      const data = encodeOrder(row);
      // One that comes late, after a doubt, finds another last than it expects, and changes nothing.
      await publisher
        .publish(subjects.postOrder(key, post), data, { expectLast: last.seq })
        .catch((error: unknown) => {
          throw error instanceof WrongSequence ? away(error) : error;
        });
    },
  };
}

/** The order that stands, and its sequence; 0 and `go` where nobody gave one. */
async function lastOrder(
  nats: Nats,
  key: ListKey,
  post: string,
): Promise<OrderRow & { readonly seq: number }> {
  const subject = subjects.postOrder(key, post);
  const found = await storedMessage(nats, 'TROUPE_RESULTS', { last_by_subj: subject });
  return found === null
    ? { order: 'go', n: -1, index: 0, seq: 0 }
    : { ...decodeOrder(found.data), seq: found.seq };
}

const WHERE = /^[a-z]+$/;
/** Parts of a large mail, parked before the mail that names them. */
const PART = 'part';
const WHY_LENGTH_MAX = 500;
const PARTS_MAX = 1_000;

/**
 * Sets a message aside whole: its payload, its headers, and the parts of a large mail, because MAIL
 * forgets them sooner than PARKED. A part names in Troupe-From-Seq the sequence that Troupe-Parts
 * calls it by.
 */
export function parkedOut(nats: Nats, publisher: Publisher): Parked {
  const park = (where: string, from: From, data: Uint8Array, headers: Headers): Promise<unknown> =>
    publisher.publish(subjects.parked(where), data, {
      headers: { ...headers, [FROM_SUBJECT]: from.subject, [FROM_SEQ]: String(from.seq) },
    });
  return {
    async put(where, delivery, why) {
      assert(WHERE.test(where), 'where is not one token of letters');
      const headers: Record<string, string> = { [WHY]: oneLine(why) };
      for (const name of MAIL_HEADERS) {
        const value = delivery.header(name);
        if (value !== '') headers[name] = value;
      }
      for (const seq of partsNamed(delivery.header('Troupe-Parts'))) {
        const part = await storedMessage(nats, 'TROUPE_MAIL', { seq });
        if (part?.subject !== subjects.MAIL_PART) continue; // Gone, or never ours.
        await park(PART, part, part.data, { [WHY]: `part of ${delivery.subject} ${delivery.seq}` });
      }
      await park(where, delivery, delivery.data, headers);
    },
  };
}

type From = { readonly subject: string; readonly seq: number };
type Headers = Readonly<Record<string, string>>;

/** A header value has one line of plain text; reasons come from anything thrown. */
function oneLine(text: string): string {
  return text
    .replaceAll(/[^\x21-\x7e]+/g, ' ')
    .trim()
    .slice(0, WHY_LENGTH_MAX);
}

/** Whatever stands there: what cannot be read must be parked too. */
function partsNamed(header: string): readonly number[] {
  if (header === '') return [];
  try {
    const parts: unknown = JSON.parse(header);
    if (!Array.isArray(parts)) return [];
    return parts.filter((seq) => Number.isSafeInteger(seq) && seq > 0).slice(0, PARTS_MAX);
  } catch {
    return [];
  }
}
