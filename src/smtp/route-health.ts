/**
 * The breaker of one route (actors/route.ts), driven: what this node observes steps it, what it becomes stands in
 * `troupe_site` under `health.<name>`, and what another node wrote there is taken over. So all nodes have the same, it
 * outlives them, and of several that would probe one does.
 *
 * A step counts here at once, before it is written: whoever saw an MTA die sends it nothing more, NATS or not. A write that
 * another node's came before is dropped for that one's.
 */
import type { Observed, RouteEffect, RouteState, Trouble } from '../../actors/route.ts';
import { type Ending, endWith } from '../ending.ts';
import { MailError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Clock, Kv, Meter, Random } from '../world.ts';
import { reasonOf } from './pool.ts';
import { troubleOf } from './trouble.ts';

/** The pure steps of actors/route.ts, handed in. */
export type Breaker = {
  observe(
    state: RouteState,
    event: Observed,
  ): { readonly state: RouteState; readonly effects: readonly RouteEffect[] };
  waitMsOf(state: RouteState): number | null;
  warmthOf(state: RouteState): number;
  readonly closed: RouteState;
  readonly modes: readonly string[];
};

/** A row of `troupe_site`. `at`: ms since the epoch, when it became so; `by`: the node that saw it. */
export type HealthRow = {
  readonly state: RouteState;
  readonly at: number;
  readonly by: string;
  readonly how: Trouble | null;
};

export type KvRow = { readonly value: Uint8Array | null; readonly revision: number };

/** A row, and its revision in `troupe_site`; 0: it does not stand there. */
export type Known = { readonly row: HealthRow; readonly revision: number };

export type Health = {
  row(): HealthRow;
  known(): Known;
  /** The part of its slice that it carries now. */
  warmth(): number;
  /** It was seen to fail, and not to work since. */
  isAway(): boolean;
  /** How often it failed us on this node, by how. */
  troubles(): Record<string, number>;
  failed(how: Trouble, isDown: boolean, error?: unknown): void;
  /** It failed in a way that says nothing about its health: counted, no more. */
  noted(how: Trouble, error?: unknown): void;
  worked(): void;
  /** An operator's word; resolves when it stands in `troupe_site`. Throws MailError 451 when it cannot. */
  tell(order: 'drain' | 'resume'): Promise<void>;
  /** What was read from `troupe_site`; `isFirst`: our own too, from before a restart. */
  adopt(read: KvRow, isFirst: boolean): void;
  stop(): void;
};

export type HealthNeeds = {
  readonly name: string;
  /** This node's name. */
  readonly node: string;
  readonly breaker: Breaker;
  readonly kv: Pick<Kv, 'get' | 'create' | 'update'>;
  readonly clock: Clock;
  readonly random: Pick<Random, 'fraction'>;
  readonly log: Log;
  readonly meter: Meter;
  /** What this node knew of the route before it was wired anew. */
  readonly known?: Known;
  /** What it counted of it then; counted on. */
  readonly troubles?: Record<string, number>;
  /** Connects once; throws when it cannot. Null: this node cannot tell, and leaves it to the others. */
  readonly probe: (() => Promise<void>) | null;
  /** After each change that others may wait for. */
  changed(): void;
};

/** Nodes that wait for the same moment do not all act in it. */
const JITTER_MS = 100;
const WRITE_AGAIN_MS = 1_000;
const TELL_TRIES_MAX = 5;

export const healthKey = (name: string): string => `health.${name}`;

type State = {
  readonly needs: HealthNeeds;
  readonly stopping: AbortController;
  readonly troubles: Record<string, number>;
  row: HealthRow;
  revision: number;
  /** What we became is not written yet. */
  isUnsaid: boolean;
  saying: Promise<void> | null;
  /** Ends with the state that it waits in. */
  timer: Ending;
};

export function createHealth(needs: HealthNeeds): Health {
  const { node, breaker, clock } = needs;
  const unknown: HealthRow = { state: breaker.closed, at: clock.now(), by: node, how: null };
  const stopping = new AbortController();
  const state: State = {
    ...{ needs, stopping, troubles: needs.troubles ?? {}, timer: endWith(stopping.signal) },
    ...{ isUnsaid: false, saying: null, ...(needs.known ?? { row: unknown, revision: 0 }) },
  };
  void waitOut(state);
  return {
    row: () => state.row,
    known: () => ({ row: state.row, revision: state.revision }),
    warmth: () => breaker.warmthOf(state.row.state),
    isAway: () => ['open', 'half-open'].includes(state.row.state.mode),
    troubles: () => state.troubles,
    failed(how, isDown, error) {
      note(state, how, error);
      step(state, { type: 'failed', isDown }, how);
    },
    noted: (how, error) => note(state, how, error),
    worked() {
      const { mode, failures, isProven } = state.row.state;
      const isNews = failures > 0 || (mode === 'warming' && !isProven);
      if (isNews) step(state, { type: 'worked' }, null);
    },
    tell: (order) => tell(state, order),
    adopt: (read, isFirst) => adopt(state, read, isFirst),
    stop: () => state.stopping.abort(),
  };
}

