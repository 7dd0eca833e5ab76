/**
 * The bounce actor of each slot that this node owns, and what drives it: follows BOUNCES, folds in
 * memory, writes a checkpoint every so many events or seconds, and asks lists to act.
 *
 * Crash windows: what is folded and not in a checkpoint is folded again; what was asked and is
 * still a row is asked again, by the same id; a node that never had the slot, or has a checkpoint
 * older than the stream remembers, begins at the stream's first event.
 */

import { DAY_MS } from '../../actors/bounces/scoring.ts';
import {
  type Asking,
  askAgainAt,
  fold,
  KEPT_DAYS,
  nextOf,
  type Score,
} from '../../actors/bounces.ts';
import { endWith } from '../ending.ts';
import { textOf } from '../errors.ts';
import type { RowKey } from '../world.ts';
import {
  type Ask,
  asksOf,
  type Books,
  checkpointOf,
  type Due,
  duesOf,
  forget,
  openBooks,
} from './bounce-book.ts';
import type { OwnedSlot } from './slots.ts';
import type { HostWorld } from './world.ts';

/** Verdicts put into mailboxes at once, and things due looked at in one round. */
const ASKS_MAX = 256;
const DUES_MAX = 256;
/** A checkpoint may be older than the stream by no event: some days are kept to be sure. */
const STALE_MS = (KEPT_DAYS - 5) * DAY_MS;
const AGAIN_MS = 1_000;

/** What is seen of a slot's bounce actor. */
export type FoldStatus = {
  readonly slot: number;
  /** The sequence in BOUNCES up to which all is folded, and up to which that is written. */
  readonly folded: number;
  readonly written: number;
  readonly writtenAt: number;
  readonly isCaughtUp: boolean;
  /** Verdicts that no mailbox has yet. */
  readonly asking: number;
};

export type Bounces = {
  serve(slot: OwnedSlot): void;
  /** Writes a last checkpoint; resolves when nothing of the slot is under way. */
  drain(slot: OwnedSlot): Promise<void>;
  drop(slot: OwnedSlot): void;
  status(slot: number): FoldStatus | null;
  /** Writes what is folded, so that the rows can be read. */
  settle(slot: number): void;
};

type Folding = {
  readonly slot: OwnedSlot;
  readonly books: Books;
  /** Aborts when the slot is left or lost. */
  readonly signal: AbortSignal;
  readonly leave: () => void;
  folded: number;
  /** Events since the last checkpoint. */
  events: number;
  written: number;
  writtenAt: number;
  isCaughtUp: boolean;
};

