/**
 * `/health` and `/ready`: is this process alive, and should mail be sent to it.
 *
 * Health names every problem with its next step and is answered as long as the process can; ready
 * is yes or no, for load balancers and start-up scripts. Pure: facts in, report out.
 */

export type HealthFacts = {
  readonly node: string;
  readonly version: string;
  readonly startedAt: number;
  readonly roles: readonly string[];
  /** Roles whose parts have all started. */
  readonly rolesUp: readonly string[];
  readonly isConnected: boolean;
  /** Why the last nats-server that answered is not used; null if it is. */
  readonly refusedServer: string | null;
  readonly isStopping: boolean;
  /** `durability: relaxed`. */
  readonly isRelaxed: boolean;
  /** What NATS takes and does not acknowledge, though it is there. */
  readonly silent: readonly string[];
  readonly disk: { readonly freeBytes: number; readonly isLow: boolean } | null;
  /** Addresses, or keys where the address is not known. */
  readonly blocked: readonly string[];
  readonly quarantined: readonly string[];
  /** Routes that cannot be used now; absent where this node sends nothing. */
  readonly openRoutes?: readonly string[];
  /** None carries mail: all are away or drained, or the last was removed. */
  readonly hasNoRoute?: boolean;
};

export type Problem = { readonly what: string; readonly nextStep: string };

export type HealthReport = {
  readonly status: 'ok' | 'degraded';
  readonly isReady: boolean;
  readonly node: string;
  readonly version: string;
  readonly uptimeMs: number;
  readonly roles: readonly string[];
  readonly problems: readonly Problem[];
};

/** Lists named in one problem; the rest are counted. */
const NAMED_MAX = 5;

/** What is wrong, if anything, and whether work should be sent here. */
export function healthOf(facts: HealthFacts, now: number): HealthReport {
  const problems = problemsOf(facts);
  return {
    status: problems.length === 0 ? 'ok' : 'degraded',
    isReady: isReady(facts),
    node: facts.node,
    version: facts.version,
    uptimeMs: Math.max(0, now - facts.startedAt),
    roles: facts.roles,
    problems,
  };
}

/** True once every role has started and NATS is there; false again while stopping. */
export function isReady(facts: HealthFacts): boolean {
  const { roles, rolesUp, isConnected, isStopping } = facts;
  const allUp = roles.every((role) => rolesUp.includes(role));
  return !isStopping && isConnected && allUp;
}

function problemsOf(facts: HealthFacts): Problem[] {
  const problems: Problem[] = [];
  const say = (isSo: boolean, what: string, nextStep: string): void => {
    if (isSo) problems.push({ what, nextStep });
  };
  say(
    !facts.isConnected,
    'NATS is away: mail is answered 451 and waits at its MTA',
    'See that nats-server runs; the node goes on by itself when it is back.',
  );
  say(
    facts.refusedServer !== null,
    facts.refusedServer ?? '',
    'Upgrade it; until then see that a nats-server of the site that is new enough runs.',
  );
  const missing = facts.roles.filter((role) => !facts.rolesUp.includes(role));
  say(
    missing.length > 0 && !facts.isStopping,
    `not started yet: ${missing.join(', ')}`,
    'Wait a moment; if it stays so, see the log.',
  );
  say(
    facts.isRelaxed,
    'durability is relaxed: a power cut can lose mail that was answered with 250',
    'Use nats-server 2.12.5 or newer and take `durability: relaxed` out of the configuration.',
  );
  say(
    facts.silent.length > 0,
    `nats-server stores nothing of what comes for ${facts.silent.join(', ')}, as one does that met a full disk`,
    'Make room on its disk, then restart it; the embedded one is restarted by itself.',
  );
  say(
    facts.disk?.isLow === true,
    `only ${Math.floor((facts.disk?.freeBytes ?? 0) / 1e6)} MB are free under the data directory`,
    'Make room: new work is refused until then.',
  );
  say(
    facts.blocked.length > 0,
    `${named(facts.blocked)} cannot get rid of what they cause and take no turns`,
    'See `troupe inspect list ADDRESS` for the effect that fails.',
  );
  say(
    facts.quarantined.length > 0,
    `${named(facts.quarantined)} are set aside: their history does not hold together`,
    'See `troupe doctor --repair ADDRESS` for what is wrong and what can be done.',
  );
  const { openRoutes = [] } = facts;
  say(
    openRoutes.length > 0,
    `outgoing mail cannot go by ${openRoutes.join(', ')}`,
    'See `troupe route ls` for what fails; it is tried again by itself.',
  );
  say(
    facts.hasNoRoute === true,
    'no route carries mail: it waits',
    'See `troupe route ls`; `troupe route resume NAME` or `troupe route add NAME URL` where no other comes back by itself.',
  );
  return problems;
}

function named(lists: readonly string[]): string {
  const more = lists.length - NAMED_MAX;
  const names = lists.slice(0, NAMED_MAX).join(', ');
  return more > 0 ? `${names} and ${more} more lists` : names;
}
