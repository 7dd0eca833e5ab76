/**
 * The routes of the site as this node sends over them: which carries a chunk, how many each carries, and what operators
 * change while it runs.
 *
 *   troupe_site  route.<name>   what was changed live    (route-registry.ts)
 *                health.<name>  its breaker              (route-health.ts)
 *
 * Where there never was a route, what is sent is captured.
 */
import type { RouteConfig, RoutingConfig } from '../config.ts';
import { MailError, OperatorError } from '../errors.ts';
import { type Chunk, type Class, chunkName } from '../mail/chunk.ts';
import { isLarge } from '../mail/class-order.ts';
import type { Kv, Lent, Smtp } from '../world.ts';
import { adapt } from './adapting.ts';
import {
  boundTo,
  bySlices,
  byTurn,
  type Candidate,
  choose,
  hashed,
  type Matter,
} from './choice.ts';
import { type LiveRoute, type LiveRouteNeeds, openLiveRoute } from './live-route.ts';
import { healthKey, type KvRow } from './route-health.ts';
import {
  createRegistry,
  nameIn,
  noSuchRoute,
  type Registry,
  type RouteOrder,
  settingsAfter,
} from './route-registry.ts';

export type RoutesNeeds = Omit<LiveRouteNeeds, 'smtp' | 'changed' | 'kv'> & {
  readonly file: readonly RouteConfig[];
  readonly routing: RoutingConfig;
  readonly kv: Kv;
  /** Throws OperatorError where this node cannot send over it. */
  smtpOf(settings: RouteConfig): Smtp;
  /** Where mail goes while there is no route; null: it waits. */
  readonly capture: Smtp | null;
};

export type Routes = {
  /**
   * The route for this chunk among those that may carry it now and are not in `tried`, once there is a place in its hand.
   * Null when there is none.
   */
  lend(chunk: Chunk, tried: readonly string[]): Promise<Lent | null>;
  /** Keeps room for a chunk that was pulled, and will ask for its place in a moment, until what it gives is called. */
  expect(cls: Class): () => void;
  /** Resolves when there is a route with room for more of this class, or the signal aborts. */
  whenOpen(signal: AbortSignal, cls: Class): Promise<void>;
  /** Does what an operator orders; resolves when it is so here. Throws MailError. */
  obey(order: RouteOrder): Promise<void>;
  /** As they are now, in the order of their slices. */
  all(): readonly { readonly live: LiveRoute; readonly candidate: Candidate }[];
  origin(name: string): 'file' | 'live';
  /** How a route is chosen where no rule binds. */
  readonly by: 'turn' | 'slices';
  /** Resolves after the stop; rejects if `troupe_site` cannot be followed any more. */
  readonly ended: Promise<void>;
  stop(): void;
};

/** The route of a site that has none. */
const CAPTURE: RouteConfig = {
  ...{ name: 'capture', url: '', weight: 1, role: 'primary', connections: 20 },
  ...{ messages: 1_000, recipients: 100, timeoutSeconds: 60, tls: 'off' },
};

type State = {
  readonly needs: RoutesNeeds;
  readonly registry: Registry;
  readonly live: Map<string, LiveRoute>;
  /** The last health row of each name that was read, also before there was such a route. */
  readonly healths: Map<string, KvRow>;
  readonly capture: LiveRoute | null;
  readonly factors: Map<string, number>;
  readonly credits: Map<string, number>;
  readonly waiting: Set<() => void>;
  /** Chunks that were pulled and have not asked for a place yet. */
  readonly expected: { large: number; small: number };
  readonly stopping: AbortController;
};

/** Resolves when what stands in `troupe_site` has been read. */
export async function openRoutes(needs: RoutesNeeds): Promise<Routes> {
  const waiting = new Set<() => void>();
  const capture =
    needs.capture === null
      ? null
      : openLiveRoute(CAPTURE, liveNeeds(needs, needs.capture, waiting));
  const state: State = {
    ...{ needs, capture, waiting, registry: createRegistry(needs.file, needs.kv) },
    ...{ live: new Map(), healths: new Map(), factors: new Map(), credits: new Map() },
    ...{ expected: { large: 0, small: 0 }, stopping: new AbortController() },
  };
  const { ended } = await followed(state);
  warnOfRules(state);
  if (needs.routing.strategy === 'adaptive') {
    const { signal } = state.stopping;
    void adapt(() => lives(state), state.factors, needs.clock, signal);
  }
  return {
    lend: (chunk, tried) => lend(state, chunk, tried),
    expect: (cls) => expect(state, cls),
    whenOpen: (signal, cls) => whenOpen(state, signal, cls),
    obey: (order) => obey(state, order),
    all: () => lives(state).map((live) => ({ live, candidate: candidateOf(state, live) })),
    origin: state.registry.origin,
    by: needs.routing.strategy === 'round-robin' ? 'turn' : 'slices',
    ended,
    stop() {
      state.stopping.abort();
      for (const live of [...state.live.values(), ...(capture === null ? [] : [capture])])
        live.stop();
      wake(waiting);
    },
  };
}

