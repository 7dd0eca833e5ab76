/**
 * Imports a file of members: a stream of lines becomes commands of at most 1,000, a few of them in
 * flight.
 *
 * A command's id is the hash of what was read up to it, so an import that was interrupted is simply
 * run again: what was done is answered as it was, and who left meanwhile stays away. After a week,
 * or with `again`, ids are new and every line counts afresh.
 */
import { createHash } from 'node:crypto';
import type { Answer, By, Command, NewMember } from '../../actors/protocol.ts';
import { failureOf, isRefusal } from './explain.ts';
import { type Line, type Parsed, parseLine } from './import-lines.ts';
import type { Answered } from './site.ts';

/** Members a command; the protocol's bound is 1,000 (ADD_MEMBERS_MAX). */
export const MEMBERS_A_COMMAND = 1_000;
/** Commands sent and not yet answered. */
export const IN_FLIGHT_MAX = 8;
/** Bad lines told one by one; the rest are counted. */
export const BAD_LINES_TOLD_MAX = 100;

/** `count` lines from `line` on, and why they were refused. */
export type BadLine = { readonly line: number; readonly count: number; readonly why: string };

export type ImportSummary = {
  readonly lines: number;
  readonly added: number;
  /** Members before. */
  readonly already: number;
  /** Lines of an earlier, interrupted run of the same import: not done again. */
  readonly repeated: number;
  /** Lines that are no address, and those of commands that failed. */
  readonly refused: number;
  /** At most {@link BAD_LINES_TOLD_MAX} of them. */
  readonly bad: readonly BadLine[];
  /** Why the rest of the file was not read: the site was lost. Null where all was read. */
  readonly stopped: string | null;
};

export type ImportNeeds = {
  /** Makes the ids of one list's import its own; anything random makes them new. */
  readonly salt: string;
  /**
   * The list's record number before the first command: an answer at or below it is an earlier
   * run's.
   */
  readonly n: number;
  send(id: string, command: Command): Promise<Answered<Answer>>;
  readonly by: By;
  /** Called after each answer with the counts so far and the bytes read. */
  progress(counts: ImportSummary, bytes: number): void;
};

/**
 * Imports all lines; never throws for a line or a refused command: the summary tells them. A
 * command that could not be asked at all ends the import there: the rest would fail alike.
 */
export async function importMembers(
  lines: AsyncIterable<Line>,
  needs: ImportNeeds,
): Promise<ImportSummary> {
  const counts: Counts = { ...NOTHING, bad: [] };
  const sender = openSender(counts, needs);
  let batch: NewMember[] = [];
  let firstLine = 1;
  let bytes = 0;
  for await (const line of lines) {
    counts.lines = line.number;
    bytes = line.bytes;
    const parsed = parse(line);
    if (parsed.kind === 'bad') refuse(counts, { line: line.number, count: 1, why: parsed.why });
    if (parsed.kind !== 'member') continue;
    if (batch.length === 0) firstLine = line.number;
    batch.push(parsed.member);
    if (batch.length < MEMBERS_A_COMMAND) continue;
    await sender.send(batch, firstLine, bytes);
    batch = [];
    if (counts.stopped !== null) break;
  }
  if (counts.stopped === null && batch.length > 0) await sender.send(batch, firstLine, bytes);
  await sender.end();
  return counts;
}

function parse(line: Line): Parsed {
  if (line.text === null) return { kind: 'bad', why: 'the line is too long' };
  return parseLine(line.text, line.number === 1);
}

type Sender = {
  /** Sends some members; resolves when there is room for more in flight. */
  send(members: readonly NewMember[], firstLine: number, bytes: number): Promise<void>;
  /** Resolves when all have been answered. */
  end(): Promise<void>;
};

function openSender(counts: Counts, needs: ImportNeeds): Sender {
  const inFlight = new Set<Promise<void>>();
  const hash = createHash('sha256').update(needs.salt);
  return {
    async send(members, firstLine, bytes) {
      for (const { address, name } of members) hash.update(`${address}\0${name}\n`);
      const id = `i.${hash.copy().digest('hex')}`;
      const job = needs
        .send(id, { type: 'add-members', members, by: needs.by })
        .then(({ answer, n }) => count(counts, members.length, answer, n <= needs.n))
        .catch((error: unknown) => fail(counts, firstLine, members.length, error))
        .finally(() => {
          inFlight.delete(job);
          needs.progress(counts, bytes);
        });
      inFlight.add(job);
      if (inFlight.size >= IN_FLIGHT_MAX) await Promise.race(inFlight);
    },
    async end() {
      await Promise.all(inFlight);
    },
  };
}

const NOTHING = { lines: 0, added: 0, already: 0, repeated: 0, refused: 0, stopped: null } as const;

type Counts = {
  -readonly [K in keyof ImportSummary]: K extends 'bad' ? BadLine[] : ImportSummary[K];
};

function refuse(counts: Counts, bad: BadLine): void {
  counts.refused += bad.count;
  if (counts.bad.length < BAD_LINES_TOLD_MAX) counts.bad.push(bad);
}

function fail(counts: Counts, line: number, members: number, error: unknown): void {
  const why = failureOf(error).text;
  refuse(counts, { line, count: members, why });
  if (!isRefusal(error)) counts.stopped ??= why;
}

function count(counts: Counts, members: number, answer: Answer, isEarlier: boolean): void {
  if (isEarlier) counts.repeated += members;
  else if (answer.type === 'members-added') {
    counts.added += answer.added;
    counts.already += answer.already;
  } else counts.already += members;
}
