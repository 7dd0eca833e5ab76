/**
 * The outgoing runner's journal: which chunks are in hand, and whom the MTA has accepted of each.
 *
 *   chunks    id        → the delivery's bytes, its ack token, when it was renewed
 *   accepted  [id, n]   → the numbers that were accepted in one turn of the event loop
 *   suspects  message   → how often it was in hand when its process died
 *
 * A note is committed before the connection that it came from goes on, so a crash of the process
 * forgets at most one transaction a connection. A power cut may forget more: it counts as the loss
 * of a node, and repeats at most the chunks that were open.
 */
import type { Database } from 'lmdb';
import { MailError } from '../errors.ts';
import { crashPoint } from '../failpoint.ts';
import type { Clock, HeldChunk, Journal, Suspects } from '../world.ts';
import { type Commits, createCommits } from './commits.ts';
import { closeEnv, type Env } from './open.ts';

/** Chunks open at once: those in hand, and those that could not be finished while NATS was away. */
export const JOURNAL_CHUNKS_MAX = 1_000;
/** A suspect that did not come again for so long was handled elsewhere. */
const SUSPECT_MS_MAX = 7 * 24 * 60 * 60_000;

export type JournalStore = {
  readonly journal: Journal;
  readonly suspects: Suspects;
  /** Commits what waits and closes the environment. */
  close(): Promise<void>;
};

type ChunkRow = {
  readonly name: string;
  readonly ackToken: string;
  readonly data: Uint8Array;
  readonly renewedAt: number;
};

/**
 * A chunk that is open: its rows are `id` and [id, 0 … batches − 1]; `turn` is the batch being
 * gathered.
 */
type OpenChunk = {
  readonly id: number;
  readonly accepted: number[];
  row: ChunkRow;
  batches: number;
  turn: { readonly numbers: number[]; readonly committed: Promise<void> } | null;
};

/**
 * Opens over an environment of its own, and reads what an earlier process left open. It commits in
 * every turn of the event loop, so open it with `outlives: 'process'`: never let a transaction wait
 * for the disk.
 */
export function openJournal(env: Env, clock: Clock): JournalStore {
  const commits = createCommits(env);
  return {
    journal: chunksIn(env, clock, commits),
    suspects: suspectsIn(env, clock),
    async close() {
      commits.now();
      await closeEnv(env);
    },
  };
}

type Tables = {
  readonly clock: Clock;
  readonly commits: Commits;
  readonly chunks: Database<ChunkRow, number>;
  readonly accepted: Database<number[], [number, number]>;
};

function chunksIn(env: Env, clock: Clock, commits: Commits): Journal {
  const tables: Tables = {
    clock,
    commits,
    chunks: env.openDB<ChunkRow, number>({ name: 'chunks', keyEncoding: 'uint32' }),
    accepted: env.openDB<number[], [number, number]>({ name: 'accepted' }),
  };
  const open = readOpen(tables);
  let nextId = 1 + Math.max(0, ...[...open.values()].map(({ id }) => id));
  return {
    held: () => [...open.values()].map(heldOf),
    acceptedOf: (name) => open.get(name)?.accepted ?? [],
    open(name, ackToken, data) {
      const row = { name, ackToken, data, renewedAt: clock.now() };
      const before = open.get(name);
      if (before !== undefined) return write(tables, before, row);
      if (open.size >= JOURNAL_CHUNKS_MAX) {
        throw new MailError(451, '4.3.2', 'too many chunks are open');
      }
      const chunk = { id: nextId, row, accepted: [], batches: 0, turn: null };
      nextId += 1;
      open.set(name, chunk);
      write(tables, chunk, row);
    },
    renewed(name) {
      const chunk = open.get(name);
      if (chunk !== undefined) write(tables, chunk, { ...chunk.row, renewedAt: clock.now() });
    },
    async accepted(name, numbers) {
      const chunk = open.get(name);
      crashPoint('accepted');
      if (chunk !== undefined) await note(tables, chunk, numbers);
      crashPoint('journaled');
    },
    close(name) {
      const chunk = open.get(name);
      if (chunk === undefined) return;
      open.delete(name);
      void commits.add(() => {
        tables.chunks.removeSync(chunk.id);
        for (let n = 0; n < chunk.batches; n += 1) tables.accepted.removeSync([chunk.id, n]);
      });
    },
  };
}

function readOpen({ chunks, accepted }: Tables): Map<string, OpenChunk> {
  const open = new Map<string, OpenChunk>();
  for (const { key: id, value: row } of chunks.getRange()) {
    const batches = [...accepted.getRange({ start: [id, 0], end: [id + 1, 0] })];
    const numbers = batches.flatMap(({ value }) => value);
    open.set(row.name, { id, row, accepted: numbers, batches: batches.length, turn: null });
  }
  return open;
}

function write({ commits, chunks }: Tables, chunk: OpenChunk, row: ChunkRow): void {
  chunk.row = row;
  void commits.add(() => chunks.putSync(chunk.id, row));
}

/** Notes all numbers of one turn of the event loop in one row. */
function note(
  { commits, accepted }: Tables,
  chunk: OpenChunk,
  numbers: readonly number[],
): Promise<void> {
  chunk.accepted.push(...numbers);
  if (chunk.turn !== null) {
    chunk.turn.numbers.push(...numbers);
    return chunk.turn.committed;
  }
  const turn = [...numbers];
  const committed = commits.add(() => {
    chunk.turn = null;
    accepted.putSync([chunk.id, chunk.batches], turn);
    chunk.batches += 1;
  });
  chunk.turn = { numbers: turn, committed };
  return committed;
}

function heldOf({ row, accepted }: OpenChunk): HeldChunk {
  return { ...row, accepted: [...accepted] };
}

type SuspectRow = { readonly deaths: number; readonly at: number };

function suspectsIn(env: Env, clock: Clock): Suspects {
  const rows = env.openDB<SuspectRow, string>({ name: 'suspects' });
  for (const { key, value } of [...rows.getRange()]) {
    if (clock.now() - value.at > SUSPECT_MS_MAX) rows.removeSync(key);
  }
  return {
    // A row that is there at `begin` was not ended: its process died with it.
    begin(id) {
      const before = rows.get(id);
      const deaths = before === undefined ? 0 : before.deaths + 1;
      rows.putSync(id, { deaths, at: clock.now() });
      return deaths;
    },
    end(id) {
      rows.removeSync(id);
    },
  };
}
