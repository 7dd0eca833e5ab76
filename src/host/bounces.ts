/**
 * The bounce actor of each slot that this node owns, and what drives it: follows BOUNCES, folds in
 * memory, writes a checkpoint every so many events or seconds, and asks lists to act.
 *
 * Crash windows: what is folded and not in a checkpoint is folded again; what was asked and is
 * still a row is asked again, by the same id; a node that never had the slot, or has a checkpoint
 * older than the stream remembers or of another version, begins at the stream's first event.
 */

import { askAgainAt, nextOf } from '../../actors/bounces/due.ts';
import type { Score } from '../../actors/bounces/score.ts';
import { DAY_MS } from '../../actors/bounces/scoring.ts';
import { type Asking, fold, KEPT_DAYS } from '../../actors/bounces.ts';
import { endWith } from '../ending.ts';
import { textOf } from '../errors.ts';
import { eventNumber } from '../mail/bounce-event.ts';
import type { FoundBounces, RowKey } from '../world.ts';
import {
  type Ask,
  asksOf,
  type Books,
  checkpointOf,
  type Due,
  duesOf,
  FOLD_VERSION,
  forget,
  openBooks,
} from './bounce-book.ts';
import { inWords } from './bounce-words.ts';
import type { OwnedSlot } from './slots.ts';
import type { HostWorld } from './world.ts';

/** Verdicts put into mailboxes at once, and things due looked at in one round. */
const ASKS_MAX = 256;
const DUES_MAX = 256;
/** A checkpoint may be older than the stream by no event: some days are kept to be sure. */
const STALE_MS = (KEPT_DAYS - 5) * DAY_MS;
const AGAIN_MS = 1_000;
/** Slots come in groups, at a take-over, when posts are waited for; bounces are followed once that is over. */
const SETTLE_MS = 2_000;

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

