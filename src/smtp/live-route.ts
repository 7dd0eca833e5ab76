/** One route as this node has it: its connections, its hand, its breaker, its pace, and what it did so far. */
import type { Trouble } from '../../actors/route.ts';
import type { RouteConfig } from '../config.ts';
import { MailError } from '../errors.ts';
import type { RecipientReply, Route, Smtp, SmtpConnection } from '../world.ts';
import type { Candidate } from './choice.ts';
import { createHand, type Hand, OVERFLOW_MAX } from './hand.ts';
import { createPace } from './pace.ts';
import { createPool, type PoolState } from './pool.ts';
import { createHealth, type Health, type HealthNeeds } from './route-health.ts';
import { troubleIn, troubleOf } from './trouble.ts';

export type LiveRoute = {
  readonly settings: RouteConfig;
  readonly route: Route;
  readonly hand: Hand;
  readonly health: Health;
  /** Chunks that it takes at once: those in hand and the overflow. */
  readonly room: number;
  readonly handMax: number;
  /** Recipients accepted, and those that failed for now, so far on this node. */
  counts(): { readonly accepted: number; readonly failed: number };
  connections(): PoolState;
  /** The width of its slice for choosing; `factor` is what `adaptive` makes of its weight. */
  candidate(factor: number): Candidate;
  /** Whoever waits is told to choose again; what is in use is closed when it comes back. */
  stop(): void;
};

export type LiveRouteNeeds = Omit<HealthNeeds, 'name' | 'probe'> & {
  readonly smtp: Smtp;
  /** The most chunks in hand, whatever its connections allow. */
  readonly inHandMax: number;
  /** Nodes that send: they share its rate. */
  senders(): number;
};

/** Of chunks in hand for one connection: one is sent while the next is made ready. */
const CHUNKS_PER_CONNECTION = 2;

export function openLiveRoute(settings: RouteConfig, needs: LiveRouteNeeds): LiveRoute {
  const { name, connections, recipients, rate } = settings;
  const { clock, log, smtp } = needs;
  const handMax = Math.min(CHUNKS_PER_CONNECTION * connections, needs.inHandMax);
  const hand = createHand(handMax, clock);
  const stopping = new AbortController();
  const counts = { accepted: 0, failed: 0 };
  const pool = createPool({
    ...{ name, smtp, clock, log, connectionsMax: connections, recipientsMax: recipients },
    onRefused: (error, isDown) => health.failed(troubleOf(error), isDown, error),
  });
  const changed = (): void => {
    if (health.warmth() === 0) hand.turnAway();
    needs.changed();
  };
  const health: Health = createHealth({ ...needs, name, probe: pool.probe, changed });
  const pace =
    rate === undefined ? null : createPace(() => rate / Math.max(1, needs.senders()), clock);

  function heard(replies: readonly RecipientReply[]): void {
    hand.moved();
    for (const { code } of replies) {
      if (code >= 200 && code < 300) counts.accepted += 1;
      else if (code < 500) counts.failed += 1;
    }
    const how: Trouble | null = troubleIn(replies);
    if (how === null) health.worked();
    else health.failed(how, false);
  }

  const mySlot = pace && ((): Promise<void> => pace(stopping.signal));
  const route: Route = {
    name,
    connectionsMax: pool.connectionsMax,
    recipientsMax: pool.recipientsMax,
    async withConnection(use) {
      if (!health.mayFinish()) throw away();
      return pool.withConnection((connection) => {
        if (!health.mayFinish()) throw away();
        return use(listened(connection, mySlot, heard));
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
  return {
    ...{ settings, route, hand, health, handMax, room: handMax + OVERFLOW_MAX },
    counts: () => counts,
    connections: pool.state,
    candidate: (factor) => ({
      ...{ name, role: settings.role, weight: settings.weight * factor },
      warmth: stopping.signal.aborted ? 0 : health.warmth(),
    }),
    stop() {
      stopping.abort();
      health.stop();
      pool.stop();
      hand.turnAway();
    },
  };
}

/** The same connection, at the route's pace and with an ear for what the MTA says. */
function listened(
  connection: SmtpConnection,
  mySlot: (() => Promise<void>) | null,
  heard: (replies: readonly RecipientReply[]) => void,
): SmtpConnection {
  return {
    async send(transaction, following) {
      await mySlot?.();
      // Where each has its time, none is begun before it.
      const next = mySlot === null ? following : undefined;
      const replies = await connection.send(transaction, next);
      heard(replies);
      return replies;
    },
    get isOpen() {
      return connection.isOpen;
    },
    close: () => connection.close(),
  };
}

const away = (): MailError =>
  new MailError(451, '4.4.1', 'the outgoing mail server does not answer');
