/**
 * The kept-open connections to one MTA, as a `Route`: a bounded number, lent one transaction at a
 * time, first come first served, closed when idle.
 *
 * An MTA that refuses one connection more than it likes lowers the number for a while. One that
 * gives none at all is down: whoever waits is told, and `whenUp` tries again with back-off, so that
 * nobody pulls work that cannot be sent.
 */
import { endWith } from '../ending.ts';
import { MailError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Clock, Route, Smtp, SmtpConnection } from '../world.ts';

/** Postfix's own default for one destination (`default_destination_concurrency_limit`). */
export const CONNECTIONS_MAX = 20;
/**
 * Mailman's and Postfix's default for one envelope is 50; RFC 5321 §4.5.3.1.8 asks an MTA to take
 * 100.
 */
export const RECIPIENTS_PER_ENVELOPE_MAX = 100;
/**
 * Many MTAs hang up after a minute or less; a new connection costs less than a lost transaction.
 */
export const IDLE_MS_MAX = 30_000;
/** After a refused connection beside open ones, no more than were open are tried for so long. */
const LOWERED_MS = 60_000;
/** Between attempts to reach an MTA that is down: doubled from the first to the last. */
const PROBE_MS_MIN = 1_000;
const PROBE_MS_MAX = 30_000;

export type PoolOptions = {
  readonly name: string;
  readonly smtp: Smtp;
  readonly clock: Clock;
  readonly log: Log;
  readonly connectionsMax?: number;
  readonly recipientsMax?: number;
  readonly idleMsMax?: number;
  readonly probeMsMin?: number;
};

export type PoolState = {
  readonly open: number;
  readonly idle: number;
  readonly waiting: number;
  readonly isUp: boolean;
};

export type Pool = Route & {
  state(): PoolState;
  /** Closes all connections: those in use when they come back. Whoever waits is told 4.3.2. */
  stop(): void;
};

type Waiter = {
  readonly resolve: (connection: SmtpConnection) => void;
  readonly reject: (error: unknown) => void;
};

type State = {
  readonly options: PoolOptions;
  readonly connectionsMax: number;
  readonly idleMsMax: number;
  readonly stopping: AbortController;
  /** The longest idle first. */
  readonly idle: { readonly connection: SmtpConnection; readonly since: number }[];
  readonly waiting: Waiter[];
  open: number;
  connecting: number;
  lowered: { readonly to: number; readonly until: number };
  isUp: boolean;
  probing: Promise<void> | null;
  isReaping: boolean;
};

/** A pool with nothing open yet. */
export function createPool(options: PoolOptions): Pool {
  const connectionsMax = options.connectionsMax ?? CONNECTIONS_MAX;
  const state: State = {
    ...{ options, connectionsMax, idleMsMax: options.idleMsMax ?? IDLE_MS_MAX },
    ...{ stopping: new AbortController(), idle: [], waiting: [], open: 0, connecting: 0 },
    ...{ lowered: { to: connectionsMax, until: 0 }, isUp: true, probing: null, isReaping: false },
  };
  return {
    name: options.name,
    connectionsMax,
    recipientsMax: options.recipientsMax ?? RECIPIENTS_PER_ENVELOPE_MAX,
    async withConnection(use) {
      if (state.stopping.signal.aborted) throw stopped();
      const connection = await new Promise<SmtpConnection>((resolve, reject) => {
        state.waiting.push({ resolve, reject });
        serve(state);
      });
      try {
        return await use(connection);
      } finally {
        giveBack(state, connection);
      }
    },
    async whenUp(signal) {
      if (state.isUp) return;
      state.probing ??= probe(state);
      await doneOr(signal, state.probing);
    },
    state: () => {
      const { open, idle, waiting, isUp } = state;
      return { open, idle: idle.length, waiting: waiting.length, isUp };
    },
    stop() {
      state.stopping.abort();
      for (const waiter of state.waiting.splice(0)) waiter.reject(stopped());
      for (const { connection } of state.idle.splice(0)) close(state, connection);
    },
  };
}

