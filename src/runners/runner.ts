/**
 * The loop that every runner lives in: takes from queues, has each delivery disposed of, and does
 * all that a runner never does itself: ack, renew, try again, park, count, stop.
 *
 *   done       acked
 *   parked     set aside whole, with the reason, then acked: what threw, and what killed its
 *              process
 *   left       neither: it comes again when its ack is overdue. A transient failure (a MailError
 *              4.x.x) is first tried again in hand, a few times
 *
 * R1. A delivery is acked only after it was disposed of, or parked.
 * R2. At most `concurrency` deliveries are being disposed of, at most `largeMax` of them from large
 *     queues, and one of each queue waits.
 * R3. What could not be renewed in time is lost: its hand says so before anything more is done
 *     with it.
 */
import { assert } from '../assert.ts';
import { within } from '../ending.ts';
import { MailError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Clock, Delivery, Meter, Parked, Suspects } from '../world.ts';
import { type Lane, type Lanes, openLanes, type Taken } from './lanes.ts';

/** Five times in hand when its process died is no accident (design §4). */
export const DEATHS_MAX = 5;
/** Waits between tries in hand of what failed for now. */
export const RETRY_IN_HAND_MS: readonly number[] = [500, 1_000, 2_000, 4_000, 8_000];
/** After the deadline of a stop, for what is in flight to be told. */
const CUT_MS_MAX = 5_000;

/**
 * What became of a delivery. `leave`: it is not finished and shall come again; given back at once
 * when we stop.
 */
export type Disposal =
  | { readonly kind: 'done' }
  | { readonly kind: 'park'; readonly why: string }
  | { readonly kind: 'leave'; readonly why: string };

/**
 * `ours`: go on. `stopping`: begin nothing more. `lost`: it may be in another hand; do nothing more
 * at all.
 */
export type Hand = { state(): 'ours' | 'stopping' | 'lost' };

export type Dispose = (delivery: Delivery, hand: Hand) => Promise<Disposal>;

export type RunnerOptions = {
  /** Stands in logs and metrics, and in `troupe.parked.<name>`: `[a-z]+`. */
  readonly name: string;
  /** Taken from in proportion to their weights. */
  readonly queues: readonly Lane[];
  readonly dispose: Dispose;
  /** Deliveries disposed of at once. */
  readonly concurrency: number;
  /** Of those, how many from queues that are large; by default all. */
  readonly largeMax?: number;
  /** How far each queue may pull ahead; 1 where a delivery is long work. */
  readonly ahead: number;
  readonly park: Parked['put'];
  /** A third of the queues' ack_wait or less. */
  readonly renewMs: number;
  /** Less than the queues' ack_wait: without a renewal for so long, a delivery is lost. */
  readonly lostMs: number;
  /** How long a stop waits for what is in hand. */
  readonly stopMs: number;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  /** Awaited before each pull; resolves at the latest when the signal aborts. */
  readonly canPull?: (signal: AbortSignal) => Promise<void>;
  /** False while a renewal could not be sent. */
  readonly canRenew?: () => boolean;
  readonly onRenewed?: (delivery: Delivery) => void;
  /** Disposed of before anything is taken: what an earlier process left in hand. */
  readonly first?: readonly Delivery[];
  /** Without it nothing is ever parked for killing its process. */
  readonly suspects?: Suspects;
};

export type Counts = { readonly done: number; readonly parked: number; readonly left: number };

export type Running = {
  /**
   * Takes no more; finishes what is in hand within `stopMs`, gives back the rest. Twice is not an
   * error.
   */
  stop(): Promise<void>;
  counts(): Counts & { readonly inHand: number };
  /** Deliveries in hand by the name of their queue, those that wait here too. */
  inHandOf(queue: string): number;
};

type Held = Taken & { renewedAt: number };

type State = {
  readonly options: RunnerOptions;
  readonly stopping: AbortController;
  /** Aborts when nothing is in hand any more, or nobody waits for it. */
  readonly finished: AbortController;
  readonly held: Map<Delivery, Held>;
  readonly first: Held[];
  readonly counts: { done: number; parked: number; left: number };
  isCut: boolean;
};

/** Starts a runner; it runs until it is stopped. */
export function runRunner(options: RunnerOptions): Running {
  assert(options.renewMs < options.lostMs, 'a delivery must be renewed before it is lost');
  const state: State = {
    ...{ options, stopping: new AbortController(), finished: new AbortController() },
    ...{ held: new Map(), first: [], counts: { done: 0, parked: 0, left: 0 }, isCut: false },
  };
  for (const delivery of options.first ?? []) {
    state.first.push(hold(state, { delivery, from: 'journal', isLarge: false }));
  }
  const lanes = openLanes(
    {
      ...{ lanes: options.queues, largeMax: options.largeMax ?? options.concurrency },
      ...{ ahead: options.ahead, staleMs: options.renewMs },
      ...{ canPull: options.canPull ?? (async () => undefined), clock: options.clock },
      ...{ onTaken: (taken) => void hold(state, taken), log: options.log },
    },
    state.stopping.signal,
  );
  const working = Promise.all(
    Array.from({ length: options.concurrency }, () => work(state, lanes)),
  );
  void renew(state.held, options, state.finished.signal);
  let stopped: Promise<void> | null = null;
  return {
    stop() {
      stopped ??= stop(state, lanes, working);
      return stopped;
    },
    counts: () => ({ ...state.counts, inHand: state.held.size }),
    inHandOf: (queue) => [...state.held.values()].filter(({ from }) => from === queue).length,
  };
}

function hold({ held, options }: State, taken: Taken): Held {
  const here = { ...taken, renewedAt: options.clock.monotonic() };
  held.set(taken.delivery, here);
  return here;
}

