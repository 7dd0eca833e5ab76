/**
 * Durable publishing: JetStream's acknowledgements over plain publishes and one reply inbox.
 *
 * Ten times cheaper than `js.publish` (measured.md). What was not acknowledged is in doubt, never
 * known to be absent: a caller that gets 451 may find it stored.
 */
import { type Msg, type MsgHdrs, headers as newHeaders, nuid } from 'nats';
import { systemClock } from '../clock.ts';
import { MailError } from '../errors.ts';
import { crashPoint } from '../failpoint.ts';
import type { Nats } from './connect.ts';
import { createSilence } from './silence.ts';
import { away, failure } from './stored.ts';
import { type Load, openWindow, type Window } from './window.ts';

export type Acknowledged = {
  /** Where it is stored; for a duplicate, where the first one is. */
  readonly seq: number;
  /** True if the stream already had a message with this id. */
  readonly duplicate: boolean;
};

export type PublishOptions = {
  /** Nats-Msg-Id: the stream keeps one of those with the same id within its duplicate window. */
  readonly id?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * Stores only if this is the last sequence of the subject, 0 for none; else {@link
   * WrongSequence}.
   */
  readonly expectLast?: number;
};

/** One message of a batch. */
export type BatchMessage = {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly id?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

export type Publisher = {
  /**
   * Resolves when the message is durable. Throws MailError 452 4.3.1 when the stream is full, 451
   * 4.3.0 when NATS is away or did not answer in time, 552 5.3.4 when it is too large, and {@link
   * WrongSequence}.
   */
  publish(subject: string, data: Uint8Array, options?: PublishOptions): Promise<Acknowledged>;
  /**
   * Publishes messages of one stream that allows it as atomic batches (NATS ADR-50), in order;
   * twice as fast as one by one. With ids, calling it again after a failure stores nothing twice.
   * Throws as `publish`; some batches may be stored then.
   */
  publishBatch(messages: readonly BatchMessage[]): Promise<void>;
  load(): Load;
  /** The kinds of subject (`mail`, `ledger`) that the server takes and does not acknowledge. */
  silent(): readonly string[];
  /** Refuses all that is open with 451; for shutdown. */
  close(): void;
};

/** The subject's last sequence is another than the caller expected. Nothing was stored. */
export class WrongSequence extends Error {
  override readonly name = 'WrongSequence';
}

/** Answers outstanding at most; the server's disk is busy long before this many wait. */
export const WINDOW_MAX = 512;
/** How long an answer may take, ms; a full disk gives none at all (reliability §0.8). */
export const PUBLISH_MS_MAX = 5_000;
/** The server's limit of one atomic batch (err 10199 above it). */
export const BATCH_MESSAGES_MAX = 1_000;
/** A batch is held by the server until its commit; this bounds what one takes. */
const BATCH_BYTES_MAX = 8 * 1024 * 1024;
/** How often, and at what distance, what was answered "just now" is tried again. */
const BUSY_TRIES_MAX = 10;
const BUSY_WAIT_MS = 50;

/** Error numbers of the server (server/errors.json), by what they mean to us. */
const WRONG_SEQUENCE = [10_071, 10_164];
const FULL = [10_002, 10_023, 10_028, 10_047, 10_077];
const TOO_LARGE = [10_054, 10_097];
/** The same id is being stored this moment; too many batches are open. */
const BUSY = [10_158, 10_210];
/**
 * A batch has an id that the stream has; batches are not allowed; a batch was not whole when it was
 * committed.
 */
const NOT_AS_BATCH = [10_201, 10_174, 10_176];

type Outcome = Acknowledged | 'busy' | 'not-as-batch';

export function createPublisher(
  nats: Nats,
  limits: { readonly windowMax?: number; readonly timeoutMs?: number } = {},
): Publisher {
  const window = openWindow(
    nats,
    limits.windowMax ?? WINDOW_MAX,
    limits.timeoutMs ?? PUBLISH_MS_MAX,
  );
  const { isConnected } = nats;
  const silence = createSilence({ monotonic: systemClock.monotonic, isConnected });
  const forget = nats.onChange(silence.forget);
  const publish: Publisher['publish'] = async (subject, data, options) => {
    const headers = headersOf(options);
    crashPoint('publish', subject);
    const once = () => publishOnce(nats, window, subject, data, headers);
    const outcome = await silence.watch(subject, () => patiently(once));
    crashPoint('stored', subject);
    if (outcome === 'not-as-batch') throw away(new Error('answered as a batch'));
    return outcome;
  };
  return {
    publish,
    async publishBatch(messages) {
      for (const batch of batchesOf(messages)) {
        const first = batch[0]?.subject ?? '';
        const outcome =
          batch.length === 1
            ? 'not-as-batch'
            : await silence.watch(first, () => patiently(() => publishAtOnce(nats, window, batch)));
        crashPoint('stored', first);
        if (outcome !== 'not-as-batch') continue;
        // Some or all of it is there already: one by one, the ids sort out which.
        await Promise.all(batch.map((message) => publish(message.subject, message.data, message)));
      }
    },
    load: window.load,
    silent: silence.silent,
    close() {
      forget();
      window.close();
    },
  };
}

async function patiently(attempt: () => Promise<Outcome>): Promise<Exclude<Outcome, 'busy'>> {
  for (let tries = 1; tries <= BUSY_TRIES_MAX; tries++) {
    const outcome = await attempt();
    if (outcome !== 'busy') return outcome;
    await new Promise((resolve) => setTimeout(resolve, BUSY_WAIT_MS * tries));
  }
  throw away(new Error('the server stays busy with this id or with other batches'));
}

async function publishOnce(
  nats: Nats,
  window: Window,
  subject: string,
  data: Uint8Array,
  headers: MsgHdrs | null,
): Promise<Outcome> {
  const answer = await window.send((reply) =>
    write(nats, subject, data, headers === null ? { reply } : { reply, headers }),
  );
  return outcomeOf(answer);
}

/** Only the commit asks for an answer: it tells of the whole batch. */
async function publishAtOnce(
  nats: Nats,
  window: Window,
  batch: readonly BatchMessage[],
): Promise<Outcome> {
  const batchId = nuid.next();
  const answer = await window.send((reply) => {
    for (const [index, message] of batch.entries()) {
      const headers = headersOf(message) ?? newHeaders();
      headers.append('Nats-Batch-Id', batchId);
      headers.append('Nats-Batch-Sequence', String(index + 1));
      const isLast = index === batch.length - 1;
      if (isLast) headers.append('Nats-Batch-Commit', '1');
      write(nats, message.subject, message.data, isLast ? { reply, headers } : { headers });
    }
  });
  return outcomeOf(answer);
}

/** Cuts at the server's limit of messages, and at ours of bytes. */
function* batchesOf(messages: readonly BatchMessage[]): Generator<readonly BatchMessage[]> {
  let batch: BatchMessage[] = [];
  let bytes = 0;
  for (const message of messages) {
    const isFull = bytes + message.data.length > BATCH_BYTES_MAX;
    if (batch.length > 0 && (isFull || batch.length === BATCH_MESSAGES_MAX)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(message);
    bytes += message.data.length;
  }
  if (batch.length > 0) yield batch;
}

/** The headers of a publish; null for none, which saves the server and us a header block. */
function headersOf(options: PublishOptions | undefined): MsgHdrs | null {
  if (options === undefined) return null;
  const { id, headers, expectLast } = options;
  if (id === undefined && headers === undefined && expectLast === undefined) return null;
  const made = newHeaders();
  if (id !== undefined) made.append('Nats-Msg-Id', id);
  if (expectLast !== undefined) {
    made.append('Nats-Expected-Last-Subject-Sequence', String(expectLast));
  }
  for (const name in headers) made.append(name, headers[name] ?? '');
  return made;
}

function write(
  nats: Nats,
  subject: string,
  data: Uint8Array,
  options: { reply?: string; headers?: MsgHdrs },
): void {
  try {
    nats.nc.publish(subject, data, options);
  } catch (error) {
    // The client library throws for what it would not send: too large, or after a close.
    if ((error as { code?: unknown }).code === 'MAX_PAYLOAD_EXCEEDED') throw tooLarge(error);
    throw away(error);
  }
}

const decoder = new TextDecoder();

type Answer = {
  readonly seq?: unknown;
  readonly duplicate?: unknown;
  readonly error?: {
    readonly code: number;
    readonly err_code?: number;
    readonly description?: string;
  };
};

/**
 * What an answer means; throws what it means to mail. No responders and anything that is no JSON is
 * doubt.
 */
function outcomeOf(msg: Msg): Outcome {
  if (msg.data.length === 0) throw away(new Error(`status ${msg.headers?.code ?? 'unknown'}`));
  let answer: Answer;
  try {
    answer = JSON.parse(decoder.decode(msg.data)) as Answer;
  } catch (error) {
    throw away(error);
  }
  const { seq, duplicate, error } = answer;
  if (error !== undefined) return outcomeOfError(error);
  if (typeof seq !== 'number') throw away(new Error('the answer names no sequence'));
  // A duplicate of nothing: an id and an expected sequence combined give it (reliability §0.4).
  if (seq === 0) return 'busy';
  return { seq, duplicate: duplicate === true };
}

function outcomeOfError(error: NonNullable<Answer['error']>): Outcome {
  const number = error.err_code ?? 0;
  if (BUSY.includes(number)) return 'busy';
  if (NOT_AS_BATCH.includes(number)) return 'not-as-batch';
  if (WRONG_SEQUENCE.includes(number)) throw new WrongSequence(error.description ?? '');
  const cause = failure(error).cause;
  if (FULL.includes(number)) throw new MailError(452, '4.3.1', 'Mail system is full', cause);
  if (TOO_LARGE.includes(number)) throw tooLarge(cause);
  throw failure(error);
}

function tooLarge(cause: unknown): MailError {
  return new MailError(552, '5.3.4', 'Message is too large', cause);
}
