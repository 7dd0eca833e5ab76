/**
 * Messages of one stream, stored in groups: what comes while one group is being stored is the next.
 *
 * So a flood of small messages takes few turns of the event loop, and few writes and reads of the connection, instead of some
 * for each message; and nothing waits while there is little to do.
 */
import { assert } from '../assert.ts';
import { MailError } from '../errors.ts';
import type { Nats } from './connect.ts';
import type { BatchMessage, Publisher } from './publisher.ts';
import { away } from './stored.ts';

/** Of one group: the next is not far, and large messages gain nothing. */
const GROUP_MAX = 256;
const GROUP_BYTES_MAX = 1024 * 1024;
/** A joined message is no larger than that. */
const JOINED_BYTES_MAX = 256 * 1024;
/** Past that a caller is told to come again later. */
const WAITING_MAX = 10_000;

type Waiting = {
  readonly message: BatchMessage;
  readonly resolve: (stored: Promise<unknown>) => void;
};

/** Stores a group; of each of its messages a promise that resolves when it is durable, and rejects as `Publisher.publish` does. */
export type StoreGroup = (messages: readonly BatchMessage[]) => readonly Promise<unknown>[];

/** What it returns resolves when the message is durable, and throws as `Publisher.publish` does. */
export function storeInGroups(
  { soon }: Pick<Nats, 'soon'>,
  storeGroup: StoreGroup,
): (message: BatchMessage) => Promise<unknown> {
  const waiting: Waiting[] = [];
  let isStoring = false;

  function storeNext(): void {
    const group = waiting.splice(0, sizeOfNext(waiting));
    isStoring = group.length > 0;
    if (!isStoring) return;
    const stored = storeGroup(group.map(({ message }) => message));
    // Whoever had one in this group may have another at once, which is to be in the next.
    void Promise.allSettled(stored).then(() => soon(storeNext));
    for (const [i, { resolve }] of group.entries()) resolve(stored[i] ?? Promise.resolve());
  }

  return (message) => {
    if (waiting.length >= WAITING_MAX) return Promise.reject(away(new Error('too many wait')));
    if (!isStoring) soon(storeNext);
    isStoring = true;
    return new Promise((resolve) => waiting.push({ message, resolve }));
  };
}

/** How many of them are one group: at least one, if there is any. */
function sizeOfNext(waiting: readonly Waiting[]): number {
  let bytes = 0;
  const end = waiting.findIndex(({ message: { data } }, i) => {
    bytes += data.byteLength;
    return i === GROUP_MAX || (i > 0 && bytes > GROUP_BYTES_MAX);
  });
  return end === -1 ? waiting.length : end;
}

type Stores = Pick<Publisher, 'publish' | 'publishBatch'>;

/**
 * A group of `batchFrom` or more is an atomic batch, for streams that allow one. The server syncs its disk four times for a
 * batch, and once for a message, but makes and removes files for a batch: a small one costs more than its messages.
 */
export function eachOrBatch(publisher: Stores, batchFrom: number): StoreGroup {
  return (messages) => (messages.length < batchFrom ? storeEach : storeBatch)(messages, publisher);
}

function storeEach(messages: readonly BatchMessage[], { publish }: Stores) {
  return messages.map((message) => publish(message.subject, message.data, message));
}

function storeBatch(messages: readonly BatchMessage[], { publish, publishBatch }: Stores) {
  const stored = publishBatch(messages).then(
    () => null,
    (error: unknown) => error,
  );
  return messages.map(async (message) => {
    const error = await stored;
    if (error === null) return;
    if (error instanceof MailError && error.isTransient) throw error;
    // One of them cannot be stored at all: the others are not refused for it.
    await publish(message.subject, message.data, message);
  });
}

/** How messages of one subject become one (decision 0020). */
export type Join = {
  readonly of: (messages: readonly BatchMessage[]) => Pick<BatchMessage, 'data' | 'headers'>;
  /** In one message at most. */
  readonly most: number;
};

function bytesOf({ data, headers = {} }: BatchMessage): number {
  return Object.values(headers).reduce((sum, { length }) => sum + length, data.byteLength);
}

type Joint = { readonly at: number; readonly of: BatchMessage[]; bytes: number };

/**
 * Those of one subject become one message, for which the server syncs its disk once; of {@link JOINED_BYTES_MAX} at most, or
 * alone. What is joined has no id: what is told twice is sorted out by whoever reads it.
 */
export function joined({ of: join, most }: Join, storeGroup: StoreGroup): StoreGroup {
  const messageOf = ({ of }: Joint): BatchMessage => {
    const [first, ...more] = of;
    assert(first !== undefined, 'a joint has a message');
    if (more.length === 0) return first;
    return { subject: first.subject, ...join(of) };
  };
  return (messages) => {
    const joints: Joint[] = [];
    const open = new Map<string, Joint>();
    const jointOf = (message: BatchMessage): Joint => {
      const there = open.get(message.subject);
      const bytes = (there?.bytes ?? 0) + bytesOf(message);
      if (there !== undefined && there.of.length < most && bytes <= JOINED_BYTES_MAX) return there;
      const made = { at: joints.length, of: [], bytes: 0 };
      joints.push(made);
      open.set(message.subject, made);
      return made;
    };
    const places = messages.map((message) => {
      const joint = jointOf(message);
      joint.of.push(message);
      joint.bytes += bytesOf(message);
      return joint.at;
    });
    const stored = storeGroup(joints.map(messageOf));
    return places.map((at) => stored[at] ?? Promise.resolve());
  };
}
