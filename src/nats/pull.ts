/**
 * Pulling from a JetStream consumer: one request open at a time, never more on its way than the
 * caller has room for, woken by messages and not by polling (NATS ADR-13, ADR-37).
 *
 * A durable consumer is pulled from for ever: after a lost connection, a restarted server or a new
 * leader the request is made again. A passing one is gone with any of these, so there the iteration
 * throws {@link PullLost}.
 */
import { createInbox, type Msg, nuid, type Subscription } from 'nats';
import { assert } from '../assert.ts';
import { systemClock } from '../clock.ts';
import { within } from '../ending.ts';
import type { Nats } from './connect.ts';

/** The consumer is gone, or something of it may have been missed. */
export class PullLost extends Error {
  override readonly name = 'PullLost';
}

export type Source = {
  readonly stream: string;
  readonly consumer: string;
  /** `durable`: messages are owed until acked, so what is not handed out is given back. */
  readonly kind: 'durable' | 'passing';
  /** Messages requested or held and not yet handed out, at most. */
  readonly ahead: number;
  /** Bytes of one request, at most; 0 for no limit. Must exceed the largest message. */
  readonly bytesMax: number;
};

/** How long a request stays open when nothing comes, ms. */
const REQUEST_OPEN_MS = 60_000;
/**
 * The server speaks at least this often while a request is open, ms; a lost leader is noticed after
 * two.
 */
const HEARTBEAT_MS = 5_000;
const SILENCE_MS_MAX = 2 * HEARTBEAT_MS + 1_000;
/** Until JetStream is back behind a server that answers again. */
const RETRY_MS = 250;
/** How long the end may take to give back what is on its way. */
const GIVE_BACK_MS_MAX = 1_000;

type State = {
  readonly nats: Nats;
  readonly source: Source;
  readonly inbox: string;
  held: Msg[];
  /** Those before this index have been handed out. */
  heldFrom: number;
  /** Messages that the open request may still bring. */
  owed: number;
  /** Numbers the requests, so that the end of an old one is not taken for the end of this one. */
  request: number;
  heardAt: number;
  retry: NodeJS.Timeout | null;
  isOver: boolean;
  lost: string | null;
  wake: () => void;
};

/**
 * Messages as they come, until the signal aborts. What was not handed out is given back at the end.
 */
export async function* pull(
  nats: Nats,
  source: Source,
  signal: AbortSignal,
): AsyncGenerator<Msg, void, void> {
  assert(source.ahead >= 1, 'nothing can be pulled with no room for it');
  const state = stateOf(nats, source);
  const subscription = nats.nc.subscribe(`${state.inbox}*`, {
    callback: (_, msg) => take(state, msg),
  });
  const stop = (): void => {
    state.isOver = true;
    state.wake();
  };
  const forgetConnection = nats.onChange((connected) => connectionChanged(state, connected));
  const silence = setInterval(() => listen(state), HEARTBEAT_MS);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    ask(state);
    while (!state.isOver) {
      const msg = state.held[state.heldFrom];
      if (msg === undefined) {
        if (state.lost !== null) throw new PullLost(state.lost);
        await new Promise<void>((resolve) => {
          state.wake = resolve;
        });
        continue;
      }
      state.heldFrom += 1;
      ask(state);
      yield msg;
    }
  } finally {
    state.isOver = true;
    signal.removeEventListener('abort', stop);
    forgetConnection();
    clearInterval(silence);
    if (state.retry !== null) clearTimeout(state.retry);
    await end(state, subscription);
  }
}

function stateOf(nats: Nats, source: Source): State {
  return {
    nats,
    source,
    inbox: `${createInbox()}.${nuid.next()}.`,
    held: [],
    heldFrom: 0,
    owed: 0,
    request: 0,
    heardAt: performance.now(),
    retry: null,
    isOver: false,
    lost: null,
    wake: () => {},
  };
}

/**
 * Asks for as many as there is room for, once half of the room is free; so the next come while
 * these are handled.
 */
function ask(state: State): void {
  const { nats, source } = state;
  if (state.isOver || state.owed > 0 || !nats.isConnected()) return;
  if (state.heldFrom > 0 && state.heldFrom * 2 >= state.held.length) {
    state.held = state.held.slice(state.heldFrom);
    state.heldFrom = 0;
  }
  const room = source.ahead - (state.held.length - state.heldFrom);
  if (room * 2 < source.ahead) return;
  state.owed = room;
  state.request += 1;
  state.heardAt = performance.now();
  const body = JSON.stringify({
    batch: room,
    expires: REQUEST_OPEN_MS * 1e6,
    idle_heartbeat: HEARTBEAT_MS * 1e6,
    ...(source.bytesMax > 0 ? { max_bytes: source.bytesMax } : {}),
  });
  const subject = `$JS.API.CONSUMER.MSG.NEXT.${source.stream}.${source.consumer}`;
  const reply = state.inbox + String(state.request);
  nats.soon(() => {
    if (!state.isOver && !nats.nc.isClosed()) nats.nc.publish(subject, body, { reply });
  });
}

