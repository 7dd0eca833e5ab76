/**
 * One message on its way in: line ends made CRLF, the header measured, small ones kept in memory,
 * large ones in a temporary file that has no name. What comes out is a {@link RawMail}: the bytes
 * as received but for bare CR and LF.
 *
 * Nothing of ours is added to the raw bytes, so the same mail sent again is the same bytes; who
 * sent it and when stands in the envelope.
 */
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { MailError } from '../errors.ts';
import { MAIL_PIECE_BYTES_MAX, type RawMail } from '../mail/envelope.ts';
import type { Random } from '../world.ts';
import { type Budget, HEADER_BYTES_MAX, HEADER_LINES_MAX } from './edge-limits.ts';

const CR = 13;
const LF = 10;
const CRLF = Buffer.from('\r\n');
/** What a message starts with in memory; it doubles from there. Most posts fit. */
const FIRST_BYTES = 8 * 1024;

// ── Line ends ─────────────────────────────────────────────────────────────

export type LineEnds = {
  /**
   * Hands on the bytes with each bare CR or LF as CRLF; a CR at the end waits for what follows it.
   */
  write(chunk: Uint8Array): void;
  /** Hands on a CR that nothing followed. */
  end(): void;
  /** How many bare CR and LF there were. */
  rewritten(): number;
};

/**
 * Makes every line end CRLF (RFC 5321 §2.3.8), however the bytes are cut into chunks. So no bare CR
 * or LF is ever sent on, where another MTA might read one as the end of DATA.
 */
export function createLineEnds(emit: (bytes: Uint8Array) => void): LineEnds {
  let isAfterCr = false;
  let count = 0;
  function write(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    let from = 0;
    if (isAfterCr) {
      emit(CRLF);
      if (chunk[0] === LF) from = 1;
      else count++;
      isAfterCr = false;
    }
    const end = chunk.length;
    for (let i = from; i < end; i++) {
      const byte = chunk[i];
      if (byte !== LF && byte !== CR) continue;
      if (byte === CR && i + 1 === end) {
        isAfterCr = true;
        emit(chunk.subarray(from, i));
        return;
      }
      if (byte === CR && chunk[i + 1] === LF) {
        i++;
        continue;
      }
      emit(chunk.subarray(from, i));
      emit(CRLF);
      count++;
      from = i + 1;
    }
    emit(chunk.subarray(from));
  }
  function end(): void {
    if (!isAfterCr) return;
    emit(CRLF);
    count++;
    isAfterCr = false;
  }
  return { write, end, rewritten: () => count };
}

// ── The header's size ─────────────────────────────────────────────────────

type HeaderGauge = { read(bytes: Uint8Array): void; isTooLarge(): boolean };

/** Counts the bytes and lines before the first empty line; reads nothing after it. */
function createHeaderGauge(): HeaderGauge {
  let bytes = 0;
  let lines = 0;
  let lineBytes = 0;
  let hasEnded = false;
  function read(piece: Uint8Array): void {
    for (let i = 0; i < piece.length && !hasEnded; i++) {
      const byte = piece[i];
      bytes++;
      if (byte === LF) {
        hasEnded = lineBytes === 0;
        if (!hasEnded) lines++;
        lineBytes = 0;
      } else if (byte !== CR) lineBytes++;
      if (bytes > HEADER_BYTES_MAX || lines > HEADER_LINES_MAX) return;
    }
  }
  return { read, isTooLarge: () => bytes > HEADER_BYTES_MAX || lines > HEADER_LINES_MAX };
}

// ── Where the bytes are ───────────────────────────────────────────────────

type Spool = {
  add(bytes: Uint8Array): void;
  /** Moves what is in memory to the file. Throws MailError 452 4.3.1 or 451 4.3.0. */
  flush(): Promise<void>;
  inMemory(): number;
  raw(): Promise<RawMail>;
  close(): Promise<void>;
};

/**
 * Memory that grows by doubling, so that a client of tiny packets costs no more than one of large
 * ones; then a file.
 */
function createSpool(needs: Pick<BodyNeeds, 'spoolDir' | 'random'>): Spool {
  let held: Buffer = Buffer.allocUnsafe(FIRST_BYTES);
  let length = 0;
  let size = 0;
  let file: FileHandle | null = null;
  async function flush(): Promise<void> {
    try {
      file ??= await openNameless(needs);
      await file.appendFile(held.subarray(0, length));
      length = 0;
    } catch (error) {
      throw spoolProblem(error);
    }
  }
  return {
    add(bytes) {
      if (length + bytes.length > held.length) held = grown(held, length, length + bytes.length);
      held.set(bytes, length);
      length += bytes.length;
      size += bytes.length;
    },
    flush,
    inMemory: () => length,
    async raw() {
      if (file === null) return { size, pieces: () => piecesInMemory(held, length) };
      if (length > 0) await flush();
      const kept = file;
      return { size, pieces: () => piecesInFile(kept, size) };
    },
    async close() {
      held = Buffer.alloc(0);
      length = 0;
      await file?.close().catch(() => undefined); // It has no name: nothing of it stays.
    },
  };
}

