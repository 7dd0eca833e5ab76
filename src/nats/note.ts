/**
 * What the embedded nats-server leaves in the data directory: the note that tells the command line
 * where the site is, and the mark in the store that says it belongs to a server that runs alone.
 *
 *   <data>/nats.json             the note: where, user, password; mode 0600
 *   <data>/nats/                 the store
 *   <data>/nats/standalone.json  the mark, and how much the store may keep, fixed at first start
 */
import { chmod, mkdir, readFile, rename, statfs, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { OperatorError, textOf } from '../errors.ts';

/** Where the embedded server is and how to log in. `pid` is 0 while it is stopped on purpose. */
export type Note = {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  /** The server's own name, drawn at random: who answers by it has our password too. */
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  /** ISO 8601. */
  readonly started: string;
  /** SHA-256 of the configuration it was started with. */
  readonly conf: string;
  readonly standalone: true;
};

type Mark = { readonly maxFileStore: number; readonly since: string };

/** Of the disk that is free at first start (design §4). */
const SHARE_OF_FREE = 0.6;
/** Below this a store would be full before it had kept a day's mail. */
const STORE_BYTES_MIN = 256 * 1024 * 1024;
const INCLUDE_DEPTH_MAX = 8;

const noteFile = (data: string): string => join(data, 'nats.json');
export const storeDirectory = (data: string): string => join(data, 'nats');
export const logFile = (data: string): string => join(data, 'nats.log');
const markFile = (data: string): string => join(storeDirectory(data), 'standalone.json');

/** The note of the site on this data directory; null when there was never one, or it is damaged. */
export async function readNote(data: string): Promise<Note | null> {
  const note = await readJson<Note>(noteFile(data));
  const isWhole = typeof note?.url === 'string' && typeof note.password === 'string';
  return isWhole && Number.isInteger(note.port) ? note : null;
}

/** What the store is marked with; null where none was ever made. */
export const readMark = (data: string): Promise<Mark | null> => readJson<Mark>(markFile(data));

/** Replaces the note in one step; readable by its owner only. */
export async function writeNote(data: string, note: Note): Promise<void> {
  await writeJson(noteFile(data), note);
}

/**
 * How many bytes the store may keep: min(60 % of what is free, `wanted`) when it is first used, and
 * the same ever after, because the streams' limits are shares of it. Marks the store as standalone.
 * Throws OperatorError on a full disk.
 */
export async function markStore(data: string, wanted: number | undefined): Promise<number> {
  await mkdir(storeDirectory(data), { recursive: true, mode: 0o700 });
  const mark = await readJson<Mark>(markFile(data));
  if (mark !== null && Number.isInteger(mark.maxFileStore)) return mark.maxFileStore;
  const { bavail, bsize } = await statfs(storeDirectory(data));
  const share = Math.floor(bavail * bsize * SHARE_OF_FREE);
  if (share < STORE_BYTES_MIN) {
    throw new OperatorError(
      `the disk under ${data} has only ${Math.floor((bavail * bsize) / 1e6)} MB free`,
      'Free at least 1 GB, or put `data` on another disk.',
    );
  }
  const maxFileStore = Math.min(share, wanted ?? share);
  await writeJson(markFile(data), { maxFileStore, since: new Date().toISOString() } satisfies Mark);
  return maxFileStore;
}

/**
 * Refuses a configuration with a `cluster {}`: on a store marked standalone the server would
 * take the streams for strays and delete them within a minute (design §10), and on another it would
 * not be an embedded server. Follows `include`. Throws OperatorError.
 */
export async function checkConf(conf: string, data: string): Promise<void> {
  if (!(await hasCluster(conf, 0))) return;
  const isMarked = (await readJson<Mark>(markFile(data))) !== null;
  throw new OperatorError(
    isMarked
      ? `${conf} has a cluster section, but the store ${storeDirectory(data)} belongs to ` +
          'a server that ran alone: in a cluster it would delete every stream'
      : `${conf} has a cluster section, and the embedded nats-server runs alone`,
    'Take it out; or start the cluster yourself, on empty stores, and set `nats.url`.',
  );
}

async function hasCluster(conf: string, depth: number): Promise<boolean> {
  const text = await readFile(conf, 'utf8').catch((error: unknown) => {
    throw new OperatorError(
      `the server configuration ${conf} cannot be read: ${textOf(error)}`,
      'Restore nats.conf, or correct the path.',
      error,
    );
  });
  // A comment begins at a line's start or after a space; `nats-route://` does not.
  const plain = text.replaceAll(/(^|\s)(?:#|\/\/).*$/gm, '$1');
  if (/(?:^|[\s;{}])["']?cluster["']?\s*[:=]?\s*\{/i.test(plain)) return true;
  if (depth === INCLUDE_DEPTH_MAX) return false; // The server itself refuses loops.
  for (const [, name = ''] of plain.matchAll(/^\s*include\s+["']?([^"'\s]+)/gm)) {
    if (await hasCluster(resolve(dirname(conf), name), depth + 1)) return true;
  }
  return false;
}

/** Null when the file is missing or is no JSON; what is inside is checked by the caller. */
async function readJson<T>(file: string): Promise<(Partial<T> & T) | null> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'));
    return typeof value === 'object' ? (value as T) : null;
  } catch {
    return null;
  }
}

/** Written aside and renamed, so that a reader never sees half of it. */
async function writeJson(file: string, value: unknown): Promise<void> {
  const aside = `${file}.${process.pid}`;
  await writeFile(aside, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  await chmod(aside, 0o600);
  await rename(aside, file);
}
