/**
 * The route actor: one outgoing MTA and its circuit breaker, the same for the whole site.
 *
 *      closed ──failed──▶ open ──due──▶ half-open ──worked──▶ warming ──due──▶ closed
 *        │                 ▲  ▲             │                    │
 *      drain               │  └───failed────┘                    │
 *        ▼                 └───────────────failed────────────────┘
 *     draining ──resume──▶ half-open            `drain` is taken in every state but draining
 *
 * A closed route is opened by several failures in a row, any other by one.
 *
 * M1. Only a closed or a warming route is given mail; any other finishes the transactions under way, no more.
 * M2. A half-open route gets a connection that asks nothing, never a mail: a sick MTA costs no mail a try.
 * M3. A route that was open carries its whole share again only after it worked in every step of warming, or was not seen to fail for
 *     long; a single failure on the way opens it again.
 */
import { setup } from 'xstate';
import { transitionOf } from './transition.ts';

// ── Protocol ──────────────────────────────────────────────────────────────

/** How an MTA fails us, each counted apart. `421`: it said so; `lost`: the connection ended in mid transaction. */
export type Trouble = 'refused' | 'timeout' | '421' | 'greeting' | 'tls' | 'login' | 'lost';

/** What is observed of a route, and what an operator wants of it. */
export type Observed =
  /** `isDown`: not one connection is to be had. Else a single transaction or connection failed. */
  | { readonly type: 'failed'; readonly isDown: boolean }
  /** A transaction was answered, or a probe connected. */
  | { readonly type: 'worked' }
  /** {@link waitMsOf} is over. */
  | { readonly type: 'due' }
  | { readonly type: 'drain' }
  | { readonly type: 'resume' };

// ── State ─────────────────────────────────────────────────────────────────

export const ROUTE_MODES = ['closed', 'open', 'half-open', 'warming', 'draining'] as const;
export type RouteMode = (typeof ROUTE_MODES)[number];

export type RouteState = {
  readonly mode: RouteMode;
  /** Since it worked last. */
  readonly failures: number;
  /** Since it was closed last: how long it stays open. */
  readonly openings: number;
  /** Of warming, from 0. */
  readonly step: number;
  /** A transaction was answered in this step. */
  readonly isProven: boolean;
};

type Context = Omit<RouteState, 'mode'>;
const SETTLED: Context = { failures: 0, openings: 0, step: 0, isProven: false };
export const CLOSED: RouteState = { mode: 'closed', ...SETTLED };

/** So many failures without a success between them open a route that can still be connected. */
export const FAILURES_MAX = 5;
/** A probe is one connection without a mail, so a route that is back is soon known to be. */
export const OPEN_MS_MIN = 1_000;
export const OPEN_MS_MAX = 5_000;
/** Longer than a connection may take to fail: past it another node may probe. */
export const PROBE_MS_MAX = 45_000;
/** Shares of its slice that a warming route carries, and how long each where a transaction was answered. */
export const WARMTHS: readonly number[] = [1 / 8, 1 / 4, 1 / 2];
export const WARMING_STEP_MS = 1_000;
/** Each step where nothing came to show it; together they are longer than a hanging MTA is waited for by default. */
export const WARMING_QUIET_MS = 30_000;

/** How long until `due`, ms; null where nothing is waited for. */
export function waitMsOf({ mode, openings, isProven }: RouteState): number | null {
  if (mode === 'open') return Math.min(OPEN_MS_MIN * 2 ** Math.max(0, openings - 1), OPEN_MS_MAX);
  if (mode === 'half-open') return PROBE_MS_MAX;
  if (mode !== 'warming') return null;
  return isProven ? WARMING_STEP_MS : WARMING_QUIET_MS;
}

/** The part of its slice that a route carries now, 0 to 1 (M1). */
export function warmthOf({ mode, step }: RouteState): number {
  if (mode === 'warming') return WARMTHS[step] ?? 1;
  return mode === 'closed' ? 1 : 0;
}

// ── Machine ───────────────────────────────────────────────────────────────

const chart = setup({
  types: { context: {} as Context, events: {} as Observed },
  actions: {
    /** Data: the driver performs it. */
    perform: (_, _effect: RouteEffect) => {},
  },
  guards: {
    isEnough: ({ context, event }) =>
      event.type === 'failed' && (event.isDown || context.failures + 1 >= FAILURES_MAX),
    hasNextStep: ({ context }) => context.step + 1 < WARMTHS.length,
  },
});

const failOnce = chart.assign({ failures: ({ context }) => context.failures + 1 });
const recover = chart.assign({ failures: 0 });
const reopen = chart.assign({
  failures: ({ context }) => context.failures + 1,
  openings: ({ context }) => context.openings + 1,
  step: 0,
  isProven: false,
});
const warmUp = chart.assign({ failures: 0, step: 0, isProven: false });
const prove = chart.assign({ failures: 0, isProven: true });
const nextStep = chart.assign({ step: ({ context }) => context.step + 1, isProven: false });
const settle = chart.assign(SETTLED);

const probe = { type: 'perform', params: { type: 'probe' } } as const;
const open = { target: 'open', actions: [reopen] } as const;
const drain = { drain: { target: 'draining', actions: [settle] } } as const;
const failed = [{ guard: 'isEnough', ...open }, { actions: [failOnce] }] as const;

/** Law: what may follow what. What is not expected in a state is not taken. */
export const machine = chart.createMachine({
  id: 'route',
  context: SETTLED,
  initial: 'closed',
  states: {
    closed: { on: { failed, worked: { actions: [recover] }, ...drain } },
    open: { on: { due: { target: 'half-open', actions: [probe] }, ...drain } },
    'half-open': {
      on: {
        worked: { target: 'warming', actions: [warmUp] },
        failed: open,
        due: { actions: [probe] },
        ...drain,
      },
    },
    warming: {
      on: {
        failed: open,
        worked: { actions: [prove] },
        due: [
          { guard: 'hasNextStep', actions: [nextStep] },
          { target: 'closed', actions: [settle] },
        ],
        ...drain,
      },
    },
    draining: { on: { resume: { target: 'half-open', actions: [probe] } } },
  },
});

// ── Effects ───────────────────────────────────────────────────────────────

/** `probe`: connect once, and say whether it worked. */
export type RouteEffect = { readonly type: 'probe' };

const transition = transitionOf(machine);

/** One step: the next state, and what to do. An event that the state does not take changes nothing. */
export function observe(
  { mode, ...context }: RouteState,
  event: Observed,
): { readonly state: RouteState; readonly effects: readonly RouteEffect[] } {
  const before = machine.resolveState({ value: mode, context });
  const [next, actions] = transition(before, event);
  const effects = actions.flatMap((action) => (action.type === 'perform' ? [action.params] : []));
  return { state: { mode: next.value as RouteMode, ...next.context }, effects };
}
