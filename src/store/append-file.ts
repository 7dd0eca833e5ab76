/**
 * A file that is only appended to: one entry a line, an array as JSON, each written before `append` returns. So an entry outlives
 * the process; not the machine: what one that went down left behind is moved aside, and begun anew (decision 0005).
 *
 * Each line begins with its line end, so one that was torn by a full disk spoils nothing but itself.
 */
import { closeSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';
import { mkdir, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { bootId } from './open.ts';

export type Entry = readonly (string | number)[];

export type AppendFile = {
  /** False if it could not be written, which is logged. */
  append(entry: Entry): boolean;
  /** Syncs it, and marks it as whole. */
  close(): void;
};

export type AppendOptions = {
  readonly log: Log;
  /** At start: each entry that an earlier process wrote, in order. */
  readonly take: (entry: Entry) => void;
  /** The entries that say what all so far have said. */
  readonly live: () => Iterable<Entry>;
};

/** A file longer than this, and twice as long as when it was begun, is begun again with what is live. */
export const APPEND_BYTES_MAX = 8 * 1024 * 1024;
/** The first entry: the boot of the machine that has it open. */
const BEGAN = 'began';
/** The last entry of one that was closed. */
const ENDED = 'ended';

/** Opens, or creates, the file; its directory too. */
export async function openAppendFile(path: string, options: AppendOptions): Promise<AppendFile> {
  const { log, take, live } = options;
  const boot = await bootId();
  await mkdir(dirname(path), { recursive: true });
  const [first, ...entries] = entriesIn(await textIn(path));
  const isWhole = entries.at(-1)?.[0] === ENDED;
  if (first !== undefined && !isWhole && first[1] !== boot) {
    const aside = `${path}.damaged-${Date.now()}`;
    await rename(path, aside);
    log.error({ path, aside }, 'it was open when the machine went down: moved aside, begun anew');
  } else for (const entry of entries) if (entry[0] !== ENDED) take(entry);
  let file = begin(path, boot, live());

  function beginAgain(): void {
    const before = file;
    try {
      file = begin(path, boot, live());
      closeSync(before.handle);
    } catch (error) {
      before.bytesMax = 2 * before.bytes;
      log.error({ path, error: textOf(error) }, 'a file grows, as it cannot be written anew');
    }
  }
  return {
    append(entry) {
      try {
        put(file, entry);
      } catch (error) {
        log.error({ path, error: textOf(error) }, 'a note cannot be written');
        return false;
      }
      if (file.bytes > file.bytesMax) beginAgain();
      return true;
    },
    close() {
      put(file, [ENDED]);
      fsyncSync(file.handle);
      closeSync(file.handle);
    },
  };
}

type Begun = { readonly handle: number; bytes: number; bytesMax: number };

/** Beside the old one, which stays until the new one has all. */
function begin(path: string, boot: string, live: Iterable<Entry>): Begun {
  const file = { handle: openSync(`${path}.new`, 'w'), bytes: 0, bytesMax: APPEND_BYTES_MAX };
  try {
    put(file, [BEGAN, boot]);
    for (const entry of live) put(file, entry);
    renameSync(`${path}.new`, path);
  } catch (error) {
    closeSync(file.handle);
    throw error;
  }
  file.bytesMax = Math.max(APPEND_BYTES_MAX, 2 * file.bytes);
  return file;
}

function put(file: Begun, entry: Entry): void {
  const line = `\n${JSON.stringify(entry)}`;
  const written = writeSync(file.handle, line);
  file.bytes += written;
  if (written < line.length) throw new Error(`${written} of ${line.length} bytes were written`);
}

async function textIn(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}

/** What was torn is left out. */
function entriesIn(text: string): readonly Entry[] {
  return text.split('\n').flatMap((line) => {
    try {
      const entry: unknown = JSON.parse(line);
      return Array.isArray(entry) ? [entry] : [];
    } catch {
      return [];
    }
  });
}
