/**
 * What was sent and not yet answered: a bounded window over one reply inbox.
 *
 * One wildcard subscription takes all answers and one timer sweeps what was never answered, so
 * nothing but a map entry is made for a message. Whoever comes when the window is full waits its
 * turn.
 */
import { createInbox, type Msg } from 'nats';
import type { Nats } from './connect.ts';
import { away } from './stored.ts';

/** What a window needs of a connection. */
type Connection = Pick<Nats, 'nc' | 'isConnected' | 'onChange' | 'soon'>;

export type Window = {
  /**
   * Waits for room, then calls `write` with the reply subject; resolves with the answer. Rejects
   * with what `write` threw, and with MailError 451 4.3.0 when NATS is away, the connection is lost
   * or there is no answer in time: then it is not known what the server did.
   */
  send(write: (reply: string) => void): Promise<Msg>;
  load(): Load;
  /** Refuses all that is open; nothing can be sent any more. */
  close(): void;
};

/** Messages sent and not yet answered, and calls that wait for room. */
export type Load = { readonly inFlight: number; readonly waiting: number };

/** Calls that may wait for room; past that the caller is told to come again later. */
const WAITING_MAX = 100_000;
/** How late a missing answer may be noticed, as a part of the time-out. */
const SWEEPS_A_TIMEOUT = 8;

type Open = {
  readonly write: (reply: string) => void;
  readonly resolve: (answer: Msg) => void;
  readonly reject: (error: Error) => void;
};
type Sent = Open & { readonly deadline: number };

type State = {
  readonly nats: Connection;
  readonly inbox: string;
  readonly windowMax: number;
  readonly timeoutMs: number;
  /**
   * By token, oldest first: all deadlines are equally far, so a sweep stops at the first that is
   * not due.
   */
  readonly sent: Map<number, Sent>;
  waiting: Open[];
  /** Those before this index have been sent. */
  waitingFrom: number;
  tokens: number;
  isClosed: boolean;
  willSend: boolean;
  sweep: NodeJS.Timeout | null;
};

export function openWindow(nats: Connection, windowMax: number, timeoutMs: number): Window {
  const state: State = {
    nats,
    inbox: `${createInbox()}.`,
    windowMax,
    timeoutMs,
    sent: new Map(),
    waiting: [],
    waitingFrom: 0,
    tokens: 0,
    isClosed: false,
    willSend: false,
    sweep: null,
  };
  const subscription = nats.nc.subscribe(`${state.inbox}*`, {
    callback: (_, msg) => take(state, msg),
  });
  const forgetConnection = nats.onChange((connected) => {
    if (!connected) refuseAll(state);
  });
  return {
    send: (write) =>
      new Promise((resolve, reject) => {
        const open = { write, resolve, reject };
        if (state.isClosed || !nats.isConnected()) reject(away(new Error('not connected')));
        else if (waitingCount(state) < WAITING_MAX) {
          state.waiting.push(open);
          sendSoon(state);
        } else reject(away(new Error('too many wait for the window')));
      }),
    load: () => ({ inFlight: state.sent.size, waiting: waitingCount(state) }),
    close() {
      state.isClosed = true;
      forgetConnection();
      if (state.sweep !== null) clearTimeout(state.sweep);
      refuseAll(state);
      if (!nats.nc.isClosed()) subscription.unsubscribe();
    },
  };
}

function waitingCount(state: State): number {
  return state.waiting.length - state.waitingFrom;
}

function sendNow(state: State, open: Open): void {
  const token = state.tokens++;
  try {
    open.write(state.inbox + token.toString(36));
  } catch (error) {
    open.reject(error instanceof Error ? error : new Error(String(error)));
    return;
  }
  state.sent.set(token, { ...open, deadline: performance.now() + state.timeoutMs });
  sweepSoon(state);
}

/** Runs in the connection's reader: it must never throw. */
function take(state: State, msg: Msg): void {
  const token = Number.parseInt(msg.subject.slice(state.inbox.length), 36);
  const sent = state.sent.get(token);
  if (sent === undefined) return; // Too late: whoever asked was told "not known".
  state.sent.delete(token);
  sent.resolve(msg);
  if (waitingCount(state) > 0) sendSoon(state);
}

/** With all else that is published in this turn of the event loop. */
function sendSoon(state: State): void {
  if (state.willSend) return;
  state.willSend = true;
  state.nats.soon(() => {
    state.willSend = false;
    sendWaiting(state);
  });
}

function sendWaiting(state: State): void {
  while (state.sent.size < state.windowMax && waitingCount(state) > 0) {
    const open = state.waiting[state.waitingFrom++];
    if (open !== undefined) sendNow(state, open);
  }
  if (state.waitingFrom * 2 > state.waiting.length) {
    state.waiting = state.waiting.slice(state.waitingFrom);
    state.waitingFrom = 0;
  }
}

function refuseAll(state: State): void {
  const open = [...state.sent.values(), ...state.waiting.slice(state.waitingFrom)];
  state.sent.clear();
  state.waiting = [];
  state.waitingFrom = 0;
  for (const { reject } of open) reject(away(new Error('the connection was lost')));
}

function sweepSoon(state: State): void {
  state.sweep ??= setTimeout(() => {
    state.sweep = null;
    const now = performance.now();
    for (const [token, sent] of state.sent) {
      if (sent.deadline > now) break;
      state.sent.delete(token);
      sent.reject(away(new Error(`no answer within ${state.timeoutMs} ms`)));
    }
    sendWaiting(state);
    if (state.sent.size > 0) sweepSoon(state);
  }, state.timeoutMs / SWEEPS_A_TIMEOUT);
}
