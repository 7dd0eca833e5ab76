/**
 * A tail: what a stream holds on a subject above a sequence, then each new message, without end.
 *
 * A push consumer that acknowledges nothing and lives in the server's memory. It is thrown away and
 * made again after the last sequence seen whenever it may have missed something: the connection was
 * lost, its heartbeats stopped, or a number is missing in its count. So a reader sees every message
 * once, in order, whatever happens to the server meanwhile.
 */
import { createInbox, type Msg, type MsgHdrs, nuid, type Subscription } from 'nats';
import { systemClock } from '../clock.ts';
import { MailError, ReplacedError, textOf } from '../errors.ts';
import type { Nats } from './connect.ts';
import { lookAgain } from './look-again.ts';
import { numbersOf } from './pull.ts';
import { apiRequest, failure, type Stored } from './stored.ts';

/** The server speaks at least this often when nothing is published, ms. */
const HEARTBEAT_MS = 2_000;
/** After this long a silence the consumer is taken for lost, ms. */
const SILENCE_MS_MAX = 3 * HEARTBEAT_MS;
/** The server forgets a consumer that nobody listens to, ms. */
const FORGOTTEN_MS = 30_000;
const REOPEN_DELAY_MS = 100;
const REOPEN_DELAY_MS_MAX = 2_000;

export type TailOf = {
  readonly stream: string;
  /** May have wildcards. */
  readonly subject: string;
  /** Starts above this sequence; 0 for all there is. */
  readonly after: number;
  /** Leaves the payloads on the server. */
  readonly headersOnly?: boolean;
};

/**
 * All there is, then `ready` once, then each new message until the signal aborts. While NATS is
 * away it waits. Throws only {@link ReplacedError}: the stream is another than it was, or shorter
 * than what was already read.
 */
export async function* tail(
  nats: Nats,
  of: TailOf,
  signal: AbortSignal,
): AsyncGenerator<Stored | 'ready', void, void> {
  const known: Known = { last: of.after, madeAt: null };
  let isReady = false;
  while (!signal.aborted) {
    const session = await openPatiently(nats, of, known, signal);
    if (session === null) return;
    try {
      if (!isReady && session.pending === 0) {
        isReady = true;
        yield 'ready';
      }
      for (;;) {
        const next = await session.next();
        if (next === null) break;
        known.last = next.seq;
        yield next;
        if (!isReady && (next.pending === 0 || next.count >= session.pending)) {
          isReady = true;
          yield 'ready';
        }
      }
    } finally {
      session.close();
    }
  }
}

/** What is known of the stream: the last sequence that was read, and when it was made. */
type Known = { last: number; madeAt: string | null };
type Counted = Stored & { readonly pending: number; readonly count: number };
type Session = {
  /** Messages that were there when it was opened. */
  readonly pending: number;
  /** Null when the session is over and another must be opened, or the signal aborted. */
  next(): Promise<Counted | null>;
  close(): void;
};

async function openPatiently(
  nats: Nats,
  of: TailOf,
  known: Known,
  signal: AbortSignal,
): Promise<Session | null> {
  let delayMs = REOPEN_DELAY_MS;
  while (!signal.aborted) {
    try {
      await checkSame(nats, of, known, signal);
      return await open(nats, of, known.last, signal);
    } catch (error) {
      if (!(error instanceof MailError)) throw error;
      const why = textOf(error.cause ?? error);
      nats.log.debug({ stream: of.stream, error: why }, 'cannot follow the stream yet');
    }
    await systemClock.sleep(delayMs, signal);
    delayMs = Math.min(2 * delayMs, REOPEN_DELAY_MS_MAX);
  }
  return null;
}

async function checkSame(
  nats: Nats,
  { stream, after }: TailOf,
  known: Known,
  signal: AbortSignal,
): Promise<void> {
  const look = async (): Promise<number> => {
    const answer = await apiRequest(nats, `$JS.API.STREAM.INFO.${stream}`, {});
    if (answer.error !== undefined) throw failure(answer.error);
    const madeAt = String(answer.created);
    if (known.madeAt !== null && madeAt !== known.madeAt) {
      throw new ReplacedError(`${stream} was made anew at ${madeAt}`);
    }
    known.madeAt = madeAt;
    return (answer.state as { readonly last_seq: number }).last_seq;
  };
  const isThere = (end: number): boolean => end >= known.last || known.last === after;
  const end = await lookAgain(systemClock, look, isThere, signal);
  if (isThere(end) || signal.aborted) return;
  throw new ReplacedError(`${stream} ends at ${end}, but ${known.last} was already read`);
}

