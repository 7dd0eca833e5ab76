/** One route as this node has it: its connections, its hand, its breaker, its pace, and what it did so far. */
import type { RouteConfig } from '../config.ts';
import type { ClassOrder } from '../mail/class-order.ts';
import type { RecipientReply, Route, Smtp, SmtpConnection, Transaction } from '../world.ts';
import type { Candidate } from './choice.ts';
import { createHand, type Hand, OVERFLOW_MAX } from './hand.ts';
import { createPace } from './pace.ts';
import { away, createPool, type Pool, type PoolState } from './pool.ts';
import { createHealth, type Health, type HealthNeeds } from './route-health.ts';
import { type Silence, watchSilence } from './silence.ts';
import { isLost, troubleIn, troubleOf } from './trouble.ts';

export type LiveRoute = {
  readonly settings: RouteConfig;
  readonly route: Route;
  readonly hand: Hand;
  readonly health: Health;
  /** Chunks that it takes at once: those in hand and the overflow. */
  readonly room: number;
  readonly handMax: number;
  /** Recipients accepted, and those that failed for now, so far on this node. */
  counts(): Counts;
  connections(): PoolState;
  /** Why this node cannot send over it, for an operator; null: it can. */
  readonly problem: string | null;
  /** The width of its slice for choosing; `factor` is what `adaptive` makes of its weight. */
  candidate(factor: number): Candidate;
  /** Whoever waits is told to choose again; what is in use is closed when it comes back. */
  stop(): void;
};

type Counts = { accepted: number; failed: number };

export type LiveRouteNeeds = Omit<HealthNeeds, 'name' | 'probe'> & {
  /** Or why this node cannot send over it, though others may. */
  readonly smtp: Smtp | { readonly problem: string };
  /** The most chunks in hand, whatever its connections allow. */
  readonly inHandMax: number;
  readonly order: ClassOrder;
  /** Nodes that send: they share its rate. */
  senders(): number;
  /** Of the same route before it was wired anew; counted on. */
  readonly counts?: Counts;
};

/** Of chunks in hand for one connection: one is sent while the next is made ready. */
const CHUNKS_PER_CONNECTION = 2;
/** However many chunks share the connections, none of them waits for one slow provider. */
const SHARE_MIN = 2;

export function openLiveRoute(settings: RouteConfig, needs: LiveRouteNeeds): LiveRoute {
  const { name, connections, recipients, role, weight } = settings;
  const { clock, log, order } = needs;
  const problem = 'problem' in needs.smtp ? needs.smtp.problem : null;
  const smtp = 'problem' in needs.smtp ? NO_SMTP : needs.smtp;
  const handMax = Math.min(CHUNKS_PER_CONNECTION * connections, needs.inHandMax);
  const hand = createHand(handMax, order, clock);
  const stopping = new AbortController();
  const pool = createPool({
    ...{ name, smtp, clock, log, order, connectionsMax: connections, recipientsMax: recipients },
    // Beside connections that work it only means that the MTA wants no more of them.
    onRefused: (error, isDown) => {
      if (isDown) health.failed(troubleOf(error), true, error);
      else health.noted(troubleOf(error), error);
    },
  });
  const changed = (): void => {
    if (health.warmth() === 0) {
      hand.turnAway();
      pool.turnAway();
    }
    needs.changed();
  };
  const probe = async (): Promise<void> => {
    const { open, idle } = pool.state();
    // One more connection would say nothing about those that mail goes over.
    if (silence.isSilent() && open - idle >= connections) throw away({ code: 'ETIMEDOUT' });
    await pool.probe();
  };
  const health: Health = createHealth({
    ...{ ...needs, name, changed },
    probe: problem === null ? probe : null,
  });
  const warmth = (): number => (stopping.signal.aborted || problem !== null ? 0 : health.warmth());
  const silence = watchSilence({
    ...{ clock, patienceMs: settings.timeoutSeconds * 1_000, signal: stopping.signal },
    onSilent: () => health.failed('timeout', true),
  });
  const ear = createEar(name, { hand, health, silence }, needs);
  const mayCarry = (): boolean => warmth() > 0;
  return {
    ...{ settings, hand, health, handMax, room: handMax + OVERFLOW_MAX, problem },
    route: routeOver({ pool, settings, hand, health, ear, needs, mayCarry }, stopping.signal),
    counts: ear.counts,
    connections: pool.state,
    candidate: (factor) => ({
      ...{ name, role, weight: weight * factor },
      warmth: warmth(),
    }),
    stop() {
      stopping.abort();
      health.stop();
      pool.stop();
      hand.turnAway();
    },
  };
}