type World = Pick<HostWorld, 'rows' | 'clock' | 'log' | 'meter' | 'bounceFold'>;
type Folding = {
  readonly world: World;
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

/** `fatal` hears of what this process cannot live with. */
export function createBounces(world: World, fatal: (error: unknown) => void): Bounces {
  const foldings = new Map<number, Folding>();

  /** Null if the slot has been left, or is owned anew since. */
  function leave(slot: OwnedSlot): Folding | null {
    const folding = foldings.get(slot.slot);
    if (folding?.slot !== slot) return null;
    folding.leave();
    foldings.delete(slot.slot);
    return folding;
  }

  return {
    serve: (slot) => {
      const folding = newFolding(world, slot);
      foldings.set(slot.slot, folding);
      void follow(folding, fatal).catch((error: unknown) => {
        if (!folding.signal.aborted) fatal(error);
      });
    },
    drain: async (slot) => {
      const folding = leave(slot);
      if (folding !== null && !slot.signal.aborted) write(folding);
    },
    drop: (slot) => void leave(slot),
    status: (slot) => {
      const folding = foldings.get(slot);
      return folding === undefined ? null : statusOf(folding);
    },
    settle: (slot) => {
      const folding = foldings.get(slot);
      if (folding !== undefined) write(folding);
    },
  };
}

function newFolding(world: World, slot: OwnedSlot): Folding {
  const { signal, end: leave } = endWith(slot.signal);
  const books = openBooks(world.bounceFold.rows, world);
  const nothing = { folded: 0, events: 0, written: 0, writtenAt: 0, isCaughtUp: false };
  return { world, slot, books, signal, leave, ...nothing };
}

function statusOf({ world, slot, ...folding }: Folding): FoldStatus {
  const { folded, written, writtenAt, isCaughtUp } = folding;
  const asking = asksOf(world.bounceFold.rows, slot.slot, ASKS_MAX).length;
  return { slot: slot.slot, folded, written, writtenAt, isCaughtUp, asking };
}

// ── Following the stream ──────────────────────────────────────────────────

async function follow(folding: Folding, fatal: (error: unknown) => void): Promise<void> {
  const { world, slot, signal } = folding;
  const { idle, log } = world.bounceFold;
  await world.clock.sleep(SETTLE_MS, signal);
  if (!(await beginPatiently(folding))) return;
  void tick(folding).catch(fatal);
  const caughtUp = (): void => {
    folding.isCaughtUp = true;
  };
  for await (const found of log.follow(slot.slot, folding.folded, signal, caughtUp)) {
    const oldest = found.events.find((event) => event !== null);
    if (oldest !== undefined) await idle(oldest.at, signal);
    if (signal.aborted) return;
    take(folding, found);
  }
}

/** False if the slot was left before it was known where to begin. */
async function beginPatiently(folding: Folding): Promise<boolean> {
  const { world, signal } = folding;
  while (!signal.aborted) {
    try {
      await begin(folding);
      return true;
    } catch (error) {
      world.log.warn({ error: textOf(error) }, 'bounces: will try again');
      await world.clock.sleep(AGAIN_MS, signal);
    }
  }
  return false;
}

/** Where to begin: after the last checkpoint, if the stream still has all that came since. */
async function begin(folding: Folding): Promise<void> {
  const { clock, log, bounceFold } = folding.world;
  const { slot } = folding.slot;
  const before = checkpointOf(bounceFold.rows, slot);
  const { last } = await bounceFold.log.span();
  if (before === null) return;
  // A stream that is shorter than what was folded is another one, or was restored.
  const isOther = before.v !== FOLD_VERSION || before.seq > last;
  if (isOther || clock.now() - before.at > STALE_MS) {
    log.warn({ slot, ...before, last }, 'bounces: folding anew');
    forget(bounceFold.rows, slot);
    return;
  }
  folding.folded = before.seq;
  folding.written = before.seq;
  folding.writtenAt = before.at;
}

/** A message whole or not at all: a checkpoint says how many of them are folded. */
function take(folding: Folding, { seq, key, events }: FoundBounces): void {
  const { world, books } = folding;
  const book = books.of(key);
  for (const [i, event] of events.entries()) {
    const number = eventNumber(seq, i);
    if (event === null) world.log.warn({ list: key, number }, 'bounces: an event cannot be read');
    else fold(book, event, number);
  }
  folding.folded = seq;
  folding.events += events.length;
  world.meter.count('bounces_folded', {}, events.length);
  if (folding.events >= world.bounceFold.checkpointEvents) write(folding);
}

// ── From time to time: a checkpoint, and what it lets us ask ──────────────

async function tick(folding: Folding): Promise<void> {
  const { world, signal } = folding;
  while (!signal.aborted) {
    await world.clock.sleep(world.bounceFold.checkpointMs, signal);
    if (signal.aborted) return;
    if (folding.isCaughtUp) lookAtDues(folding);
    write(folding);
    // Before all that the stream holds is folded, what came of a verdict may still be to come.
    if (folding.isCaughtUp) await sendAsks(folding);
  }
}

function write(folding: Folding): void {
  const { world, books, folded } = folding;
  if (books.dirty() === 0 && folded === folding.written) return;
  const at = world.clock.now();
  const bytes = books.checkpoint(folding.slot.slot, { seq: folded, at });
  folding.written = folded;
  folding.writtenAt = at;
  folding.events = 0;
  world.meter.count('bounce_checkpoints');
  world.meter.count('bounce_checkpoint_bytes', {}, bytes);
}

/** Time has passed: warnings, removals, probes that did not come back, and rows to forget. */
function lookAtDues({ world, slot, books }: Folding): void {
  const now = world.clock.now();
  const dues = duesOf(world.bounceFold.rows, slot.slot, now, DUES_MAX);
  for (const due of dues) settleDue(books, due, now);
}

function settleDue(books: Books, due: Due, now: number): void {
  const book = books.of(due.key);
  if (books.get(due.row) === undefined) return; // Folded away since the checkpoint.
  const score = book.get(['score', due.member]) as Score | undefined;
  const next = score === undefined ? null : nextOf(due.member, score, book.rules(), now);
  if (next === null) books.remove(due.row);
  else if (next.at > now || next.what === 'look') books.postpone(due, next.at);
  else if (next.what === 'forget') book.put(['score', due.member], undefined);
  else {
    book.put(['ask', 'member', due.member], next.asking);
    books.postpone(due, askAgainAt(now));
  }
}

/** All that is to be asked, some at once. What no mailbox takes now is asked at the next tick. */
async function sendAsks(folding: Folding): Promise<void> {
  const { world, slot, books, signal } = folding;
  for (;;) {
    const asks = asksOf(world.bounceFold.rows, slot.slot, ASKS_MAX);
    const live = asks.filter(({ row, asking }) => idAt(books, row) === asking.id);
    if (live.length === 0) return;
    const outcomes = await Promise.allSettled(live.map((ask) => send(folding, ask)));
    if (signal.aborted) return;
    write(folding);
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed === undefined) continue;
    world.log.warn({ error: textOf(failed.reason) }, 'bounces: verdicts wait');
    return;
  }
}

async function send({ world, books }: Folding, { row, key, asking }: Ask): Promise<void> {
  const told = await inWords(world.bounceFold, books.of(key), key, asking);
  await world.bounceFold.mailbox.put(key, told);
  // Another may have taken its place meanwhile, which the list has not heard.
  if (idAt(books, row) === asking.id) books.remove(row);
  const { id, command } = asking;
  const verdict = command.type === 'bounce-verdict' ? command.verdict : command.type.slice(7);
  world.meter.count('bounce_verdicts', { verdict });
  world.log.info({ list: key, id, verdict }, 'bounces: asked the list');
}

/** The id of what is to be asked there; null if nothing is any more. */
function idAt(books: Books, row: RowKey): string | null {
  return (books.get(row) as Asking | undefined)?.id ?? null;
}
