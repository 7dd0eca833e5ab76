/**
 * Messages of one stream, stored in groups: what comes while one group is being stored is the next.
 *
 * A server that syncs its disk does so once for each message, or four times for an atomic batch of any size (measured on
 * 2.15.1): so those who have many to store wait for a few syncs rather than for one each.
 */
import type { Nats } from './connect.ts';
import type { BatchMessage, Publisher } from './publisher.ts';
import { away } from './stored.ts';

/** The server makes a directory for each batch: below this, syncing each message costs it less. */
export const GROUP_BATCH_FROM = 16;
/** Those who wait for one answer; the next group is not far. */
const GROUP_MAX = 256;
/** Past that a caller is told to come again later. */
const WAITING_MAX = 10_000;

type Waiting = {
  readonly message: BatchMessage;
  readonly resolve: (stored: Promise<unknown>) => void;
};

/** What it returns resolves when the message is durable, and throws as `Publisher.publish` does. */
export function storeInGroups(
  { soon }: Pick<Nats, 'soon'>,
  publisher: Pick<Publisher, 'publish' | 'publishBatch'>,
): (message: BatchMessage) => Promise<unknown> {
  const waiting: Waiting[] = [];
  let isStoring = false;

  function storeNext(): void {
    const group = waiting.splice(0, GROUP_MAX);
    isStoring = group.length > 0;
    if (!isStoring) return;
    const stored = storeGroup(group, publisher);
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

/** One promise for each, or the same for all where they are a batch. */
function storeGroup(
  group: readonly Waiting[],
  { publish, publishBatch }: Pick<Publisher, 'publish' | 'publishBatch'>,
): readonly Promise<unknown>[] {
  const messages = group.map(({ message }) => message);
  if (messages.length < GROUP_BATCH_FROM)
    return messages.map((message) => publish(message.subject, message.data, message));
  const stored = publishBatch(messages);
  return messages.map(() => stored);
}