type Parts = {
  readonly pool: Pool;
  readonly settings: RouteConfig;
  readonly hand: Hand;
  readonly health: Health;
  readonly ear: Ear;
  readonly needs: LiveRouteNeeds;
  /** False as soon as it is known, on whatever node, that it gets no mail now: looked at before each transaction. */
  mayCarry(): boolean;
};

/** The pool's route, at the route's pace, and only while its breaker lets it. */
function routeOver(parts: Parts, stopping: AbortSignal): Route {
  const { pool, settings, hand, health, ear, needs, mayCarry } = parts;
  const { clock, senders } = needs;
  const { rate } = settings;
  const pace = rate === undefined ? null : createPace(() => rate / Math.max(1, senders()), clock);
  const mySlot = pace && ((): Promise<void> => pace(stopping));
  return {
    name: pool.name,
    share: (cls) => {
      const part = Math.ceil(settings.connections / Math.max(1, hand.sharing(cls)));
      return Math.min(settings.connections, Math.max(SHARE_MIN, part));
    },
    recipientsMax: pool.recipientsMax,
    isWanted: pool.isWanted,
    onAway: pool.onAway,
    async withConnection(cls, use) {
      if (!mayCarry()) throw away();
      return pool.withConnection(cls, (connection) => {
        if (!mayCarry()) throw away();
        return use(listened(connection, mySlot, ear, mayCarry));
      });
    },
    isAlive: () =>
      pool.probe().then(
        () => true,
        (error: unknown) => {
          health.failed(troubleOf(error), true, error);
          return false;
        },
      ),
  };
}

type Ear = {
  /** Sends it, and hears what is answered. */
  send(
    connection: SmtpConnection,
    transaction: Transaction,
    following: Transaction | undefined,
  ): Promise<readonly RecipientReply[]>;
  counts: LiveRoute['counts'];
};

/** Hears what the MTA answers, and tells the breaker what it means. */
function createEar(
  route: string,
  { hand, health, silence }: Pick<LiveRoute, 'hand' | 'health'> & { readonly silence: Silence },
  { meter, counts = { accepted: 0, failed: 0 } }: Pick<LiveRouteNeeds, 'meter' | 'counts'>,
): Ear {
  /** Connections whose last transaction was answered. */
  const good = new WeakSet<SmtpConnection>();
  function heard(connection: SmtpConnection, replies: readonly RecipientReply[]): void {
    for (const [outcome, count] of tallied(replies)) {
      meter.count('route_replies', { route, outcome }, count);
      if (outcome === 'accepted') counts.accepted += count;
      else if (outcome !== 'refused') counts.failed += count;
    }
    const how = troubleIn(replies);
    if (how === null) {
      good.add(connection);
      health.worked();
    } else if (how !== 'timeout' && good.delete(connection)) {
      health.noted(how); // MTAs close connections after so many mails or seconds; the next one will tell.
    } else {
      health.failed(how, false);
    }
  }
  return {
    counts: () => counts,
    async send(connection, transaction, following) {
      silence.began(transaction);
      const replies = await connection.send(transaction, following);
      const isAnswered = !isLost(replies);
      silence.ended(transaction, isAnswered);
      if (isAnswered) hand.moved();
      heard(connection, replies);
      return replies;
    },
  };
}

type Outcome = 'accepted' | 'deferred' | 'refused' | 'unknown';

/** How many recipients had each outcome. */
function tallied(replies: readonly RecipientReply[]): ReadonlyMap<Outcome, number> {
  const tally = new Map<Outcome, number>();
  for (const { code } of replies) {
    const outcome = outcomeOf(code);
    tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
  }
  return tally;
}

function outcomeOf(code: number): Outcome {
  if (code >= 500) return 'refused';
  if (code >= 400) return 'deferred';
  return code >= 200 && code < 300 ? 'accepted' : 'unknown';
}

/** The same connection, at the route's pace and with an ear for what the MTA says; not open any more once the route carries nothing. */
function listened(
  connection: SmtpConnection,
  mySlot: (() => Promise<void>) | null,
  ear: Pick<Ear, 'send'>,
  mayCarry: Parts['mayCarry'],
): SmtpConnection {
  return {
    async send(transaction, following) {
      if (mySlot !== null) {
        await mySlot();
        if (!mayCarry()) return transaction.recipients.map(() => NOT_BEGUN);
      }
      // Where each has its time, none is begun before it.
      return ear.send(connection, transaction, mySlot === null ? following : undefined);
    },
    get isOpen() {
      return connection.isOpen && mayCarry();
    },
    close: () => connection.close(),
  };
}

/** To whom it was not sent, since the route was closed to mail while it waited for its time. */
const NOT_BEGUN: RecipientReply = { code: 421, status: '4.4.1', reply: 'not sent: no mail now' };

const NO_SMTP: Smtp = { connect: () => Promise.reject(away()) };