export function createBounces(
  world: Pick<HostWorld, 'rows' | 'clock' | 'log' | 'meter' | 'bounceFold'>,
  fatal: (error: unknown) => void,
): Bounces {
  const foldings = new Map<number, Folding>();
  const { bounceFold, clock } = world;

  function serve(slot: OwnedSlot): void {
    const { signal, end: leave } = endWith(slot.signal);
    const books = openBooks(bounceFold.rows, world);
    const folding: Folding = {
      ...{ slot, books, signal, leave, folded: 0, events: 0, written: 0, writtenAt: 0 },
      isCaughtUp: false,
    };
    foldings.set(slot.slot, folding);
    void follow(folding).catch((error: unknown) => {
      if (!signal.aborted) fatal(error);
    });
  }

  async function follow(folding: Folding): Promise<void> {
    const { slot, signal, books } = folding;
    const begun = await insist(folding, () => begin(folding));
    if (begun === null) return;
    void tick(folding).catch(fatal);
    const caughtUp = (): void => {
      folding.isCaughtUp = true;
    };
    for await (const { seq, key, event } of bounceFold.log.follow(
      slot.slot,
      folding.folded,
      signal,
      caughtUp,
    )) {
      if (event !== null) await bounceFold.idle(event.at, signal);
      if (signal.aborted) return;
      if (event === null) world.log.warn({ list: key, seq }, 'bounces: an event cannot be read');
      else fold(books.of(key), event, seq);
      folding.folded = seq;
      folding.events += 1;
      world.meter.count('bounces_folded');
      if (folding.events >= bounceFold.checkpointEvents) write(folding);
    }
  }

  /** Where to begin: after the last checkpoint, if the stream still has all that came since. */
  async function begin(folding: Folding): Promise<true> {
    const { slot } = folding.slot;
    const before = checkpointOf(bounceFold.rows, slot);
    const { last } = await bounceFold.log.span();
    const isTooOld = before !== null && clock.now() - before.at > STALE_MS;
    // A stream that is shorter than what was folded is another one, or was restored.
    if (before !== null && (isTooOld || before.seq > last)) {
      world.log.warn({ slot, ...before, last }, 'bounces: folding anew');
      forget(bounceFold.rows, slot);
    } else if (before !== null) {
      folding.folded = before.seq;
      folding.written = before.seq;
      folding.writtenAt = before.at;
    }
    return true;
  }

  async function insist<T>({ signal }: Folding, attempt: () => Promise<T>): Promise<T | null> {
    while (!signal.aborted) {
      try {
        return await attempt();
      } catch (error) {
        world.log.warn({ error: textOf(error) }, 'bounces: will try again');
        await clock.sleep(AGAIN_MS, signal);
      }
    }
    return null;
  }

  function write(folding: Folding): void {
    const { slot } = folding.slot;
    if (folding.books.dirty() === 0 && folding.folded === folding.written) return;
    const at = clock.now();
    const bytes = folding.books.checkpoint(slot, { seq: folding.folded, at });
    folding.written = folding.folded;
    folding.writtenAt = at;
    folding.events = 0;
    world.meter.count('bounce_checkpoints');
    world.meter.count('bounce_checkpoint_bytes', {}, bytes);
  }

  async function tick(folding: Folding): Promise<void> {
    const { signal } = folding;
    while (!signal.aborted) {
      await clock.sleep(bounceFold.checkpointMs, signal);
      if (signal.aborted) return;
      if (folding.isCaughtUp) lookAtDues(folding);
      write(folding);
      // Before all that the stream holds is folded, what came of a verdict may still be to come.
      if (folding.isCaughtUp) await sendAsks(folding);
    }
  }

  /** Time has passed: warnings, removals, probes that did not come back, and rows to forget. */
  function lookAtDues({ slot, books }: Folding): void {
    const now = clock.now();
    for (const due of duesOf(bounceFold.rows, slot.slot, now, DUES_MAX)) settleDue(books, due, now);
  }

  function settleDue(books: Books, due: Due, now: number): void {
    const book = books.of(due.key);
    if (books.get(due.row) === undefined) return; // Folded away since the checkpoint.
    const score = book.get(['score', due.member]) as Score | undefined;
    const next = score === undefined ? null : nextOf(due.member, score, book.rules());
    if (next === null) books.remove(due.row);
    else if (next.due > now) books.postpone(due, next.due);
    else if (next.asking === null) book.put(['score', due.member], undefined);
    else {
      book.put(['ask', 'member', due.member], next.asking);
      books.postpone(due, askAgainAt(now));
    }
  }

  /** All that is to be asked, some at once. What no mailbox takes now is asked at the next tick. */
  async function sendAsks(folding: Folding): Promise<void> {
    const { slot, books, signal } = folding;
    for (;;) {
      const asks = asksOf(bounceFold.rows, slot.slot, ASKS_MAX);
      const live = asks.filter(({ row, asking }) => idAt(books, row) === asking.id);
      if (live.length === 0) return;
      const outcomes = await Promise.allSettled(live.map((ask) => send(books, ask)));
      if (signal.aborted) return;
      write(folding);
      const failed = outcomes.find((outcome) => outcome.status === 'rejected');
      if (failed === undefined) continue;
      world.log.warn({ error: textOf(failed.reason) }, 'bounces: verdicts wait');
      return;
    }
  }

  async function send(books: Books, { row, key, asking }: Ask): Promise<void> {
    await bounceFold.mailbox.put(key, asking);
    // Another may have taken its place meanwhile, which the list has not heard.
    if (idAt(books, row) === asking.id) books.remove(row);
    const { id, command } = asking;
    const verdict = command.type === 'bounce-verdict' ? command.verdict : command.type.slice(7);
    world.meter.count('bounce_verdicts', { verdict });
    world.log.info({ list: key, id, verdict }, 'bounces: asked the list');
  }

  const of = (slot: OwnedSlot): Folding | null => {
    const folding = foldings.get(slot.slot);
    return folding?.slot === slot ? folding : null;
  };
  const leave = (slot: OwnedSlot): Folding | null => {
    const folding = of(slot);
    if (folding === null) return null;
    folding.leave();
    foldings.delete(slot.slot);
    return folding;
  };

  return {
    serve,
    drain: async (slot) => {
      const folding = leave(slot);
      if (folding !== null && !slot.signal.aborted) write(folding);
    },
    drop: (slot) => void leave(slot),
    status: (slot) => {
      const folding = foldings.get(slot);
      if (folding === undefined) return null;
      const { folded, written, writtenAt, isCaughtUp } = folding;
      const asking = asksOf(bounceFold.rows, slot, ASKS_MAX).length;
      return { slot, folded, written, writtenAt, isCaughtUp, asking };
    },
    settle: (slot) => {
      const folding = foldings.get(slot);
      if (folding !== undefined) write(folding);
    },
  };
}

/** The id of what is to be asked there; null if nothing is any more. */
function idAt(books: Books, row: RowKey): string | null {
  return (books.get(row) as Asking | undefined)?.id ?? null;
}