// ── Choosing ──────────────────────────────────────────────────────────────

async function lend(state: State, chunk: Chunk, tried: readonly string[]): Promise<Lent | null> {
  const bound = boundTo(state.needs.routing.rules, matterOf(chunk));
  const still: string[] = [];
  for (;;) {
    const elsewhere = still.length === 0 ? null : routeFor(state, chunk, [...tried, ...still]);
    const live = elsewhere ?? routeFor(state, chunk, tried);
    if (live === null) return null;
    const { name } = live.settings;
    const isPatient = still.includes(name);
    // All that the rule names are slow: it comes again later, and goes by no route meanwhile that the rule does not name.
    if (bound !== null && still.length > 0 && (isPatient || !bound.includes(name))) return null;
    const place = await live.hand.take(chunk.class, { isPatient, isBound: bound !== null });
    if (place === 'still' || place === 'full') still.push(name);
    if (place !== 'taken') continue;
    const giveBack = (): void => {
      live.hand.giveBack(chunk.class);
      wake(state.waiting);
    };
    // It may have died, or be another by now, while this one waited.
    if (candidateOf(state, live).warmth > 0) return { route: live.route, giveBack };
    giveBack();
  }
}

/** By the chunk's own name, whichever try: who was put off by a greylist comes again from the same address. */
function routeFor(state: State, chunk: Chunk, not: readonly string[]): LiveRoute | null {
  const { routing, random } = state.needs;
  const candidates = lives(state)
    .filter(({ settings }) => !not.includes(settings.name))
    .map((live) => candidateOf(state, live));
  const fractions =
    routing.strategy === 'random' ? random.fraction : hashed(chunkName({ ...chunk, try: 0 }));
  const pick = (among: readonly Candidate[]): string | null =>
    routing.strategy === 'round-robin' ? byTurn(among, state.credits) : bySlices(among, fractions);
  const name = choose(candidates, routing.rules, matterOf(chunk), pick);
  return lives(state).find(({ settings }) => settings.name === name) ?? null;
}

const matterOf = (chunk: Chunk): Matter => ({
  list: chunk.recipe.list,
  classes: [chunk.class, chunk.was ?? chunk.class],
});

/** Mail is captured where there never was a route: once there was one, it waits for the next. */
function lives({ live, capture, registry }: State): readonly LiveRoute[] {
  const isCaptured = live.size === 0 && capture !== null && !registry.wasUsed();
  return isCaptured ? [capture] : [...live.values()];
}

function candidateOf({ factors }: State, live: LiveRoute): Candidate {
  return live.candidate(factors.get(live.settings.name) ?? 1);
}

// ── Room ──────────────────────────────────────────────────────────────────

async function whenOpen(state: State, signal: AbortSignal, cls: Class): Promise<void> {
  while (!hasRoom(state, cls) && !signal.aborted && !state.stopping.signal.aborted) {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        state.waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      state.waiting.add(done);
      signal.addEventListener('abort', done);
    });
  }
}

function expect(state: State, cls: Class): () => void {
  const size = isLarge(cls) ? 'large' : 'small';
  state.expected[size] += 1;
  return () => {
    state.expected[size] -= 1;
    wake(state.waiting);
  };
}

/** A fallback counts only when no primary is left. */
function hasRoom(state: State, cls: Class): boolean {
  const able = lives(state).filter((live) => candidateOf(state, live).warmth > 0);
  const primaries = able.filter(({ settings }) => settings.role === 'primary');
  let room = 0;
  for (const { hand } of primaries.length > 0 ? primaries : able) room += hand.room(cls);
  room -= state.expected[isLarge(cls) ? 'large' : 'small'];
  return room > 0;
}

function wake(waiting: ReadonlySet<() => void>): void {
  for (const done of [...waiting]) done();
}

// ── What there is ─────────────────────────────────────────────────────────

/** Resolves once `troupe_site` was read, with the promise of the end of following it. */
async function followed(state: State): Promise<{ readonly ended: Promise<void> }> {
  const ready = Promise.withResolvers<void>();
  const follow = async (): Promise<void> => {
    let isFirst = true;
    for await (const row of state.needs.kv.watch(state.stopping.signal)) {
      if (row === 'ready') {
        sync(state);
        isFirst = false;
        ready.resolve();
      } else {
        read(state, row.key, row, isFirst);
      }
    }
  };
  const ended = follow();
  ended.catch(ready.reject);
  await ready.promise;
  return { ended };
}

/** The file has all that its rules name; but one may have been taken away live before the rule was written. */
function warnOfRules({ needs, live }: State): void {
  for (const [rule, { routes }] of needs.routing.rules.entries()) {
    for (const route of routes) {
      if (live.has(route)) continue;
      const step = `\`troupe route add ${route} URL\`, or take it out of the rule`;
      needs.log.warn({ rule, route, step }, 'a rule names a route that was removed');
    }
  }
}

