/**
 * Reading a stream in order by a passing consumer: one that acknowledges nothing and lives in the
 * server's memory. It ends, or throws {@link PullLost} as soon as something may have been missed;
 * whoever reads opens another where this one was.
 */
import { nuid } from 'nats';
import type { StoredRecord } from '../world.ts';
import type { Nats } from './connect.ts';
import { numbersOf, PullLost, pull } from './pull.ts';
import { apiRequest, away, failure } from './stored.ts';
import type { StreamName } from './streams.ts';

/** Messages on their way to a reader, and their bytes. */
const READ_AHEAD = 1_000;
const READ_BYTES_MAX = 4 * 1024 * 1024;
/** The server forgets a reader that it has not heard of for this long, ms. */
const FORGOTTEN_MS = 30_000;

export type Found = StoredRecord & { readonly subject: string };

export type Passing = {
  readonly stream: StreamName;
  readonly subjects: readonly string[];
  /** Called once all that was there when it was opened has been taken. */
  readonly caughtUp?: () => void;
};

/**
 * One passing consumer's worth of reading; moves `reached` with each message that was taken. Without a signal it ends at the
 * last one there is, with one when it aborts.
 */
export async function* passing(
  nats: Nats,
  { stream, subjects, caughtUp }: Passing,
  reached: { seq: number },
  signal?: AbortSignal,
): AsyncGenerator<Found, void, void> {
  const consumer = `read_${nuid.next()}`;
  let left = await open(nats, stream, consumer, subjects, reached.seq);
  if (left === 0) caughtUp?.();
  if (left === 0 && signal === undefined) return;
  const source = {
    stream,
    consumer,
    kind: 'passing',
    ahead: READ_AHEAD,
    bytesMax: READ_BYTES_MAX,
  } as const;
  let count = 0;
  try {
    for await (const msg of pull(nats, source, signal ?? new AbortController().signal)) {
      const numbers = numbersOf(msg);
      count += 1;
      if (numbers.count !== count) throw new PullLost('a message was missed on the way');
      reached.seq = numbers.seq;
      left -= 1;
      yield { subject: msg.subject, seq: numbers.seq, bytes: msg.data };
      if (left === 0) caughtUp?.();
      if (signal === undefined && (left === 0 || numbers.pending === 0)) return;
    }
  } finally {
    if (nats.isConnected()) nats.nc.publish(`$JS.API.CONSUMER.DELETE.${stream}.${consumer}`);
  }
}

/** Makes a consumer that lives in the server's memory; returns how many messages it will give. */
async function open(
  nats: Nats,
  stream: StreamName,
  consumer: string,
  subjects: readonly string[],
  after: number,
): Promise<number> {
  if (!nats.isConnected()) throw away(new Error('not connected'));
  const answer = await apiRequest(nats, `$JS.API.CONSUMER.CREATE.${stream}.${consumer}`, {
    stream_name: stream,
    config: {
      name: consumer,
      filter_subjects: subjects,
      deliver_policy: 'by_start_sequence',
      opt_start_seq: after + 1,
      ack_policy: 'none',
      max_deliver: 1,
      inactive_threshold: FORGOTTEN_MS * 1e6,
      mem_storage: true,
      num_replicas: 1,
    },
  });
  if (answer.error !== undefined) throw failure(answer.error);
  return Number(answer.num_pending);
}