/** Gives those who wait what is idle, and connects for the others, up to the limit. */
function serve(state: State): void {
  const { waiting, options, lowered } = state;
  while (waiting.length > 0) {
    const connection = takeIdle(state);
    if (connection !== null) {
      waiting.shift()?.resolve(connection);
      continue;
    }
    const isLowered = options.clock.monotonic() < lowered.until;
    const limit = isLowered ? lowered.to : state.connectionsMax;
    // Every connection that is being made is for somebody: no more of them than wait.
    if (state.open + state.connecting >= limit || state.connecting >= waiting.length) return;
    void connect(state);
  }
}

/** The one used last, which the MTA is the least likely to have closed. */
function takeIdle(state: State): SmtpConnection | null {
  for (let found = state.idle.pop(); found !== undefined; found = state.idle.pop()) {
    if (found.connection.isOpen) return found.connection;
    close(state, found.connection);
  }
  return null;
}

function close(state: State, connection: SmtpConnection): void {
  connection.close();
  state.open -= 1;
}

/** Never throws: who waits is told. */
async function connect(state: State): Promise<void> {
  const { name, smtp, log } = state.options;
  state.connecting += 1;
  try {
    const connection = await smtp.connect();
    state.connecting -= 1;
    state.open += 1;
    if (!state.isUp) log.info({ route: name }, 'the route can be connected again');
    state.isUp = true;
    giveBack(state, connection);
  } catch (error) {
    state.connecting -= 1;
    refused(state, error);
  }
}

function refused(state: State, error: unknown): void {
  const { name: route, clock, log } = state.options;
  if (state.open > 0) {
    state.lowered = { to: state.open, until: clock.monotonic() + LOWERED_MS };
    log.warn({ route, connections: state.open, error: reasonOf(error) }, 'no more connections');
  } else if (state.connecting === 0) {
    if (state.isUp) log.warn({ route, error: reasonOf(error) }, 'the route cannot be connected');
    state.isUp = false;
    for (const waiter of state.waiting.splice(0)) waiter.reject(error);
  }
}

function giveBack(state: State, connection: SmtpConnection): void {
  if (connection.isOpen && !state.stopping.signal.aborted) {
    state.idle.push({ connection, since: state.options.clock.monotonic() });
  } else {
    close(state, connection);
  }
  serve(state);
  if (state.idle.length > 0 && !state.isReaping) void reap(state);
}

/** Closes what nobody used for long; runs only while something is idle. */
async function reap(state: State): Promise<void> {
  const { idle, idleMsMax, stopping, options } = state;
  state.isReaping = true;
  while (idle.length > 0 && !stopping.signal.aborted) {
    await options.clock.sleep(idleMsMax / 2, stopping.signal);
    const stale = options.clock.monotonic() - idleMsMax;
    for (let [first] = idle; first !== undefined; [first] = idle) {
      if (first.since > stale && first.connection.isOpen) break;
      idle.shift();
      close(state, first.connection);
    }
  }
  state.isReaping = false;
}

/** Until one connection could be made; one loop, however many wait. */
async function probe(state: State): Promise<void> {
  const { signal } = state.stopping;
  let delayMs = state.options.probeMsMin ?? PROBE_MS_MIN;
  while (!state.isUp && !signal.aborted) {
    await state.options.clock.sleep(delayMs, signal);
    delayMs = Math.min(2 * delayMs, PROBE_MS_MAX);
    if (!signal.aborted && state.connecting === 0) await connect(state);
  }
  state.probing = null;
}

const stopped = (): MailError => new MailError(451, '4.3.2', 'the system is stopping');

/** What the operator needs; the MailError itself names nothing. */
const reasonOf = (error: unknown): string =>
  textOf(error instanceof MailError && error.cause !== undefined ? error.cause : error);

/** Resolves when the work is done or the signal aborts; nothing stays with a signal that lives on. */
function doneOr(signal: AbortSignal, work: Promise<void>): Promise<void> {
  const either = endWith(signal);
  void work.then(either.end);
  return new Promise((resolve) => {
    if (either.signal.aborted) return resolve();
    either.signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