function stateOf({ options, isCut }: State, { renewedAt }: Held): ReturnType<Hand['state']> {
  if (options.clock.monotonic() - renewedAt > options.lostMs) return 'lost';
  return isCut ? 'stopping' : 'ours';
}

/** One of `concurrency` workers: one delivery after another, until there is to be no next. */
async function work(state: State, lanes: Lanes): Promise<void> {
  const { options, held, counts, stopping } = state;
  const { clock, meter, name } = options;
  for (;;) {
    const taken = state.first.shift() ?? (await lanes.next());
    if (taken === null) return;
    const here = held.get(taken.delivery) ?? hold(state, taken);
    const startedAt = clock.monotonic();
    const hand: Hand = { state: () => stateOf(state, here) };
    const became = await disposeOf(here, hand, options, stopping.signal);
    held.delete(taken.delivery);
    lanes.ended(taken);
    counts[became] += 1;
    meter.count(`runner_${became}`, { runner: name });
    meter.observe('runner_ms', clock.monotonic() - startedAt, { runner: name });
  }
}

async function stop(state: State, lanes: Lanes, working: Promise<unknown>): Promise<void> {
  const { options, finished } = state;
  state.stopping.abort();
  await lanes.closed;
  for (const { delivery } of [...lanes.waiting(), ...state.first.splice(0)]) {
    state.held.delete(delivery);
    delivery.giveBack();
  }
  await within(options.clock, options.stopMs, working);
  state.isCut = true;
  await within(options.clock, CUT_MS_MAX, working);
  finished.abort();
}

/** Renews all that is in hand, twice as often as it must be. */
async function renew(
  held: ReadonlyMap<Delivery, Held>,
  { clock, renewMs, lostMs, canRenew, onRenewed }: RunnerOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(renewMs / 2, signal);
    if (signal.aborted || canRenew?.() === false) continue;
    const now = clock.monotonic();
    for (const here of held.values()) {
      // What is lost stays lost: a renewal now would only take it from the hand that has it.
      const ageMs = now - here.renewedAt;
      if (ageMs < renewMs / 2 || ageMs > lostMs) continue;
      here.delivery.working();
      here.renewedAt = now;
      onRenewed?.(here.delivery);
    }
  }
}

/** Never throws: it is the end of the line for whatever a runner does. */
async function disposeOf(
  here: Held,
  hand: Hand,
  options: RunnerOptions,
  signal: AbortSignal,
): Promise<keyof Counts> {
  const { delivery, from } = here;
  const suspect = delivery.deliveries > 1 ? options.suspects : undefined;
  const id = `${from}:${delivery.seq}`;
  try {
    const deaths = suspect?.begin(id) ?? 0;
    const disposal: Disposal =
      deaths >= DEATHS_MAX
        ? { kind: 'park', why: `it was in hand ${deaths} times when its process died` }
        : await tryInHand(delivery, hand, options, signal);
    return await settle(disposal, here, options, signal.aborted && hand.state() !== 'lost');
  } catch (error) {
    // Parking failed, or the local note of a suspect: it stays in its queue, and comes again.
    const fields = { runner: options.name, subject: delivery.subject, seq: delivery.seq };
    options.log.error({ ...fields, error: textOf(error) }, 'a delivery could not be set aside');
    return 'left';
  } finally {
    suspect?.end(id);
  }
}

/** Tries again what fails for now, a few times; what throws otherwise is to be parked. */
async function tryInHand(
  delivery: Delivery,
  hand: Hand,
  { dispose, clock, meter, name }: RunnerOptions,
  signal: AbortSignal,
): Promise<Disposal> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await dispose(delivery, hand);
    } catch (error) {
      const isTransient = error instanceof MailError && error.isTransient;
      if (!isTransient) return { kind: 'park', why: stackOf(error) };
      const waitMs = RETRY_IN_HAND_MS[attempt];
      if (waitMs === undefined || hand.state() !== 'ours' || signal.aborted) {
        return { kind: 'leave', why: reasonOf(error) };
      }
      meter.count('runner_tries_again', { runner: name });
      await clock.sleep(waitMs, signal);
    }
  }
}

/**
 * What has come of a delivery is told until it is heard: again what fails for now, as long as the hand is ours. Throws when it fails
 * otherwise, or the hand is not ours any more.
 */
export async function untilHeard(
  tell: () => Promise<void>,
  hand: Hand,
  clock: Clock,
): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await tell();
    } catch (error) {
      const isTransient = error instanceof MailError && error.isTransient;
      if (!isTransient || hand.state() !== 'ours') throw error;
    }
    await clock.sleep(RETRY_IN_HAND_MS[attempt] ?? RETRY_IN_HAND_MS.at(-1) ?? 0);
  }
}

async function settle(
  disposal: Disposal,
  { delivery, from }: Held,
  { park, log, name }: RunnerOptions,
  mayGiveBack: boolean,
): Promise<keyof Counts> {
  if (disposal.kind === 'done') {
    delivery.ack();
    return 'done';
  }
  const { subject, seq, deliveries } = delivery;
  const fields = {
    runner: name,
    queue: from,
    subject,
    seq,
    attempt: deliveries,
    why: disposal.why,
  };
  if (disposal.kind === 'park') {
    await park(name, delivery, disposal.why);
    log.error(fields, 'parked');
    delivery.ack();
    return 'parked';
  }
  if (mayGiveBack) delivery.giveBack();
  log.warn(fields, 'left to come again');
  return 'left';
}

/** What a bug was, with where: it stands in the park beside the mail. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function reasonOf(error: MailError): string {
  return error.cause === undefined ? error.message : `${error.message}: ${textOf(error.cause)}`;
}