async function open(nats: Nats, of: TailOf, last: number, signal: AbortSignal): Promise<Session> {
  const { nc } = nats;
  const inbox = createInbox();
  const subscription = nc.subscribe(inbox, {
    callback: (error, msg) => (error === null ? arrivals.take(msg) : arrivals.end()),
  });
  const arrivals = collect(nats, subscription, signal);
  try {
    const name = `tail_${nuid.next()}`;
    const config = { ...consumerOf(of, last), name, deliver_subject: inbox };
    const answer = await apiRequest(nats, `$JS.API.CONSUMER.CREATE.${of.stream}.${name}`, {
      stream_name: of.stream,
      config,
    });
    if (answer.error !== undefined) throw failure(answer.error);
    return {
      pending: answer.num_pending as number,
      next: arrivals.next,
      close: () => {
        arrivals.close();
        if (nats.isConnected()) nc.publish(`$JS.API.CONSUMER.DELETE.${of.stream}.${name}`);
      },
    };
  } catch (error) {
    arrivals.close();
    throw error;
  }
}

function consumerOf(of: TailOf, last: number): Readonly<Record<string, unknown>> {
  return {
    filter_subject: of.subject,
    deliver_policy: 'by_start_sequence',
    opt_start_seq: last + 1,
    ack_policy: 'none',
    max_deliver: 1,
    headers_only: of.headersOnly ?? false,
    flow_control: true,
    idle_heartbeat: HEARTBEAT_MS * 1e6,
    inactive_threshold: FORGOTTEN_MS * 1e6,
    mem_storage: true,
    num_replicas: 1,
  };
}

type Arrivals = {
  take(msg: Msg): void;
  /** What has arrived may still be read; then it is over. */
  end(): void;
  next(): Promise<Counted | null>;
  close(): void;
};

/** Keeps what arrived until it is read, in order; over as soon as something may be missing. */
function collect(nats: Nats, subscription: Subscription, signal: AbortSignal): Arrivals {
  const isComplete = countFrom(0);
  let arrived: Msg[] = [];
  let read = 0;
  let isOver = false;
  let heardAt = performance.now();
  let wake = (): void => {};
  const end = (): void => {
    isOver = true;
    wake();
  };
  const silence = onSilence(() => heardAt, end);
  const forgetConnection = nats.onChange(end);
  signal.addEventListener('abort', end, { once: true });
  return {
    take(msg) {
      heardAt = performance.now();
      if (isOver) return;
      if (isComplete(msg)) arrived.push(msg);
      else isOver = true;
      wake();
    },
    end,
    async next() {
      while (!signal.aborted) {
        const msg = arrived[read];
        if (msg === undefined) {
          if (isOver) return null;
          arrived = [];
          read = 0;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        read += 1;
        if (msg.headers?.code !== CONTROL) return counted(msg);
        letFlow(nats, msg, msg.headers);
      }
      return null;
    },
    close() {
      end();
      clearInterval(silence);
      forgetConnection();
      signal.removeEventListener('abort', end);
      subscription.unsubscribe();
    },
  };
}

/** Looks now and then whether the server still speaks; does not keep the process alive. */
function onSilence(heardAt: () => number, then: () => void): NodeJS.Timeout {
  const look = (): void => {
    if (performance.now() - heardAt() > SILENCE_MS_MAX) then();
  };
  return setInterval(look, HEARTBEAT_MS).unref();
}

/**
 * Heartbeats and flow control have this status; any other status says that the consumer is gone.
 */
const CONTROL = 100;

/** True for each message that follows the one before it by the server's own count. */
function countFrom(start: number): (msg: Msg) => boolean {
  let count = start;
  return (msg) => {
    const status = msg.headers?.code ?? 0;
    if (status === CONTROL) {
      const sent = msg.headers?.get('Nats-Last-Consumer') ?? '';
      return sent === '' || Number(sent) === count;
    }
    count += 1;
    return status === 0 && numbersOf(msg).count === count;
  };
}

/**
 * Answers flow control only once all before it was read, so that no more waits here than the server
 * allows.
 */
function letFlow(nats: Nats, msg: Msg, headers: MsgHdrs): void {
  if (msg.reply) msg.respond();
  const stalled = headers.get('Nats-Consumer-Stalled');
  if (stalled !== '') nats.nc.publish(stalled);
}

function counted(msg: Msg): Counted {
  const { headers } = msg;
  const { seq, count, pending } = numbersOf(msg);
  return {
    ...{ seq, count, pending },
    subject: msg.subject,
    data: msg.data,
    header: (name) => headers?.get(name) ?? '',
  };
}
