/**
 * The breaker of one route (actors/route.ts), driven: what this node observes steps it, what it becomes stands in
 * `troupe_site` under `health.<name>`, and what another node wrote there is taken over. So all nodes have the same, it
 * outlives them, and of several that would probe one does.
 *
 * A step counts here at once, before it is written: whoever saw an MTA die sends it nothing more, NATS or not. A write that
 * another node's came before is dropped for that one's.
 */
import type { Observed, RouteEffect, RouteState, Trouble } from '../../actors/route.ts';
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
  /** False while what it has in hand has to go elsewhere. */
  mayFinish(): boolean;
  /** How often it failed us on this node, by how. */
  troubles(): Readonly<Record<string, number>>;
  failed(how: Trouble, isDown: boolean, error?: unknown): void;
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
  /** Connects once; throws when it cannot. */
  probe(): Promise<void>;
  /** After each change that others may wait for. */
  changed(): void;
};

/** Nodes that wait for the same moment do not all act in it. */
const JITTER_MS = 100;
const WRITE_AGAIN_MS = 1_000;
const TELL_TRIES_MAX = 5;

export const healthKey = (name: string): string => `health.${name}`;

export function createHealth(needs: HealthNeeds): Health {
  const { name, node, breaker, clock, random, log, meter } = needs;
  const stopping = new AbortController();
  const troubles: Record<string, number> = {};
  const unknown: HealthRow = { state: breaker.closed, at: clock.now(), by: node, how: null };
  let { row, revision } = needs.known ?? { row: unknown, revision: 0 };
  let isUnsaid = false;
  let saying: Promise<void> | null = null;
  let timer = new AbortController();

  function step(event: Observed, how: Trouble | null): void {
    const { state, effects } = breaker.observe(row.state, event);
    const isSame = state.mode === row.state.mode && state.step === row.state.step;
    if (isSame && effects.length === 0) {
      row = { ...row, state };
      return;
    }
    become({ state, at: clock.now(), by: node, how });
    isUnsaid = true;
    saying ??= say();
  }

  function become(next: HealthRow): void {
    const before = row.state.mode;
    row = next;
    const fields = { route: name, before, how: next.how, by: next.by };
    if (before !== next.state.mode) {
      const level = next.state.mode === 'open' ? 'warn' : 'info';
      log[level](fields, `the route is ${next.state.mode}`);
    }
    timer.abort();
    timer = new AbortController();
    void wait(AbortSignal.any([timer.signal, stopping.signal]));
    needs.changed();
  }

  /** Never longer than the state's own wait, whatever another node's clock says. */
  async function wait(signal: AbortSignal): Promise<void> {
    const waitMs = breaker.waitMsOf(row.state);
    if (waitMs === null) return;
    const leftMs = Math.min(Math.max(row.at + waitMs - clock.now(), 0), waitMs);
    await clock.sleep(leftMs + JITTER_MS * random.fraction(), signal);
    if (!signal.aborted) step({ type: 'due' }, row.how);
  }

  /** Writes until what is written is what is so. */
  async function say(): Promise<void> {
    while (isUnsaid && !stopping.signal.aborted) {
      isUnsaid = false;
      const said = row;
      try {
        const written = await write(said);
        if (written === null) {
          const theirs = await needs.kv.get(healthKey(name));
          if (theirs !== null) adopt(theirs, false);
        } else {
          revision = Math.max(revision, written);
          if (said.state.mode === 'half-open' && row === said) void probe();
        }
      } catch (error) {
        log.warn({ route: name, error: textOf(error) }, 'the health of a route cannot be told');
        isUnsaid = true;
        await clock.sleep(WRITE_AGAIN_MS, stopping.signal);
      }
    }
    saying = null;
  }

  function write(said: HealthRow): Promise<number | null> {
    const value = new TextEncoder().encode(JSON.stringify(said));
    const key = healthKey(name);
    return revision === 0 ? needs.kv.create(key, value) : needs.kv.update(key, value, revision);
  }

  function adopt(read: KvRow, isFirst: boolean): void {
    if (read.revision <= revision) return;
    revision = read.revision;
    const theirs = read.value === null ? null : healthOf(read.value);
    if (theirs === null || (theirs.by === node && !isFirst)) return;
    isUnsaid = false;
    // A probe of ours that was under way when this process ended told nobody anything: the next is due.
    const isOver = isFirst && theirs.by === node && theirs.state.mode === 'half-open';
    become(isOver ? { ...theirs, at: 0 } : theirs);
  }

  async function probe(): Promise<void> {
    try {
      await needs.probe();
      step({ type: 'worked' }, null);
    } catch (error) {
      note(troubleOf(error), error);
      step({ type: 'failed', isDown: true }, troubleOf(error));
    }
  }

  function note(how: Trouble, error: unknown): void {
    troubles[how] = (troubles[how] ?? 0) + 1;
    meter.count('route_failures', { route: name, how });
    if (error !== undefined) log.debug({ route: name, how, error: reasonOf(error) }, 'it failed');
  }

  void wait(AbortSignal.any([timer.signal, stopping.signal]));
  return {
    row: () => row,
    known: () => ({ row, revision }),
    warmth: () => breaker.warmthOf(row.state),
    mayFinish: () => row.state.mode !== 'open' && row.state.mode !== 'half-open',
    troubles: () => troubles,
    failed(how, isDown, error) {
      note(how, error);
      step({ type: 'failed', isDown }, how);
    },
    worked() {
      if (row.state.failures > 0) step({ type: 'worked' }, null);
    },
    async tell(order) {
      for (let tries = 0; tries < TELL_TRIES_MAX; tries += 1) {
        step({ type: order }, null);
        await saying;
        if ((row.state.mode === 'draining') === (order === 'drain')) return;
      }
      throw new MailError(451, '4.3.0', 'other nodes change this route too; try again');
    },
    adopt,
    stop: () => stopping.abort(),
  };
}

/** Null where it is damaged, or of a mode that this version does not know. */
function healthOf(value: Uint8Array): HealthRow | null {
  try {
    const { state, at, by, how } = JSON.parse(new TextDecoder().decode(value)) as HealthRow;
    const numbers = [state.failures, state.openings, state.step, at];
    if (!MODES.includes(state.mode) || !numbers.every(Number.isFinite)) return null;
    return { state, at, by, how };
  } catch {
    return null;
  }
}

const MODES: readonly string[] = ['closed', 'open', 'half-open', 'warming', 'draining'];
