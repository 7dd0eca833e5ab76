/**
 * Outgoing runner: sends chunks through a route.
 *
 *   takes   troupe.outgoing.<class>      one chunk: recipients of one post, and the recipe
 *   gives   the route chosen at pull     one transaction a recipient, each with its own return path
 *                                        (mode `shared`: one for up to 100 of them); chosen again
 *                                        among the others if it dies
 *   tells   troupe.results.<…>.<try>     what became of each recipient
 *           troupe.bounces.<slot>.<key>  who was refused with 5xx, or is given up on
 *   later   troupe.later.<chunk>         who was refused with 4xx, or not tried for want of a route
 *                                        or because the post is paused, as the next try
 *   parks   troupe.parked.outgoing       a chunk that threw, or whose raw mail is gone
 *
 * O1. A chunk may come twice; its last result says what of it is done. It is never done zero times.
 * O2. Whom a result of any try, or the journal, names as accepted is not sent to again.
 * O3. Every recipient of a try ends as accepted, refused, cancelled, or in the next try, which is in
 *     LATER before the result is told; the result is told before the chunk is acked.
 * O4. After a crash the process that comes back first tells what its journal has, then goes on.
 * O5. Of a post that is paused or cancelled no further transaction begins, a moment after it was said.
 */
import { textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import {
  type Chunk,
  type ChunkId,
  type Class,
  chunkName,
  type PostOrder,
  type Result,
} from '../mail/chunk.ts';
import { cook } from '../mail/cook.ts';
import type { Dkim, Ready } from '../mail/dkim.ts';
import type {
  BouncesOut,
  Clock,
  Delivery,
  HeldChunk,
  Journal,
  Lent,
  MailStore,
  Meter,
  Results,
} from '../world.ts';
import { type Cache, createCache } from './cooked-cache.ts';
import { bouncesOf } from './outgoing-bounce.ts';
import { type CarryNeeds, carry } from './outgoing-carry.ts';
import {
  type Circumstances,
  countsOf,
  type Ended,
  outcomeOf,
  type Progress,
  partOf,
  progressBefore,
  resumed,
} from './outgoing-result.ts';
import { haltedBy, orderOf } from './post-order.ts';
import { createRecipientLimits, type RecipientLimits } from './recipient-limits.ts';
import type { Repeats } from './repeats.ts';
import { type Disposal, type Hand, untilHeard } from './runner.ts';

/** Cooked posts in memory. */
export const COOKED_BYTES_MAX = 64 * 1024 * 1024;
/** Of one chunk, in the log one by one; all of them are in the result. */
const REFUSED_LOGGED_MAX = 20;
const REPLY_LOGGED_MAX = 300;
/** The name of the first chunk of a post, and of the only one of most. */
const FIRST_CHUNK = '0';

export type OutgoingNeeds = {
  /** Throws when it is no chunk. */
  decode(data: Uint8Array): Chunk;
  /** The route for this chunk, now, and a place in its hand; null when none that was not `tried` may carry it. */
  lend(chunk: Chunk, tried: readonly string[]): Promise<Lent | null>;
  /** Says that a chunk of this class is about to ask for a route, until what it gives is called. */
  expect(cls: Class): () => void;
  readonly results: Results;
  readonly bounces: BouncesOut;
  readonly later: {
    put(id: string, at: number, due: { to: 'outgoing'; chunk: Chunk }): Promise<void>;
  };
  readonly journal: Journal;
  readonly read: MailStore['read'];
  readonly secrets: { newest(): Uint8Array };
  /** Absent: nothing is signed. */
  readonly dkim?: Pick<Dkim, 'prepare'>;
  /** So long after the first try a recipient is given up on. */
  readonly lifeMs: number;
  readonly repeats: Pick<Repeats, 'note'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
  /** No next try waits longer; the schedule's own limit if it is not said. */
  readonly retryMsMax?: number;
};

/** Makes the delivery of an earlier process ours again: its bytes, and where its ack goes. */
export type Adopt = (ackToken: string, data: Uint8Array) => Delivery;

export type Outgoing = {
  dispose(delivery: Delivery, hand: Hand): Promise<Disposal>;
  /** For the loop's `onRenewed`: a restart goes on with what was renewed lately. */
  onRenewed(delivery: Delivery): void;
  /**
   * At start, before anything is taken: tells a `part` for each chunk that the journal holds open,
   * and gives back those that are still ours, younger than `ackWaitMs`. The others come again by
   * themselves.
   */
  resume(adopt: Adopt, ackWaitMs: number): Promise<readonly Delivery[]>;
};

type State = {
  readonly needs: OutgoingNeeds;
  readonly cooked: Cache<Ready | null>;
  readonly limits: RecipientLimits;
  /** By chunk, whichever try: two tries of one chunk are never sent at once from here. */
  readonly inHand: Map<string, { readonly name: string; readonly delivery: Delivery }>;
};

export function createOutgoing(needs: OutgoingNeeds): Outgoing {
  const state: State = {
    needs,
    cooked: createCache(COOKED_BYTES_MAX, (cooked) => cooked?.size ?? 0),
    limits: createRecipientLimits(needs.clock),
    inHand: new Map(),
  };
  return {
    async dispose(delivery, hand) {
      const chunk = needs.decode(delivery.data);
      const name = chunkName(chunk);
      const ofAnyTry = chunkName({ ...chunk, try: 0 });
      if (state.inHand.has(ofAnyTry)) return { kind: 'leave', why: 'it is in hand here already' };
      state.inHand.set(ofAnyTry, { name, delivery });
      try {
        return await disposeOf(chunk, delivery, hand, state);
      } finally {
        state.inHand.delete(ofAnyTry);
      }
    },
    onRenewed(delivery) {
      for (const one of state.inHand.values())
        if (one.delivery === delivery) needs.journal.renewed(one.name);
    },
    resume: (adopt, ackWaitMs) => resume(adopt, ackWaitMs, needs),
  };
}

async function disposeOf(
  given: Chunk,
  delivery: Delivery,
  hand: Hand,
  state: State,
): Promise<Disposal> {
  const { needs } = state;
  const { clock, journal } = needs;
  const name = chunkName(given);
  const hasCome = needs.expect(given.class);
  const { last, order, before, after } = await toldOf(given, needs).finally(hasCome);
  if (last?.kind === 'done') {
    journal.close(name);
    return { kind: 'done' };
  }
  const chunk = order === 'go' ? resumed(given, clock.now()) : given;
  const progress = progressBefore(chunk, [last, ...before, ...after], journal.acceptedOf(name));
  const { ended, route, bugs } =
    order === 'go'
      ? await carry(chunk, progress, carryNeeds(chunk, progress, { delivery, hand }, state))
      : { ended: order, route: '', bugs: [] };
  if (ended === 'gone') return { kind: 'park', why: 'the raw mail of this post is gone' };
  if (ended === 'cut') {
    await tellPart(chunk, progress, needs);
    for (const bug of bugs) throw bug; // It is about to be parked: whoever replays it knows now whom to leave out.
    return { kind: 'leave', why: 'it was taken out of hand before it was finished' };
  }
  await finish(chunk, progress, ended, { route, before, hand }, needs);
  return { kind: 'done' };
}

type Told = {
  readonly last: Result | null;
  readonly order: PostOrder;
  readonly before: readonly (Result | null)[];
  readonly after: readonly Result[];
};

/**
 * All that RESULTS has about a chunk. Most posts have one chunk, of which nothing was told yet: of a first one that is asked at once
 * for all, since each question costs the server and us more than what it is about.
 */
async function toldOf(chunk: Chunk, needs: OutgoingNeeds): Promise<Told> {
  const { results } = needs;
  const isFirst = chunk.chunk === FIRST_CHUNK && chunk.try === 0;
  if (isFirst && (await results.isUntold(chunk.key, chunk.post)))
    return { last: null, order: 'go', before: [], after: [] };
  const [last, order, before, after] = await Promise.all([
    results.last(chunk),
    orderOf(chunk, needs),
    resultsBefore(chunk, needs),
    resultsAfter(chunk, needs),
  ]);
  return { last, order, before, after };
}

function carryNeeds(
  chunk: Chunk,
  progress: Progress,
  { delivery, hand }: { readonly delivery: Delivery; readonly hand: Hand },
  state: State,
): CarryNeeds {
  const { needs, limits } = state;
  const { clock, journal, meter } = needs;
  return {
    ...{ clock, hand, journal, limits, meter },
    secret: needs.secrets.newest(),
    halted: haltedBy(chunk, needs),
    lend: (tried) => needs.lend(chunk, tried),
    async prepare(to) {
      const cooked = await cookedOf(chunk, state);
      if (cooked === null) return null;
      journal.open(chunkName(chunk), delivery.ackToken ?? '', delivery.data);
      if (needs.repeats.note(chunk, delivery, to.length))
        for (const [number] of to) progress.repeated.add(number);
      return cooked;
    },
  };
}

/**
 * The results of all tries before: one whose next try was put in doubt may go on, and some are accepted by it while the next
 * tries wait, however many there are by then.
 */
function resultsBefore(chunk: ChunkId, needs: OutgoingNeeds): Promise<readonly (Result | null)[]> {
  const { key, post } = chunk;
  const ids = Array.from({ length: chunk.try }, (_, attempt) => ({
    ...{ key, post, chunk: chunk.chunk, try: attempt },
  }));
  return Promise.all(ids.map((id) => needs.results.last(id)));
}

/**
 * The results of the tries after: there are some if this one ended between its next try and its own result, and comes again.
 */
async function resultsAfter(chunk: ChunkId, needs: OutgoingNeeds): Promise<readonly Result[]> {
  const { key, post } = chunk;
  const results: Result[] = [];
  for (let attempt = chunk.try + 1; ; attempt += 1) {
    const result = await needs.results.last({ key, post, chunk: chunk.chunk, try: attempt });
    if (result === null) return results;
    results.push(result);
  }
}

/** The post, cooked once however many of its chunks ask for it; null when its raw mail is gone. */
function cookedOf({ key, post, mail, recipe }: Chunk, state: State): Promise<Ready | null> {
  const { dkim, log, read } = state.needs;
  const where = 'inline' in mail ? 'inline' : `${mail.in}.${mail.seq}`;
  return state.cooked.get(`${key}.${post}.${where}`, async () => {
    const raw = 'inline' in mail ? Buffer.from(mail.inline, 'base64') : await read(mail);
    if (raw === null) return null;
    const cooked = cook(raw, recipe);
    const ready: Ready = dkim === undefined ? cooked : dkim.prepare(cooked, recipe.list);
    if (ready.unsigned !== undefined) {
      log.warn({ list: key, post, why: ready.unsigned }, 'sent without a signature');
    }
    return ready;
  });
}

/**
 * LATER and BOUNCES, then the result; the ack is the loop's. While the hand is ours each is told until it is heard: once the next
 * try may be there, whom it names is sent to by that one alone.
 */
async function finish(
  chunk: Chunk,
  progress: Progress,
  ended: Ended,
  { hand, ...tries }: Pick<Circumstances, 'route' | 'before'> & { readonly hand: Hand },
  needs: OutgoingNeeds,
): Promise<void> {
  const { clock, lifeMs, retryMsMax, later, results, bounces } = needs;
  const limits = { now: clock.now(), lifeMs, ...(retryMsMax !== undefined && { retryMsMax }) };
  const { result, next } = outcomeOf(chunk, progress, ended, { ...tries, ...limits });
  const heard = (tell: () => Promise<void>) => untilHeard(tell, hand, clock);
  if (next !== null) {
    const put = (at: number) =>
      heard(() => later.put(chunkName(next.chunk), at, { to: 'outgoing', chunk: next.chunk }));
    await put(next.at);
    // Who resumes the post brings forward what waits; what came too late for that is seen here.
    if (ended === 'pause' && (await orderOf(chunk, needs)) !== 'pause') await put(clock.now());
  }
  for (const event of bouncesOf(chunk, result)) await heard(() => bounces.put(chunk.key, event));
  await heard(() => results.tell(chunk, result));
  needs.journal.close(chunkName(chunk));
  report(chunk, result, next?.at ?? null, needs);
}

/**
 * Adds to what was told: another process may have been at it. Says nothing when that one has
 * finished.
 */
async function tellPart(chunk: Chunk, progress: Progress, needs: OutgoingNeeds): Promise<void> {
  const name = chunkName(chunk);
  const last = await needs.results.last(chunk);
  if (last?.kind !== 'done') {
    const told = progressBefore(chunk, [last], new Map());
    for (const [number, reply] of progress.accepted) {
      if (!told.accepted.has(number)) told.accepted.set(number, reply);
      told.replies.delete(number);
    }
    for (const [number, reply] of progress.replies) {
      if (!told.accepted.has(number)) told.replies.set(number, reply);
    }
    for (const number of progress.repeated) told.repeated.add(number);
    await needs.results.tell(chunk, partOf(chunk, told, needs.clock.now()));
  }
  needs.journal.close(name);
}

function report(
  chunk: Chunk,
  result: Result,
  nextAt: number | null,
  { log, meter }: OutgoingNeeds,
): void {
  const { key: list, post, trace, class: cls } = chunk;
  const fields = { runner: 'outgoing', trace, list, post, chunk: chunk.chunk, attempt: chunk.try };
  const counts = countsOf(result);
  for (const [by, of] of counts) {
    for (const [what, count] of Object.entries(of)) {
      if (count > 0) meter.count(`outgoing_${what}`, { route: by || 'none', class: cls }, count);
    }
  }
  const next = nextAt === null ? null : new Date(nextAt).toISOString();
  log.info({ ...fields, routes: Object.fromEntries(counts), next }, 'sent');
  for (const refused of result.refused.slice(0, REFUSED_LOGGED_MAX)) {
    const reply = refused.reply.slice(0, REPLY_LOGGED_MAX);
    log.info({ ...fields, ...refused, reply }, 'refused for good');
  }
}

async function resume(
  adopt: Adopt,
  ackWaitMs: number,
  needs: OutgoingNeeds,
): Promise<readonly Delivery[]> {
  const { journal, clock, log } = needs;
  const ours: Delivery[] = [];
  for (const held of journal.held()) {
    const chunk = decoded(held, needs);
    if (chunk === null) continue;
    const progress = progressBefore(chunk, [], held.accepted);
    if (progress.accepted.size > 0) await tellPart(chunk, progress, needs);
    else journal.close(held.name);
    // What the queue has given to somebody else by now, or will any moment, is not ours any more.
    const isOurs = clock.now() - held.renewedAt < (ackWaitMs * 3) / 4;
    const fields = { runner: 'outgoing', trace: chunk.trace, list: chunk.key, post: chunk.post };
    log.info({ ...fields, accepted: held.accepted.size, isOurs }, 'was in hand at the last end');
    if (!isOurs || held.ackToken === '') continue;
    const delivery = adopt(held.ackToken, held.data);
    delivery.working();
    ours.push(delivery);
  }
  return ours;
}

/** What another version wrote is not ours to read; its queue has it still. */
function decoded(held: HeldChunk, { decode, journal, log }: OutgoingNeeds): Chunk | null {
  try {
    return decode(held.data);
  } catch (error) {
    journal.close(held.name);
    log.error({ chunk: held.name, error: textOf(error) }, 'a journaled chunk cannot be read');
    return null;
  }
}