function read(state: State, key: string, row: KvRow, isFirst: boolean): void {
  const route = nameIn(key);
  if (route !== null && state.registry.adopt(route, row) && !isFirst) sync(state);
  const health = nameIn(key, healthKey(''));
  if (health === null) return;
  state.healths.set(health, row);
  state.live.get(health)?.health.adopt(row, false);
}

/** Opens what is new, closes what is gone, and what connects another way now. Settings that only choose are changed in place. */
function sync(state: State): void {
  const { needs, live, registry } = state;
  const wanted = new Map(registry.all().map((settings) => [settings.name, settings]));
  const before = new Map<string, LiveRoute>();
  for (const [name, old] of live) {
    const settings = wanted.get(name);
    const isSame = settings !== undefined && wiringOf(settings) === wiringOf(old.settings);
    if (isSame && old.problem === null) {
      live.set(name, { ...old, settings, candidate: recast(old, settings) });
    } else {
      old.stop();
      live.delete(name);
      before.set(name, old);
    }
  }
  for (const [name, settings] of wanted) {
    if (live.has(name)) continue;
    const old = before.get(name);
    const more = {
      ...liveNeeds(needs, smtpFor(settings, needs), state.waiting),
      ...(old && { known: old.health.known(), troubles: old.health.troubles() }),
      ...(old && { counts: old.counts() }),
    };
    const made = openLiveRoute(settings, more);
    const health = state.healths.get(name);
    if (health !== undefined) made.health.adopt(health, true);
    live.set(name, made);
  }
  const inOrder = registry.all().flatMap(({ name }) => live.get(name) ?? []);
  live.clear();
  for (const one of inOrder) live.set(one.settings.name, one);
  wake(state.waiting);
}

/** One that only this node cannot send over is the others' to carry, and no reason to open it for them. */
function smtpFor(settings: RouteConfig, { smtpOf, log }: RoutesNeeds): LiveRouteNeeds['smtp'] {
  try {
    return smtpOf(settings);
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    log.error({ route: settings.name, problem: error.message }, 'this node cannot use a route');
    return { problem: error.message };
  }
}

/** All settings but those that only choose. */
function wiringOf({ weight: _weight, role: _role, ...wiring }: RouteConfig): string {
  return JSON.stringify(wiring, Object.keys(wiring).sort());
}

/** How it is connected to: what an MTA that worked so far may not take. */
function wayOf({ url, tls, ca, ehlo, user, password, passwordFile }: RouteConfig): string {
  return JSON.stringify([url, tls, ca, ehlo, user, password, passwordFile]);
}

function recast(old: LiveRoute, { weight, role }: RouteConfig): LiveRoute['candidate'] {
  return (factor) => ({ ...old.candidate(factor), weight: weight * factor, role });
}

function liveNeeds(
  needs: RoutesNeeds,
  smtp: LiveRouteNeeds['smtp'],
  waiting: ReadonlySet<() => void>,
): LiveRouteNeeds {
  return { ...needs, smtp, changed: () => wake(waiting) };
}

// ── Orders ────────────────────────────────────────────────────────────────

async function obey(state: State, order: RouteOrder): Promise<void> {
  const { registry, live, needs } = state;
  if (order.do === 'add' || order.do === 'set') {
    const settings = settingsAfter(order, registry);
    const before = live.get(settings.name);
    refuseUnusable(settings, needs);
    await registry.put(settings.name, settings);
    sync(state);
    const now = live.get(settings.name);
    // What connects another way than before is tried before it is given mail.
    const isSame = before?.problem === null && wayOf(before.settings) === wayOf(settings);
    if (!isSame && now?.health.row().state.mode !== 'draining') {
      await now?.health.tell('drain');
      await now?.health.tell('resume');
    }
    return;
  }
  const found = live.get(order.name);
  if (found === undefined || registry.get(order.name) === null) throw noSuchRoute(order.name);
  if (order.do !== 'rm') return found.health.tell(order.do);
  refuseNamed(order.name, needs);
  await registry.put(order.name, null);
  sync(state);
  await needs.kv.delete(healthKey(order.name));
}

/** Mail that a rule binds would have nowhere to go. Throws MailError 553. */
function refuseNamed(name: string, { routing }: RoutesNeeds): void {
  const at = routing.rules.findIndex(({ routes }) => routes.includes(name));
  if (at < 0) return;
  const step = 'take it out of the rule and restart first, or drain the route';
  throw new MailError(553, '5.5.4', `\`routing.rules.${at}\` names the route ${name}: ${step}`);
}

/** What not even the node that is asked can use is a mistake. Throws MailError 501 that names it. */
function refuseUnusable(settings: RouteConfig, { smtpOf }: RoutesNeeds): void {
  try {
    smtpOf(settings);
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    throw new MailError(501, '5.5.4', error.message);
  }
}
