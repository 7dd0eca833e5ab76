/**
 * The slot actor: one of 64 shares of the lists, as this node has it.
 *
 *      idle ──wanted──▶ acquiring ──acquired──▶ recovering ──recovered──▶ owned ──unwanted──▶ draining ──drained──▶ idle
 *        ▲                  │                       │                       │                    │
 *        └──────lost────────┴──────────lost─────────┴────────lost───────────┴───────lost─────────┘
 *
 * S1. Only an owned slot gives its lists turns, takes from their mailboxes and answers for them.
 * S2. A slot that was lost (fenced, or the lease was over) does nothing more: no answer, no effect, no release.
 * S3. A draining slot takes nothing new; it is released only when its turns are over and its outboxes have said how far they are.
 */
import { setup } from 'xstate';
import { transitionOf } from './transition.ts';

// ── Protocol ──────────────────────────────────────────────────────────────

/** What is observed of a slot. */
export type Observed =
  /** It is ours, by the placement or because its owner named us, and nobody else who lives holds it. */
  | { readonly type: 'wanted' }
  /** The slots bucket has our name, the ledger our record: its sequence is the epoch. */
  | { readonly type: 'acquired'; readonly epoch: number }
  /** Its lists' rows say what the ledger says. */
  | { readonly type: 'recovered' }
  /** It is to go to another node. */
  | { readonly type: 'unwanted' }
  /** Turns are over, markers appended. */
  | { readonly type: 'drained' }
  /** Somebody else has it, or our lease is over. */
  | { readonly type: 'lost' };

// ── State ─────────────────────────────────────────────────────────────────

export type SlotMode = 'idle' | 'acquiring' | 'recovering' | 'owned' | 'draining';
export type SlotState = { readonly mode: SlotMode; readonly epoch: number };

export const IDLE: SlotState = { mode: 'idle', epoch: 0 };

// ── Machine ───────────────────────────────────────────────────────────────

type Context = { readonly epoch: number };

const chart = setup({
  types: { context: {} as Context, events: {} as Observed },
  actions: {
    /** Data: the host performs it. */
    perform: (_, _effect: SlotEffect) => {},
  },
});

const note = chart.assign(({ context, event }) => ({
  epoch: event.type === 'acquired' ? event.epoch : context.epoch,
}));
const does = (type: SlotEffect['type']) => ({ type: 'perform' as const, params: { type } });
const lost = { lost: { target: 'idle', actions: [does('drop')] } } as const;

/** Law: what may follow what. What is not expected in a state is not taken. */
export const machine = chart.createMachine({
  id: 'slot',
  context: { epoch: 0 },
  initial: 'idle',
  states: {
    idle: { on: { wanted: { target: 'acquiring', actions: [does('claim')] } } },
    acquiring: {
      on: {
        acquired: {
          target: 'recovering',
          actions: [note, does('recover')],
        },
        ...lost,
      },
    },
    recovering: { on: { recovered: { target: 'owned', actions: [does('serve')] }, ...lost } },
    owned: { on: { unwanted: { target: 'draining', actions: [does('drain')] }, ...lost } },
    draining: { on: { drained: { target: 'idle', actions: [does('release')] }, ...lost } },
  },
});

// ── Effects ───────────────────────────────────────────────────────────────

/** What the host is to do about the slot now. */
export type SlotEffect = {
  readonly type: 'claim' | 'recover' | 'serve' | 'drain' | 'release' | 'drop';
};

const transition = transitionOf(machine);

/** One step: the next state, and what to do. An event that the state does not take changes nothing. */
export function observe(
  { mode, epoch }: SlotState,
  event: Observed,
): { readonly state: SlotState; readonly effects: readonly SlotEffect[] } {
  const [next, actions] = transition(
    machine.resolveState({ value: mode, context: { epoch } }),
    event,
  );
  const effects = actions.flatMap((action) => (action.type === 'perform' ? [action.params] : []));
  const now = next.value as SlotMode;
  return { state: { mode: now, epoch: now === 'idle' ? 0 : next.context.epoch }, effects };
}
