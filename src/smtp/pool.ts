/**
 * The kept-open connections to one MTA, as a `Route`: a bounded number, lent for a while to who waits
 * in the order of the classes, closed when idle. The large classes leave a reserve of them alone.
 *
 * An MTA that refuses one connection more than it likes lowers the number for a while. One that
 * gives none at all is down: whoever waits is told, and so is the route's breaker (route-health.ts),
 * which says when to `probe`.
 */
import { MailError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { CLASS_ORDER, type ClassOrder, isLarge, largeMax } from '../mail/class-order.ts';
import type { Clock, Route, Smtp, SmtpConnection } from '../world.ts';
import { createLine, type Line } from './line.ts';

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

export type PoolOptions = {
  readonly name: string;
  readonly smtp: Smtp;
  readonly clock: Clock;
  readonly log: Log;
  readonly connectionsMax?: number;
  readonly recipientsMax?: number;
  readonly idleMsMax?: number;
  /** Of each connection that cannot be made; `isDown`: and there is no other. */
  readonly onRefused?: (error: unknown, isDown: boolean) => void;
  readonly order?: ClassOrder;
};

export type PoolState = {
  readonly open: number;
  readonly idle: number;
  readonly waiting: number;
};

export type Pool = Route & {
  state(): PoolState;
  /** Makes one connection more, and keeps it where there is room. Throws what `Smtp.connect` throws. */
  probe(): Promise<void>;
  /** Tells all who wait for a connection, and all who listen, that there is none to be had now. */
  turnAway(): void;
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
  readonly order: ClassOrder;
  readonly line: Line<Waiter>;
  /** Who wants to know when there is none to be had, though they wait for none. */
  readonly listening: Set<() => void>;
  /** Lent to mail of a large class. */
  large: number;
  open: number;
  connecting: number;
  lowered: { readonly to: number; readonly until: number };
  isReaping: boolean;
};

/** A pool with nothing open yet. */
export function createPool(options: PoolOptions): Pool {
  const connectionsMax = options.connectionsMax ?? CONNECTIONS_MAX;
  const order = options.order ?? CLASS_ORDER;
  const state: State = {
    ...{ order, line: createLine(order), listening: new Set(), large: 0 },
    ...{ options, connectionsMax, idleMsMax: options.idleMsMax ?? IDLE_MS_MAX },
    ...{ stopping: new AbortController(), idle: [], open: 0, connecting: 0 },
    ...{ lowered: { to: connectionsMax, until: 0 }, isReaping: false },
  };
  return {
    name: options.name,
    share: () => connectionsMax,
    recipientsMax: options.recipientsMax ?? RECIPIENTS_PER_ENVELOPE_MAX,
    async withConnection(cls, use) {
      if (state.stopping.signal.aborted) throw stopped();
      const connection = await new Promise<SmtpConnection>((resolve, reject) => {
        state.line.join(cls, { resolve, reject });
        serve(state);
      });
      try {
        return await use(connection);
      } finally {
        if (isLarge(cls)) state.large -= 1;
        giveBack(state, connection);
      }
    },
    isWanted: (cls) => state.line.isWaitedBefore(cls),
    onAway(tell) {
      state.listening.add(tell);
      return () => state.listening.delete(tell);
    },
    probe: () => probe(state),
    isAlive: () =>
      probe(state).then(
        () => true,
        () => false,
      ),
    state: () => {
      const { open, idle, line } = state;
      return { open, idle: idle.length, waiting: line.count('small') + line.count('large') };
    },
    turnAway: () => turnAway(state, away()),
    stop() {
      state.stopping.abort();
      turnAway(state, stopped());
      for (const { connection } of state.idle.splice(0)) close(state, connection);
    },
  };
}

function turnAway({ line, listening }: State, why: MailError): void {
  for (const waiter of line.clear()) waiter.reject(why);
  for (const tell of [...listening]) tell();
}

async function probe(state: State): Promise<void> {
  if (state.stopping.signal.aborted) throw stopped();
  const connection = await state.options.smtp.connect();
  if (state.open + state.connecting >= state.connectionsMax) return connection.close();
  state.open += 1;
  giveBack(state, connection);
}

/** Gives those who wait what is idle, and connects for the others, up to the limit. */
function serve(state: State): void {
  const { line, options, lowered } = state;
  const isLowered = options.clock.monotonic() < lowered.until;
  const limit = isLowered ? lowered.to : state.connectionsMax;
  for (;;) {
    const largeRoom = Math.max(0, largeMax(limit, state.order) - state.large);
    const ready = line.count('small') + Math.min(line.count('large'), largeRoom);
    if (ready === 0) return;
    const connection = takeIdle(state);
    if (connection === null) {
      // Every connection that is being made is for somebody: no more of them than are ready for one.
      if (state.open + state.connecting >= limit || state.connecting >= ready) return;
      void connect(state);
      continue;
    }
    const next = line.next(largeRoom > 0);
    if (next?.isLarge === true) state.large += 1;
    next?.who.resolve(connection);
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
  state.connecting += 1;
  try {
    const connection = await state.options.smtp.connect();
    state.connecting -= 1;
    state.open += 1;
    giveBack(state, connection);
  } catch (error) {
    state.connecting -= 1;
    refused(state, error);
  }
}

function refused(state: State, error: unknown): void {
  const { name: route, clock, log, onRefused } = state.options;
  const isDown = state.open === 0 && state.connecting === 0;
  if (state.open > 0) {
    state.lowered = { to: state.open, until: clock.monotonic() + LOWERED_MS };
    log.warn({ route, connections: state.open, error: reasonOf(error) }, 'no more connections');
  }
  onRefused?.(error, isDown);
  if (isDown) for (const waiter of state.line.clear()) waiter.reject(error);
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

/** Of an MTA that is not to be had now. */
export const away = (cause?: unknown): MailError =>
  new MailError(451, '4.4.1', 'the outgoing mail server does not answer', cause);

const stopped = (): MailError => new MailError(451, '4.3.2', 'the system is stopping');

/** What the operator needs; the MailError itself names nothing. */
export const reasonOf = (error: unknown): string =>
  textOf(error instanceof MailError && error.cause !== undefined ? error.cause : error);
