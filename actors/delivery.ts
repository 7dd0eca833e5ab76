/**
 * The delivery actor: one member in trouble. Who never was has no row.
 *
 *      delivering ──probed──▶ probing ──────disabled──────▶ disabled ──warned──▶ disabled
 *        ▲  ▲ │                  │                             │ │
 *        │  │ └───────disabled───┼─────────────────────────────┘ └──member-removed──▶ removed
 *        │  └────────passed──────┘                                 (from every state)
 *        └───────────────enabled (from every state)────────────────
 *
 * D1. A disabled member gets no post, keeps the number and the settings, and comes back by one word.
 * D2. Warnings go to those whom bounces disabled, one after another, `warningDays` apart.
 * D3. Bounces remove a member only after the last warning, and `warningDays` more.
 * D4. Whom bounces stop because the address is dead is suspect on the site's other lists, which may
 *     send a probe; whoever is sent to again is not.
 */
import { setup } from 'xstate';
import { assert, unreachable } from '../src/assert.ts';
import type { Address } from '../src/mail/address.ts';
import type { Standing } from '../src/mail/bounce-event.ts';
import { isDead } from './bounces/scoring.ts';
import type { Cause, Verdict } from './bounces.ts';
import { NO_TROUBLE } from './list/state.ts';
import type { By, Fact } from './protocol.ts';
import { transitionOf } from './transition.ts';

// ── Protocol ──────────────────────────────────────────────────────────────

/** Who stopped the mail: bounces, a reader's complaint to their provider, an owner, or the member. */
export type DisabledBy = 'bounces' | 'complaint' | 'owner' | 'member';

/** What may be asked about a member's mail. */
export type DeliveryCommand =
  | Verdict
  /** `on` for one who is not in trouble forgets the score. */
  | {
      readonly type: 'set-delivery';
      readonly who: { readonly address: Address } | { readonly number: number };
      readonly on: boolean;
      readonly by: By;
    }
  /** A timer: tell the owners what bounces did since the last notice. */
  | { readonly type: 'tell-owners'; readonly due: number };

type OfMember = { readonly number: number; readonly address: Address };

/** What may have happened to a member's mail. */
export type DeliveryFact =
  /** `probe`: how many so far. */
  | (OfMember & { readonly type: 'member-probed'; readonly probe: number; readonly cause: Cause })
  /** The probe did not come back. */
  | (OfMember & { readonly type: 'probe-passed' })
  /** `warning`: 1 where the member is told so, as the first of `of`; else 0. */
  | (OfMember & {
      readonly type: 'delivery-disabled';
      readonly why: DisabledBy;
      readonly warning: number;
      readonly of: number;
      readonly cause: Cause | null;
      readonly by: By;
    })
  | (OfMember & { readonly type: 'member-warned'; readonly warning: number; readonly of: number })
  | (OfMember & { readonly type: 'delivery-enabled'; readonly by: By });

// ── State ─────────────────────────────────────────────────────────────────

export type DeliveryMode = 'delivering' | 'probing' | 'disabled' | 'removed';

/** Plain JSON, and small: one row for each member who is or was in trouble. */
export type DeliveryState = {
  /** Probes so far, and when the last went. */
  readonly probes: number;
  readonly probedAt: number;
  /** Since when, and by whom; null where delivery is on. */
  readonly disabledBy: DisabledBy | null;
  readonly since: number;
  /** Warnings so far, and when the last went. */
  readonly warned: number;
  readonly warnedAt: number;
  /** The bounce that began it. */
  readonly cause: Cause | null;
};

export type DeliveryRow = {
  readonly version: number;
  readonly value: DeliveryMode;
  readonly context: DeliveryState;
};

const DELIVERY_VERSION = 1;
const WELL: DeliveryState = NO_TROUBLE.context;

// ── Decide ────────────────────────────────────────────────────────────────
// `list/troubles.ts`: what is decided about a member is decided by the list.

// ── Machine ───────────────────────────────────────────────────────────────

type Removed = Extract<Fact, { type: 'member-removed' }>;
type Happened = (DeliveryFact | Removed) & { readonly at: number };

function evolve(state: DeliveryState, fact: Happened): DeliveryState {
  const { at } = fact;
  switch (fact.type) {
    case 'member-probed':
      return { ...state, probes: fact.probe, probedAt: at, cause: fact.cause };
    case 'delivery-disabled': {
      const { why, warning, cause } = fact;
      return { ...state, disabledBy: why, since: at, warned: warning, warnedAt: at, cause };
    }
    case 'member-warned':
      return { ...state, warned: fact.warning, warnedAt: at };
    case 'probe-passed':
    case 'delivery-enabled':
      return { ...WELL, probes: state.probes, probedAt: state.probedAt };
    case 'member-removed':
      return state;
    default:
      return unreachable(fact);
  }
}

