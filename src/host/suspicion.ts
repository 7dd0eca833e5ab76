/**
 * Suspicion: what this node does about addresses that lists of the site found dead. It follows the
 * suspects, looks each up in the rosters of the lists that it owns, and hints to those that have it:
 * the list may send a probe, and only what comes of that counts (decision 0012).
 *
 * One walk over the lists serves all that is new, and all slots that are behind; it costs a read a
 * list and a suspect, in slices between which everything else goes on.
 *
 * Crash windows: `['#suspects', slot]` is written after the last hint; a walk that was cut off is
 * done again, with the same ids. Who takes a slot over begins at the oldest suspect, and the lists
 * know whom they asked since.
 */
import type { Command } from '../../actors/protocol.ts';
import { MailError, textOf } from '../errors.ts';
import { type Address, addressKey } from '../mail/address.ts';
import { type ListKey, slotOf } from '../mail/list-key.ts';
import { SUSPECT_DAYS } from '../nats/streams.ts';
import { type Suspect, type SuspectRow, suspectName } from '../nats/suspects.ts';
import { listKeys, type MemberRow } from '../store/list-rows.ts';
import type { Asked } from '../world.ts';
import type { OwnedSlot } from './slots.ts';
import type { HostWorld } from './world.ts';

/** Suspects that a node remembers, some 500 bytes each; past them it forgets the oldest. */
export const SUSPECTS_MAX = 10_000;
/** Looks after which everything else has its turn: some 2 ms. */
const READS_A_SLICE = 256;
const SUSPECT_MS = SUSPECT_DAYS * 86_400_000;
/** While NATS is away. */
const AGAIN_MS = 1_000;

export type Suspicion = {
  /** Its lists hear of suspects from now on, and of those that its last owner did not tell them. */
  serve(slot: OwnedSlot): void;
  /** What another list than this one found of the address; null if nothing. */
  of(address: Address, but: ListKey): Suspect | null;
  /** Addresses that are suspect, as far as this node knows. */
  count(): number;
};

type Known = Suspect & {
  readonly name: string;
  readonly revision: number;
  /** As it stands in rosters. */
  readonly equal: string;
};
type State = {
  readonly world: HostWorld;
  readonly signal: AbortSignal;
  /** By name; the oldest revision first. */
  readonly known: Map<string, Known>;
  readonly served: Map<number, OwnedSlot>;
  /** The last revision read; null until all there was has been. */
  reached: number | null;
  wake: () => void;
};

/** Works until the signal aborts; `fatal` hears of what this process cannot live with. */
export function startSuspicion(
  world: HostWorld,
  signal: AbortSignal,
  fatal: (error: unknown) => void,
): Suspicion {
  const state: State = {
    ...{ world, signal, known: new Map(), served: new Map(), reached: null },
    wake: () => {},
  };
  signal.addEventListener('abort', () => state.wake(), { once: true });
  const failed = (error: unknown): void => {
    if (!signal.aborted) fatal(error);
  };
  follow(state).catch(failed);
  work(state).catch(failed);
  return {
    serve: (slot) => {
      state.served.set(slot.slot, slot);
      state.wake();
    },
    of: (address, but) => {
      const found = state.known.get(suspectName(address));
      return found === undefined || found.key === but || isOld(state, found) ? null : found;
    },
    count: () => state.known.size,
  };
}

// ── Following ─────────────────────────────────────────────────────────────

async function follow(state: State): Promise<void> {
  let last = 0;
  for await (const row of state.world.suspects.follow(state.signal)) {
    if (row === 'ready') state.reached = last;
    else {
      last = row.revision;
      note(state, row);
      if (state.reached !== null) state.reached = last;
    }
    if (state.reached !== null) state.wake();
  }
}

function note(state: State, { name, revision, suspect }: SuspectRow): void {
  const { known } = state;
  known.delete(name); // To its new place: the oldest come first.
  if (suspect !== null)
    known.set(name, { ...suspect, name, revision, equal: addressKey(suspect.address) });
  for (const one of known.values()) {
    if (known.size <= SUSPECTS_MAX && !isOld(state, one)) return;
    known.delete(one.name);
  }
}

