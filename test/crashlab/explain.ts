/**
 * Which duplicates a fault explains, and how many one fault may.
 *
 *   dropped      the sink took the first copy and closed the connection without a word (RFC 1047):
 *                the sender cannot know. One more copy for each.
 *   in flight    the outgoing process of the first copy died within 2 s of it: the MTA had said
 *                250, the journal not yet. At most its connections for each such fault.
 *   open chunk   the outgoing process of the first copy was out of reach, itself or by its NATS,
 *                for so long that another hand took the chunk. At most the chunks that it may have
 *                in hand, for each such fault and process. On a busy machine JetStream may be
 *                unwell again after a fault: each such stall is one too.
 */
import type { Duplicate } from '../support/accountant.ts';
import type { Fault } from './faults.ts';
import { ACK_WAIT_MS, CONCURRENCY, CONNECTIONS } from './machine.ts';

/** A transaction was in flight at a fault if its copy reached the sink within this of it. */
const NEAR_MS = 2_000;
/** The clocks of the lab and of the sink are one; a log line takes its time. */
const SLACK_MS = 250;
/** A chunk is renewed each quarter of its time in hand, so another hand takes it no sooner. */
const TAKEN_AFTER_MS = ACK_WAIT_MS / 2;
/** When JetStream is well again after a fault: connections are found dead, and what is queued is told. */
const RECOVERY_MS = 20_000;

export type Explained = {
  readonly unexplained: readonly Duplicate[];
  /** How many each kind of cause explains. */
  readonly causes: ReadonlyMap<string, number>;
};

/** A fault, or a time when JetStream was unwell though no fault lasted. */
type Cause = Omit<Fault, 'kind'> & { readonly kind: Fault['kind'] | 'stall' };

type Budgets = { readonly flights: Map<Cause, number>; readonly chunks: Map<string, Set<string>> };

/**
 * Each duplicate is laid to one fault, as long as that one may explain another. `wellAt`: when
 * JetStream was seen well, ms since the epoch, in order.
 */
export function explain(
  duplicates: readonly Duplicate[],
  faults: readonly Fault[],
  wellAt: readonly number[],
): Explained {
  const struck = faults.map((fault) => ({ ...fault, until: wellAfter(fault, wellAt) }));
  const lasting: readonly Cause[] = [...struck, ...stallsIn(wellAt)];
  const budgets: Budgets = { flights: new Map(), chunks: new Map() };
  const unexplained: Duplicate[] = [];
  const causes = new Map<string, number>();
  const inOrder = [...duplicates].sort((a, b) => a.firstAt - b.firstAt);
  for (const duplicate of inOrder) {
    const cause =
      dropped(duplicate) ??
      inFlight(duplicate, lasting, budgets) ??
      openChunk(duplicate, lasting, budgets) ??
      openTryBefore(duplicate, lasting, budgets);
    if (cause === null) unexplained.push(duplicate);
    else causes.set(cause, (causes.get(cause) ?? 0) + 1);
  }
  return { unexplained, causes };
}

/** A fault lasts until JetStream is well again, however long that takes on a busy machine. */
const wellAfter = ({ until }: Fault, wellAt: readonly number[]): number | null =>
  until === null ? null : (wellAt.find((at) => at >= until) ?? null);

/** When it was not seen well for so long that a chunk may have gone to another hand. */
function stallsIn(wellAt: readonly number[]): readonly Cause[] {
  return wellAt.flatMap((until, i) => {
    const at = wellAt[i - 1] ?? until;
    if (until - at < TAKEN_AFTER_MS) return [];
    return [{ kind: 'stall', what: 'JetStream', machines: [], parts: ['nats'], at, until }];
  });
}

const dropped = ({ isFirstUnanswered }: Duplicate): string | null =>
  isFirstUnanswered === true ? 'dropped after the dot' : null;

function inFlight(
  { firstBy = '', firstAt }: Duplicate,
  faults: readonly Cause[],
  { flights }: Budgets,
): string | null {
  const fault = faults.find(
    (one) =>
      endsProcess(one) &&
      one.parts.includes('outgoing') &&
      isOn(one, firstBy) &&
      firstAt >= one.at - NEAR_MS &&
      firstAt <= one.at + SLACK_MS &&
      (flights.get(one) ?? 0) < CONNECTIONS,
  );
  if (fault === undefined) return null;
  flights.set(fault, (flights.get(fault) ?? 0) + 1);
  return `in flight at a ${fault.kind}`;
}

function openChunk(
  { marker, chunk = 0, firstBy = '', firstAt, againAt }: Duplicate,
  faults: readonly Cause[],
  { chunks }: Budgets,
): string | null {
  const name = `${marker}.${chunk}`;
  for (const [i, fault] of faults.entries()) {
    if (!cutsOff(fault, firstBy)) continue;
    const overAt = (fault.until ?? Number.POSITIVE_INFINITY) + RECOVERY_MS;
    if (firstAt > overAt || againAt < fault.at + TAKEN_AFTER_MS) continue;
    // The chunk was in hand when the fault came, or taken in hand while it lasted.
    if (firstAt < fault.at - ACK_WAIT_MS) continue;
    const budget = `${i} ${firstBy}`;
    const open = chunks.get(budget) ?? new Set<string>();
    if (!open.has(name) && open.size >= CONCURRENCY) continue;
    chunks.set(budget, open.add(name));
    return `of a chunk open at a ${fault.kind}`;
  }
  return null;
}

function openTryBefore(
  duplicate: Duplicate,
  faults: readonly Cause[],
  budgets: Budgets,
): string | null {
  const { putOff } = duplicate;
  if (putOff === undefined) return null;
  return openChunk({ ...duplicate, firstBy: putOff.by, firstAt: putOff.at }, faults, budgets);
}

const endsProcess = ({ kind }: Cause): boolean =>
  kind === 'kill' || kind === 'power-cut' || kind === 'blackout';

/** By EHLO: `m1.example.org`. */
const isOn = ({ machines }: Cause, name: string): boolean =>
  machines.some((machine) => name.startsWith(`m${machine}.`));

/** True if the fault may have kept that machine's outgoing process from telling what it did. */
function cutsOff(fault: Cause, name: string): boolean {
  if (fault.parts.includes('outgoing') && isOn(fault, name)) return true;
  return fault.kind === 'partition' || fault.parts.includes('nats');
}
