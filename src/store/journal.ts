/**
 * The outgoing runner's journal: which chunks are in hand, whom the MTA has accepted of each, and what was in hand when its
 * process died. Its entries:
 *
 *   open      id, name, ack token, data as base64, time
 *   accepted  id, route, time, number, …
 *   renewed   id, time
 *   closed    id
 *   suspect   message, how often it was in hand when its process died, time
 *   cleared   message
 *
 * A note is written before the connection that it came from goes on, so a crash of the process forgets at most one transaction
 * a connection. A power cut may forget more: it counts as the loss of a node, and repeats at most the chunks that were open.
 */
import { MailError } from '../errors.ts';
import { crashPoint } from '../failpoint.ts';
import type { Log } from '../log.ts';
import type { By } from '../mail/chunk.ts';
import type { Clock, HeldChunk, Journal, Noted, Suspects } from '../world.ts';
import { type AppendFile, type Entry, openAppendFile } from './append-file.ts';

/** Chunks open at once: those in hand, and those that could not be finished while NATS was away. */
export const JOURNAL_CHUNKS_MAX = 1_000;
/** A suspect that did not come again for so long was handled elsewhere. */
const SUSPECT_MS_MAX = 7 * 24 * 60 * 60_000;
const NOBODY: Noted = new Map();

export type JournalStore = {
  readonly journal: Journal;
  readonly suspects: Suspects;
  close(): void;
};

export type JournalOptions = { readonly clock: Pick<Clock, 'now'>; readonly log: Log };

/** A chunk that is open; the file has its name once, and its `id` from then on. */
type OpenChunk = {
  readonly id: number;
  readonly name: string;
  readonly ackToken: string;
  readonly data: Uint8Array;
  readonly accepted: Map<number, By>;
  renewedAt: number;
};
type Suspect = { readonly deaths: number; readonly at: number };
type State = {
  readonly chunks: Map<string, OpenChunk>;
  readonly suspects: Map<string, Suspect>;
};

/** Opens the file at `path`, and reads what an earlier process left in it. */
export async function openJournal(path: string, options: JournalOptions): Promise<JournalStore> {
  const { clock, log } = options;
  const state: State = { chunks: new Map(), suspects: new Map() };
  const names = new Map<number, string>();
  const file = await openAppendFile(path, {
    log,
    take: (entry) => take(entry, state, names),
    live: () => entriesOf(state, clock.now() - SUSPECT_MS_MAX),
  });
  const suspects = suspectsIn(state, clock, file);
  return { journal: chunksIn(state, clock, file), suspects, close: file.close };
}

function chunksIn({ chunks }: State, clock: Pick<Clock, 'now'>, file: AppendFile): Journal {
  let nextId = 1 + Math.max(0, ...[...chunks.values()].map(({ id }) => id));
  return {
    held: () => [...chunks.values()].map(heldOf),
    acceptedOf: (name) => chunks.get(name)?.accepted ?? NOBODY,
    open(name, ackToken, data) {
      const before = chunks.get(name);
      if (before === undefined && chunks.size >= JOURNAL_CHUNKS_MAX) {
        throw new MailError(451, '4.3.2', 'too many chunks are open');
      }
      const { id, accepted } = before ?? { id: nextId, accepted: new Map() };
      const chunk = { id, name, ackToken, data, accepted, renewedAt: clock.now() };
      if (!file.append(openEntry(chunk))) throw notNoted();
      if (before === undefined) nextId += 1;
      chunks.set(name, chunk);
    },
    renewed(name) {
      const chunk = chunks.get(name);
      if (chunk === undefined) return;
      chunk.renewedAt = clock.now();
      file.append(['renewed', chunk.id, chunk.renewedAt]);
    },
    accepted(name, numbers, by) {
      const chunk = chunks.get(name);
      crashPoint('accepted');
      for (const number of numbers) chunk?.accepted.set(number, by);
      const isNoted = chunk === undefined || file.append(acceptedEntry(chunk.id, by, numbers));
      if (!isNoted) throw notNoted();
      crashPoint('journaled');
    },
    close(name) {
      const chunk = chunks.get(name);
      if (chunk === undefined) return;
      chunks.delete(name);
      file.append(['closed', chunk.id]);
    },
  };
}

const notNoted = (): MailError => new MailError(451, '4.3.1', 'what is sent cannot be noted');

function suspectsIn({ suspects }: State, clock: Pick<Clock, 'now'>, file: AppendFile): Suspects {
  return {
    // One that is there at `begin` was not ended: its process died with it.
    begin(id) {
      const before = suspects.get(id);
      const suspect = { deaths: before === undefined ? 0 : before.deaths + 1, at: clock.now() };
      suspects.set(id, suspect);
      file.append(['suspect', id, suspect.deaths, suspect.at]);
      return suspect.deaths;
    },
    end(id) {
      if (suspects.delete(id)) file.append(['cleared', id]);
    },
  };
}

// ── What stands in the file ───────────────────────────────────────────────

const openEntry = ({ id, name, ackToken, data, renewedAt }: OpenChunk): Entry => {
  return ['open', id, name, ackToken, Buffer.from(data).toString('base64'), renewedAt];
};

const acceptedEntry = (id: number, { route, at }: By, numbers: readonly number[]): Entry => {
  return ['accepted', id, route, at, ...numbers];
};

function* entriesOf({ chunks, suspects }: State, suspectsSince: number): Iterable<Entry> {
  for (const chunk of chunks.values()) {
    yield openEntry(chunk);
    for (const [by, same] of Map.groupBy(chunk.accepted, ([, by]) => by)) {
      const numbers = same.map(([number]) => number);
      yield acceptedEntry(chunk.id, by, numbers);
    }
  }
  for (const [id, { deaths, at }] of suspects) {
    if (at >= suspectsSince) yield ['suspect', id, deaths, at];
    else suspects.delete(id);
  }
}

/** Folds one entry of an earlier process; `names` is what the ids stand for. */
function take([what, ...of]: Entry, { chunks, suspects }: State, names: Map<number, string>): void {
  const chunk = chunks.get(names.get(Number(of[0])) ?? '');
  switch (what) {
    case 'open': {
      const [id, name, ackToken, data, renewedAt] = of;
      const opened = { id: Number(id), name: String(name), ackToken: String(ackToken) };
      const bytes = Buffer.from(String(data), 'base64');
      const accepted = chunks.get(opened.name)?.accepted ?? new Map();
      chunks.set(opened.name, { ...opened, data: bytes, accepted, renewedAt: Number(renewedAt) });
      names.set(opened.id, opened.name);
      return;
    }
    case 'accepted': {
      // An older version noted numbers alone.
      const isOld = typeof of[1] === 'number';
      const by = isOld
        ? { route: '', at: chunk?.renewedAt ?? 0 }
        : { route: String(of[1]), at: Number(of[2]) };
      for (const number of of.slice(isOld ? 1 : 3)) chunk?.accepted.set(Number(number), by);
      return;
    }
    case 'renewed':
      if (chunk !== undefined) chunk.renewedAt = Number(of[1]);
      return;
    case 'closed':
      if (chunk !== undefined) chunks.delete(chunk.name);
      return;
    case 'suspect':
      suspects.set(String(of[0]), { deaths: Number(of[1]), at: Number(of[2]) });
      return;
    case 'cleared':
      suspects.delete(String(of[0]));
  }
}

const heldOf = ({ name, ackToken, data, accepted, renewedAt }: OpenChunk): HeldChunk => {
  return { name, ackToken, data, renewedAt, accepted: new Map(accepted) };
};