/** The bucket forgets rows by age and tells nobody. */
const isOld = ({ world }: State, { at }: Suspect): boolean => world.clock.now() - at > SUSPECT_MS;

// ── Telling the lists ─────────────────────────────────────────────────────

async function work(state: State): Promise<void> {
  const { world, signal } = state;
  while (!signal.aborted) {
    const woken = new Promise<void>((resolve) => {
      state.wake = resolve;
    });
    if (behindOf(state).size === 0) {
      await woken;
      continue;
    }
    try {
      await world.bounceFold.idle(world.clock.now(), signal);
      if (!signal.aborted) await tell(state, behindOf(state));
    } catch (error) {
      if (!(error instanceof MailError)) throw error;
      world.log.warn({ error: textOf(error) }, 'suspects: lists are not told yet');
      await world.clock.sleep(AGAIN_MS, signal);
    }
  }
}

/** For each slot that has not heard of all: the revision up to which it has. */
function behindOf({ world, served, reached }: State): ReadonlyMap<number, number> {
  const behind = new Map<number, number>();
  if (reached === null) return behind;
  for (const { slot, signal } of served.values()) {
    if (signal.aborted) {
      served.delete(slot);
      continue;
    }
    const told = (world.bounceFold.rows.get(['#suspects', slot]) as number | undefined) ?? 0;
    // A bucket that ends before what was told is another one, or was restored.
    if (told !== reached) behind.set(slot, told > reached ? 0 : told);
  }
  return behind;
}

async function tell(state: State, behind: ReadonlyMap<number, number>): Promise<void> {
  const { world, signal, known, reached } = state;
  const began = world.clock.now();
  const least = Math.min(...behind.values());
  const fresh = [...known.values()].filter((one) => one.revision > least && !isOld(state, one));
  let reads = 0;
  for (const concerned of fresh.length === 0 ? [] : look(state, behind, fresh)) {
    if (concerned !== null) await hint(state, concerned.key, concerned.suspect);
    reads += 1;
    if (reads % READS_A_SLICE === 0) {
      await new Promise<void>((go) => world.nextTick(go));
      await world.bounceFold.idle(began, signal);
    }
    if (signal.aborted) return;
  }
  world.bounceFold.rows.commit([...behind.keys()].map((slot) => [['#suspects', slot], reached]));
}

/** A list and the suspect that it has as a member; null for each look that found nothing. */
function* look(
  state: State,
  behind: ReadonlyMap<number, number>,
  fresh: readonly Known[],
): Iterable<{ readonly key: ListKey; readonly suspect: Known } | null> {
  for (const key of listKeys(state.world.rows)) {
    yield null;
    const told = behind.get(slotOf(key));
    if (told === undefined) continue;
    for (const suspect of fresh)
      if (suspect.revision > told) yield concerns(state, key, suspect) ? { key, suspect } : null;
  }
}

/** True if the list sends to the address, and did when it was found dead. */
function concerns({ world, known }: State, key: ListKey, suspect: Known): boolean {
  const number = world.rows.get([key, 'address', suspect.equal]) as number | undefined;
  if (number === undefined || key === suspect.key || known.get(suspect.name) !== suspect)
    return false;
  const member = world.rows.get([key, 'member', number]) as MemberRow | undefined;
  return member !== undefined && member.off !== true && member.at <= suspect.at;
}

async function hint({ world }: State, key: ListKey, suspect: Known): Promise<void> {
  const { name, address, list, at } = suspect;
  const cause = { ...suspect.cause, elsewhere: { list, since: at } };
  const id = `suspect.${at}.${name.slice(0, 16)}`;
  const asked: Asked<Command> = { id, command: { type: 'bounce-hint', address, cause } };
  await world.bounceFold.mailbox.put(key, asked);
  world.meter.count('bounce_verdicts', { verdict: 'suspect' });
  world.log.info({ list: key, id }, 'suspects: told the list');
}