/** Runs in the connection's reader: it must never throw. */
function take(state: State, msg: Msg): void {
  state.heardAt = performance.now();
  if (msg.subject.startsWith(state.inbox)) takeStatus(state, msg);
  else if (state.isOver) giveBack(state, msg);
  else takeMessage(state, msg);
}

function takeMessage(state: State, msg: Msg): void {
  state.owed = Math.max(0, state.owed - 1);
  state.held.push(msg);
  ask(state);
  state.wake();
}

/** A status comes on the reply subject itself, a message under its own subject. */
function takeStatus(state: State, msg: Msg): void {
  const code = msg.headers?.code ?? 0;
  if (code === 100) return; // A heartbeat.
  if (msg.subject !== state.inbox + String(state.request)) return; // The end of an older request.
  const description = msg.headers?.description ?? '';
  const isSpent = code === 408 || code === 404 || /max_?bytes|batch completed/i.test(description);
  state.owed = 0;
  if (isSpent) ask(state);
  else begAgain(state, `${code} ${description}`);
}

/** What the server did not grant: no leader yet, no such consumer, a server about to stop. */
function begAgain(state: State, why: string): void {
  const { stream, consumer, kind } = state.source;
  if (state.isOver) return;
  if (kind === 'passing') {
    state.lost = why;
    state.wake();
    return;
  }
  state.nats.log.debug({ stream, consumer, why }, 'pull refused; asked again soon');
  state.retry ??= setTimeout(() => {
    state.retry = null;
    ask(state);
  }, RETRY_MS);
}

function connectionChanged(state: State, connected: boolean): void {
  state.owed = 0; // The server forgot the request with the connection.
  if (state.source.kind === 'passing') begAgain(state, 'the connection was lost');
  else if (connected) ask(state);
}

/** A leader that died takes the open request with it, and says nothing. */
function listen(state: State): void {
  if (state.owed > 0 && performance.now() - state.heardAt < SILENCE_MS_MAX) return;
  const wasOpen = state.owed > 0;
  state.owed = 0;
  if (wasOpen && state.source.kind === 'passing') begAgain(state, 'the server is silent');
  else ask(state);
}

/**
 * Gives back what is held and what is still on its way, so that nobody waits for `ack_wait` to have
 * it.
 */
async function end(state: State, subscription: Subscription): Promise<void> {
  for (const msg of state.held.slice(state.heldFrom)) giveBack(state, msg);
  state.held = [];
  if (state.nats.nc.isClosed()) return;
  if (state.source.kind === 'passing' || !state.nats.isConnected()) {
    subscription.unsubscribe();
    return;
  }
  await within(
    systemClock,
    GIVE_BACK_MS_MAX,
    subscription.drain().catch(() => undefined),
  );
}

function giveBack(state: State, msg: Msg): void {
  if (state.source.kind === 'durable') respond(state.nats, msg, NAK);
}

export const ACK = new TextEncoder().encode('+ACK');
export const NAK = new TextEncoder().encode('-NAK');
export const WORKING = new TextEncoder().encode('+WPI');

/** Answers a delivery. On a connection that is gone it does nothing: the message comes again. */
export function respond(nats: Nats, msg: { readonly reply?: string }, word: Uint8Array): void {
  const { reply } = msg;
  if (reply === undefined) return;
  nats.soon(() => {
    if (nats.nc.isClosed()) return;
    try {
      nats.nc.publish(reply, word);
    } catch (error) {
      nats.log.debug({ err: error }, 'a delivery could not be answered');
    }
  });
}

/**
 * The numbers of a delivery. `count` is the consumer's own, contiguous; `pending` what is left
 * after it.
 */
export type Numbers = {
  readonly deliveries: number;
  readonly seq: number;
  readonly count: number;
  /** Milliseconds since the epoch. */
  readonly storedAt: number;
  readonly pending: number;
};

/**
 * Read from the reply subject (NATS ADR-15):
 * `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<count>.<time>.<pending>`, or with the domain and
 * the account before the stream.
 */
export function numbersOf(msg: { readonly reply?: string }): Numbers {
  const tokens = (msg.reply ?? '').split('.');
  const from = tokens.length > 9 ? 6 : 4;
  return {
    deliveries: Number(tokens[from]),
    seq: Number(tokens[from + 1]),
    count: Number(tokens[from + 2]),
    storedAt: Math.floor(Number(tokens[from + 3]) / 1e6),
    pending: Number(tokens[from + 4]),
  };
}