/** What a fact causes, given the state before it. */
function effectsOf(before: DeliveryState, fact: Happened): readonly DeliveryEffect[] {
  const { number, address, at } = fact;
  const state = evolve(before, fact);
  const tell = (what: Standing['what'], why: Cause | null, count = 0): DeliveryEffect => {
    const id = `l${at}.${number}.${what}.${count}`;
    const byBounces = state.disabledBy === 'bounces';
    const says = { id, at, member: number, what, count, byBounces, cause: why?.seq ?? null };
    return { type: 'tell-bounces', event: { type: 'standing', ...says } };
  };
  switch (fact.type) {
    case 'member-probed': {
      const { probe, cause } = fact;
      return [
        tell('probed', cause, probe),
        { type: 'send-probe', number, address, probe, cause, at },
      ];
    }
    case 'delivery-disabled': {
      const { warning, of, why, cause } = fact;
      const warn = { type: 'send-warning', number, address, warning, of, why, at, cause } as const;
      const says = [tell('disabled', cause, warning), ...(warning === 0 ? [] : [warn])];
      if (why !== 'bounces' || cause === null || !isDead(cause.reason)) return says;
      return [...says, { type: 'tell-suspects', address, dead: { at, cause } }];
    }
    case 'member-warned': {
      const { warning, of } = fact;
      const { cause } = state;
      const why = 'bounces';
      const warn = { type: 'send-warning', number, address, warning, of, why, at, cause } as const;
      return [tell('warned', cause, warning), warn];
    }
    case 'probe-passed':
      return [tell('reset', before.cause)];
    case 'delivery-enabled':
      return [
        tell('reset', isVerdict(fact) ? before.cause : null),
        { type: 'tell-suspects', address, dead: null },
      ];
    case 'member-removed':
      return [tell('removed', isVerdict(fact) ? before.cause : null)];
    default:
      return unreachable(fact);
  }
}

/** True where bounces made the list do it, and no person. */
const isVerdict = ({ by }: { readonly by: By }): boolean => by.kind === 'list';

const chart = setup({
  types: { context: {} as DeliveryState, events: {} as Happened },
  actions: {
    /** Data: the host writes it as rows of the outbox and performs it later. */
    cause: (_, _effects: readonly DeliveryEffect[]) => {},
  },
});

/** The effects first: what a word of the list rests on is in the state that it ends. */
const taken = [
  {
    type: 'cause' as const,
    params: ({ context, event }: { context: DeliveryState; event: Happened }) =>
      effectsOf(context, event),
  },
  chart.assign(({ context, event }) => evolve(context, event)),
];
const always = {
  'delivery-enabled': { target: 'delivering', actions: taken },
  'member-removed': { target: 'removed', actions: taken },
} as const;

/** Law: what may happen to a member's mail, and when. */
export const machine = chart.createMachine({
  id: 'delivery',
  context: WELL,
  initial: 'delivering',
  states: {
    delivering: {
      on: {
        ...always,
        'member-probed': { target: 'probing', actions: taken },
        'delivery-disabled': { target: 'disabled', actions: taken },
      },
    },
    probing: {
      on: {
        ...always,
        'probe-passed': { target: 'delivering', actions: taken },
        'delivery-disabled': { target: 'disabled', actions: taken },
      },
    },
    disabled: { on: { ...always, 'member-warned': { target: 'disabled', actions: taken } } },
    removed: {},
  },
});

const FACTS: ReadonlySet<Fact['type']> = new Set([
  'member-probed',
  'probe-passed',
  'delivery-disabled',
  'member-warned',
  'delivery-enabled',
] satisfies DeliveryFact['type'][]);

/** True for what is this chart's alone; `member-removed` is the list's too. */
export const isDeliveryFact = (fact: Fact): fact is DeliveryFact => FACTS.has(fact.type);

/** True if the chart takes a fact of this type in this mode. */
export function takesDelivery(mode: DeliveryMode, type: Fact['type']): boolean {
  const on = machine.states[mode]?.config.on as Record<string, unknown> | undefined;
  return on?.[type] !== undefined;
}

const transition = transitionOf(machine);

/** One step: the next row, and the effects as data. Throws a BugError for what the chart does not take. */
export function stepDelivery(
  row: DeliveryRow,
  fact: Happened,
): { readonly row: DeliveryRow; readonly effects: readonly DeliveryEffect[] } {
  assert(takesDelivery(row.value, fact.type), `${row.value} does not take ${fact.type}`);
  const snapshot = machine.resolveState({ value: row.value, context: row.context });
  const [next, actions] = transition(snapshot, fact);
  const effects = actions.flatMap((action) => (action.type === 'cause' ? action.params : []));
  const value = next.value as DeliveryMode;
  return { row: { version: DELIVERY_VERSION, value, context: next.context }, effects };
}

// ── Effects ───────────────────────────────────────────────────────────────

/** Each is a row in the outbox until done, and may be done twice with the same ids. */
export type DeliveryEffect =
  | { readonly type: 'tell-bounces'; readonly event: Standing }
  /** To all lists of the site: the address is dead, since `at`; or it is sent to again. */
  | {
      readonly type: 'tell-suspects';
      readonly address: Address;
      readonly dead: { readonly at: number; readonly cause: Cause } | null;
    }
  | (OfMember & {
      readonly type: 'send-probe';
      readonly probe: number;
      readonly cause: Cause;
      readonly at: number;
    })
  | (OfMember & {
      readonly type: 'send-warning';
      readonly warning: number;
      readonly of: number;
      readonly why: DisabledBy;
      readonly cause: Cause | null;
      readonly at: number;
    });