// ── Stepping ──────────────────────────────────────────────────────────────

function step(state: State, event: Observed, how: Trouble | null): void {
  const { breaker, clock, node } = state.needs;
  const { state: before } = state.row;
  const { state: after, effects } = breaker.observe(before, event);
  if (after.mode === before.mode && after.step === before.step && effects.length === 0) {
    state.row = { ...state.row, state: after };
    if (breaker.waitMsOf(after) !== breaker.waitMsOf(before)) waitAnew(state);
    return;
  }
  become(state, { state: after, at: clock.now(), by: node, how });
  state.isUnsaid = true;
  state.saying ??= say(state);
}

function become(state: State, next: HealthRow): void {
  const { name: route, log, changed } = state.needs;
  const before = state.row.state.mode;
  state.row = next;
  if (before !== next.state.mode) {
    const level = next.state.mode === 'open' ? 'warn' : 'info';
    log[level]({ route, before, how: next.how, by: next.by }, `the route is ${next.state.mode}`);
  }
  waitAnew(state);
  changed();
}

function waitAnew(state: State): void {
  state.timer.end();
  state.timer = endWith(state.stopping.signal);
  void waitOut(state);
}

/** Never longer than the state's own wait, whatever another node's clock says. */
async function waitOut(state: State): Promise<void> {
  const { breaker, clock, random } = state.needs;
  const { row } = state;
  const { signal } = state.timer;
  const waitMs = breaker.waitMsOf(row.state);
  if (waitMs === null || state.needs.probe === null) return;
  const leftMs = Math.min(Math.max(row.at + waitMs - clock.now(), 0), waitMs);
  await clock.sleep(leftMs + JITTER_MS * random.fraction(), signal);
  if (!signal.aborted) step(state, { type: 'due' }, row.how);
}

async function probe(state: State): Promise<void> {
  const { probe: connect } = state.needs;
  if (connect === null) return;
  try {
    await connect();
    step(state, { type: 'worked' }, null);
  } catch (error) {
    note(state, troubleOf(error), error);
    step(state, { type: 'failed', isDown: true }, troubleOf(error));
  }
}

function note({ needs, troubles }: State, how: Trouble, error?: unknown): void {
  const { name: route, log, meter } = needs;
  troubles[how] = (troubles[how] ?? 0) + 1;
  meter.count('route_failures', { route, how });
  if (error !== undefined) log.debug({ route, how, error: reasonOf(error) }, 'it failed');
}

// ── With the other nodes ──────────────────────────────────────────────────

/** Writes until what is written is what is so. */
async function say(state: State): Promise<void> {
  const { name: route, clock, kv, log } = state.needs;
  while (state.isUnsaid && !state.stopping.signal.aborted) {
    state.isUnsaid = false;
    const said = state.row;
    try {
      const written = await write(state, said);
      if (written === null) {
        const theirs = await kv.get(healthKey(route));
        if (theirs !== null) adopt(state, theirs, false);
        continue;
      }
      state.revision = Math.max(state.revision, written);
      if (said.state.mode === 'half-open' && state.row === said) void probe(state);
    } catch (error) {
      log.warn({ route, error: textOf(error) }, 'the health of a route cannot be told');
      state.isUnsaid = true;
      await clock.sleep(WRITE_AGAIN_MS, state.stopping.signal);
    }
  }
  state.saying = null;
}

function write({ needs, revision }: State, said: HealthRow): Promise<number | null> {
  const value = new TextEncoder().encode(JSON.stringify(said));
  const key = healthKey(needs.name);
  return revision === 0 ? needs.kv.create(key, value) : needs.kv.update(key, value, revision);
}

function adopt(state: State, read: KvRow, isFirst: boolean): void {
  const { node, breaker } = state.needs;
  if (read.revision <= state.revision) return;
  state.revision = read.revision;
  const theirs = read.value === null ? null : healthOf(read.value, breaker.modes);
  if (theirs === null || (theirs.by === node && !isFirst)) return;
  state.isUnsaid = false;
  // A probe of ours that was under way when this process ended told nobody anything: the next is due.
  const isOver = isFirst && theirs.by === node && theirs.state.mode === 'half-open';
  become(state, isOver ? { ...theirs, at: 0 } : theirs);
}

async function tell(state: State, order: 'drain' | 'resume'): Promise<void> {
  for (let tries = 0; tries < TELL_TRIES_MAX; tries += 1) {
    step(state, { type: order }, null);
    await state.saying;
    if ((state.row.state.mode === 'draining') === (order === 'drain')) return;
  }
  throw new MailError(451, '4.3.0', 'other nodes change this route too; try again');
}

/** Null where it is damaged, or of a mode that this version does not know. */
function healthOf(value: Uint8Array, modes: readonly string[]): HealthRow | null {
  try {
    const { state, at, by, how } = JSON.parse(new TextDecoder().decode(value)) as HealthRow;
    const numbers = [state.failures, state.openings, state.step, at];
    if (!modes.includes(state.mode) || !numbers.every(Number.isFinite)) return null;
    return { state: { ...state, isProven: state.isProven === true }, at, by, how };
  } catch {
    return null;
  }
}
