/**
 * The disk of one node: its rows and its journal. What was committed outlives the process; a power cut takes what was not
 * flushed, and the loss of the machine takes everything.
 */
import type { Clock, Journal, Row, RowKey, Rows, Suspects } from '../../src/world.ts';
import { createFakeJournal } from '../support/fake/journal.ts';
import { fakeRows } from '../support/fake/rows.ts';
import type { Chance } from './chance.ts';
import type { Life } from './life.ts';

type Writes = readonly (readonly [RowKey, unknown])[];

export type Disk = {
  readonly rows: Rows;
  readonly journal: Journal;
  readonly suspects: Suspects;
  commit(writes: Writes): void;
  /** All commits before this number are safe from a power cut. */
  flush(upTo: number): void;
  commits(): number;
  /** Takes back some of the newest commits that were not flushed. */
  cutPower(chance: Chance): void;
};

const FLUSH_MS: readonly [number, number] = [1, 30];

export function createSimDisk(clock: Clock): Disk {
  const rows = fakeRows();
  /** What each commit since the last flush replaced. */
  let undo: Row[][] = [];
  let flushed = 0;
  return {
    rows,
    ...createFakeJournal(clock),
    commit(writes) {
      undo.push(writes.map(([key]) => [key, rows.get(key)]));
      rows.commit(writes);
    },
    flush(upTo) {
      undo = undo.slice(Math.max(upTo - flushed, 0));
      flushed = Math.max(flushed, upTo);
    },
    commits: () => flushed + undo.length,
    cutPower(chance) {
      const lost = chance.whole(0, undo.length);
      for (let i = 0; i < lost; i++) rows.commit(undo.pop()?.reverse() ?? []);
      flushed += undo.length;
      undo = [];
    },
  };
}

/** The rows as a process has them: reads at once, writes only while it lives. */
export function linkRows(life: Life, disk: Disk, chance: Chance): Rows {
  return {
    get: (key) => disk.rows.get(key),
    range: (from, to, limit) => disk.rows.range(from, to, limit),
    commit(writes) {
      const all = [...writes];
      if (life.touch('commit')) disk.commit(all);
    },
    flushed: () =>
      new Promise((resolve) => {
        const upTo = disk.commits();
        life.later(chance.between(...FLUSH_MS), '', () => {
          disk.flush(upTo);
          resolve();
        });
      }),
    clear: () => disk.rows.clear(),
    close: async () => {},
  };
}

/** `noted` hears of what a crash of the process cannot take any more. */
export function linkJournal(
  life: Life,
  { journal }: Disk,
  noted: (name: string, numbers: readonly number[]) => void,
): Journal {
  return {
    held: journal.held,
    acceptedOf: journal.acceptedOf,
    open: (name, token, data) => {
      if (life.touch(`journal open ${name}`)) journal.open(name, token, data);
    },
    renewed: (name) => {
      if (life.touch('journal renewed')) journal.renewed(name);
    },
    accepted: (name, numbers, by) => {
      if (!life.touch(`journal accepted ${name}`)) return;
      journal.accepted(name, numbers, by);
      noted(name, numbers);
    },
    close: (name) => {
      if (life.touch(`journal close ${name}`)) journal.close(name);
    },
  };
}

export function linkSuspects(life: Life, { suspects }: Disk): Suspects {
  return {
    begin: (id) => (life.touch('suspect') ? suspects.begin(id) : 0),
    end: (id) => {
      if (life.touch('suspect cleared')) suspects.end(id);
    },
  };
}
