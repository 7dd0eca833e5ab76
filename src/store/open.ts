/**
 * Opens an LMDB environment the one way we do it: a directory of its own, a check of the free disk
 * first (LMDB aborts the process when the disk is full), and a damaged one moved aside, because
 * what is in it can be folded again (design §11).
 *
 * A commit is written before it resolves, so it outlives the process. With `outlives: 'machine'` it
 * is also synced, and waits for the disk to do it: 2 to 100 ms while nats-server syncs on the same
 * disk. With `outlives: 'process'` it is not (20 µs), and what a machine that went down left behind
 * is not trusted but begun anew: for what can be folded again, or is worth little by then.
 */
import { mkdir, open as openFile, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { OperatorError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Disk } from '../world.ts';

/** Below this we refuse work, long before LMDB meets a full disk. */
export const DISK_FREE_BYTES_MIN = 512 * 1024 * 1024;
/** Named databases in one environment. */
const DATABASES_MAX = 16;
/**
 * Beside an environment that outlives the process: {@link CLOSED}, or the boot of the machine that
 * has it open.
 */
const MARK_FILE = 'opened-in';
const CLOSED = 'closed';

/**
 * Of each of the two meta pages that begin LMDB's file: what is read, and where it stands in the
 * page.
 */
const META = { magic: 24, version: 28, pageSize: 48, lastPage: 144, bytes: 160 } as const;
const MAGIC = 0xbeefc0de;
const VERSION = 2;

export type EnvKey = string | number | (string | number)[];
export type Env = RootDatabase<unknown, EnvKey>;

export type EnvOptions = {
  readonly disk: Disk;
  readonly log: Log;
  /** `binary` stores bytes as they are; `msgpack` (the default) plain data. */
  readonly encoding?: 'msgpack' | 'binary';
  /** What a commit survives; `machine` unless said. */
  readonly outlives?: 'machine' | 'process';
};

/** Where each environment is that outlives the process only, to be marked when it is closed. */
const marked = new WeakMap<Env, string>();

/**
 * Opens, or creates, the environment in the directory `path`. A damaged one is moved to
 * `<path>.damaged-<ms>`, logged, and begun anew. Throws an {@link OperatorError} when the disk is
 * nearly full.
 */
export async function openEnv(path: string, options: EnvOptions): Promise<Env> {
  const free = await options.disk.freeBytes();
  if (free < DISK_FREE_BYTES_MIN) {
    const mebibytes = Math.floor(free / 1024 / 1024);
    throw new OperatorError(
      `Only ${mebibytes} MiB are free on the disk of the data directory; 512 are needed.`,
      'Free some space there, or move the data directory, and start again.',
    );
  }
  await mkdir(path, { recursive: true });
  const isUnsynced = options.outlives === 'process';
  const damage =
    (await damageOf(join(path, 'data.mdb'))) ?? (isUnsynced ? await mistrustOf(path) : null);
  if (damage !== null) {
    const aside = `${path}.damaged-${Date.now()}`;
    await rename(path, aside);
    await mkdir(path, { recursive: true });
    options.log.error({ path, aside, damage }, 'a store is damaged: moved aside, begun anew');
  }
  if (isUnsynced) await writeFile(join(path, MARK_FILE), await bootId());
  const env = open<unknown, EnvKey>({
    path,
    maxDbs: DATABASES_MAX,
    encoding: options.encoding ?? 'msgpack',
    // Maps with their names in them: a record's shape would stand in each row, and be compiled at each read.
    encoder: { useRecords: false },
    noSubdir: false,
    noSync: isUnsynced,
  });
  if (isUnsynced) marked.set(env, path);
  return env;
}

/** Closes an environment; one that was not synced so far is synced and marked as whole. */
export async function closeEnv(env: Env): Promise<void> {
  const path = marked.get(env);
  await env.close();
  if (path === undefined) return;
  await syncFile(path);
  await writeFile(join(path, MARK_FILE), CLOSED, { flush: true });
}

/** Resolves when what was committed so far would outlive the machine too. */
export async function syncEnv(env: Env): Promise<void> {
  const path = marked.get(env);
  if (path === undefined) await env.flushed;
  else await syncFile(path);
}

async function syncFile(path: string): Promise<void> {
  const handle = await openFile(join(path, 'data.mdb'), 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Why what was never synced is not to be trusted: the machine went down while it was open. Null if
 * it did not.
 */
async function mistrustOf(path: string): Promise<string | null> {
  const mark = await readFile(join(path, MARK_FILE), 'utf8').catch(() => null);
  if (mark === null || mark === CLOSED || mark === (await bootId())) return null;
  return 'it was open when the machine went down';
}

/** Another one after each boot; where the system has none, the same for ever. */
export async function bootId(): Promise<string> {
  const text = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => 'unknown');
  return text.trim();
}

/**
 * What is wrong with an LMDB file, as far as its two meta pages and its length tell; null if
 * nothing, or if there is no file yet. LMDB itself does not look: it ends the process on a torn
 * file.
 */
export async function damageOf(file: string): Promise<string | null> {
  const handle = await openFile(file, 'r').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
  if (handle === null) return null;
  try {
    const { size } = await handle.stat();
    if (size === 0) return null;
    const first = Buffer.alloc(META.bytes);
    await handle.read(first, 0, META.bytes, 0);
    const pageSize = first.readUInt32LE(META.pageSize);
    const second = Buffer.alloc(META.bytes);
    await handle.read(second, 0, META.bytes, pageSize);
    for (const meta of [first, second]) {
      if (meta.readUInt32LE(META.magic) !== MAGIC) return 'not an LMDB file';
      if (meta.readUInt32LE(META.version) !== VERSION) return 'of another LMDB version';
      const lastPage = Number(meta.readBigUInt64LE(META.lastPage));
      if ((lastPage + 1) * pageSize > size) return 'shorter than it should be';
    }
    return null;
  } finally {
    await handle.close();
  }
}