function grown(held: Buffer, length: number, needed: number): Buffer {
  const doubled = Math.min(held.length * 2, MAIL_PIECE_BYTES_MAX + FIRST_BYTES);
  const larger = Buffer.allocUnsafe(Math.max(needed, doubled));
  held.copy(larger, 0, 0, length);
  return larger;
}

async function* piecesInMemory(held: Buffer, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < length; at += MAIL_PIECE_BYTES_MAX) {
    yield held.subarray(at, Math.min(length, at + MAIL_PIECE_BYTES_MAX));
  }
}

async function* piecesInFile(file: FileHandle, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < size; ) {
    const piece = Buffer.allocUnsafe(Math.min(MAIL_PIECE_BYTES_MAX, size - at));
    const { bytesRead } = await file.read(piece, 0, piece.length, at).catch((error: unknown) => {
      throw spoolProblem(error);
    });
    if (bytesRead === 0) throw spoolProblem(new Error('the temporary file is too short'));
    yield piece.subarray(0, bytesRead);
    at += bytesRead;
  }
}

async function openNameless(needs: Pick<BodyNeeds, 'spoolDir' | 'random'>): Promise<FileHandle> {
  const name = Buffer.from(needs.random.bytes(16)).toString('hex');
  const path = join(needs.spoolDir, `receiving-${name}`);
  const file = await open(path, 'wx+', 0o600);
  await unlink(path);
  return file;
}

/**
 * What a failing disk means to the client: no room is 452, anything else 451; both are tried again.
 */
function spoolProblem(error: unknown): MailError {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? new MailError(452, '4.3.1', 'No room for the message, try again later', error)
    : new MailError(451, '4.3.0', 'The message could not be kept, try again later', error);
}

// ── The body ──────────────────────────────────────────────────────────────

export type BodyNeeds = {
  /** Where temporary files go; each is unlinked as soon as it is open. */
  readonly spoolDir: string;
  readonly budget: Budget;
  readonly random: Random;
  readonly bareLineEnds: 'rewrite' | 'refuse';
};

export type Body = {
  /**
   * Takes a chunk; a promise only where a file has to be waited for. After a problem it takes
   * nothing.
   */
  write(chunk: Uint8Array): Promise<void> | null;
  /** The message is not wanted: `finish` will throw this. */
  refuse(why: MailError): void;
  /**
   * The message, once its last byte is in; it can be read until `close`. Throws a MailError if it
   * was refused.
   */
  finish(): Promise<RawMail>;
  /** Bytes so far, with CRLF line ends. */
  size(): number;
  rewritten(): number;
  /** Gives back the memory, the file and the budget; always called, once. */
  close(): Promise<void>;
};

/**
 * Receives one message; at most {@link MAIL_PIECE_BYTES_MAX} and one chunk of it are ever in
 * memory.
 */
export function createBody(needs: BodyNeeds): Body {
  let size = 0;
  let budgeted = 0;
  let problem: MailError | null = null;
  const spool = createSpool(needs);
  const header = createHeaderGauge();
  const lineEnds = createLineEnds((bytes) => {
    size += bytes.length;
    spool.add(bytes);
    header.read(bytes);
  });

  function check(): void {
    const added = size - budgeted;
    if (!needs.budget.take(added)) problem = receivingTooMuch();
    else budgeted += added;
    if (header.isTooLarge()) problem = headerTooLarge();
    if (needs.bareLineEnds === 'refuse' && lineEnds.rewritten() > 0) problem = badLineEnd();
  }

  return {
    write(chunk) {
      if (problem !== null) return null;
      lineEnds.write(chunk);
      check();
      if (problem !== null || spool.inMemory() <= MAIL_PIECE_BYTES_MAX) return null;
      return spool.flush().catch((error: MailError) => {
        problem = error;
      });
    },
    refuse(why) {
      problem ??= why;
    },
    async finish() {
      if (problem === null) {
        lineEnds.end();
        check();
      }
      if (problem !== null) throw problem;
      return spool.raw();
    },
    size: () => size,
    rewritten: lineEnds.rewritten,
    close() {
      needs.budget.give(budgeted);
      return spool.close();
    },
  };
}

/** Told at MAIL too. */
export function receivingTooMuch(): MailError {
  return new MailError(452, '4.3.2', 'Receiving too much at once, try again later');
}

function headerTooLarge(): MailError {
  return new MailError(552, '5.3.4', 'The header of the message is too large');
}

function badLineEnd(): MailError {
  return new MailError(554, '5.6.0', 'Lines must end with CRLF');
}
