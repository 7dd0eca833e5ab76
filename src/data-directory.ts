/**
 * The data directory, and the lock that lets one instance use it.
 *
 * The lock is a file that names its holder by process id and start time, so that one left by a
 * crash is told from one that is held, even when its process id has been given to another since.
 * Looking and taking are one step: the kernel lets one process at a time do it, and forgets those
 * that die.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { systemClock } from './clock.ts';
import { OperatorError, textOf } from './errors.ts';

export type DataDirectory = {
  /** Absolute, without symbolic links. */
  readonly path: string;
  /** Gives the lock up; twice is not an error. */
  release(): Promise<void>;
};

type Holder = { readonly pid: number; readonly started: string };

/** A look takes two milliseconds; several starts at once wait for each other. */
const TURN_POLL_MS = 5;
const TURN_MS_MAX = 10_000;

/**
 * Makes the directory (mode 0700) if it is missing, and locks it for this process. Throws
 * OperatorError when it cannot be written, or when a live process has it.
 */
export async function openDataDirectory(path: string): Promise<DataDirectory> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const real = await realpath(path);
    const lock = join(real, 'lock');
    const mine: Holder = { pid: process.pid, started: (await startOf(process.pid)) ?? '' };
    await take(lock, mine, real);
    return { path: real, release: () => release(lock, mine) };
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw new OperatorError(
      `the data directory ${path} cannot be written: ${textOf(error)}`,
      `Give it to the user ${userName()}, or set \`data\` to a directory that this user may write.`,
      error,
    );
  }
}

/** The process that has the directory now, or null. For tools that need it to be at rest. */
export async function holderOf(path: string): Promise<number | null> {
  const holder = await readHolder(join(path, 'lock'));
  return holder !== null && (await isAlive(holder)) ? holder.pid : null;
}

/** True if a process has the directory, or ended without giving it up. */
export async function isTaken(path: string): Promise<boolean> {
  return (await readHolder(join(path, 'lock'))) !== null;
}

/** Throws OperatorError if a live process has the lock; takes it otherwise. */
async function take(lock: string, mine: Holder, directory: string): Promise<void> {
  await inTurn(lock, async () => {
    const holder = await readHolder(lock);
    if (holder !== null && (await isAlive(holder))) throw inUse(directory, holder.pid);
    const aside = `${lock}.new`;
    await writeFile(aside, JSON.stringify(mine), { mode: 0o600 });
    await rename(aside, lock); // A reader sees the old one or the new one whole.
  });
}

async function release(lock: string, mine: Holder): Promise<void> {
  await inTurn(lock, async () => {
    const holder = await readHolder(lock);
    const isMine = holder?.pid === mine.pid && holder.started === mine.started;
    if (isMine) await rm(lock, { force: true });
  });
}

/**
 * Runs `work` while no other process is at the same lock. An abstract socket's name (unix(7)) can
 * be bound once, and is free again when its process ends, however that ends.
 */
async function inTurn(lock: string, work: () => Promise<void>): Promise<void> {
  if (process.platform !== 'linux') return work();
  const name = `\0troupe-${createHash('sha256').update(lock).digest('hex').slice(0, 32)}`;
  const deadline = systemClock.monotonic() + TURN_MS_MAX;
  for (;;) {
    const turn = createServer().listen(name);
    try {
      await once(turn, 'listening');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      if (systemClock.monotonic() > deadline) throw error;
      await systemClock.sleep(TURN_POLL_MS);
      continue;
    }
    try {
      return await work();
    } finally {
      turn.close();
    }
  }
}

/** Null when there is no lock, or none that names its holder. */
async function readHolder(lock: string): Promise<Holder | null> {
  try {
    const { pid, started } = JSON.parse(await readFile(lock, 'utf8')) as Partial<Holder>;
    return typeof pid === 'number' && typeof started === 'string' ? { pid, started } : null;
  } catch {
    return null;
  }
}

async function isAlive({ pid, started }: Holder): Promise<boolean> {
  const now = await startOf(pid);
  return now !== null && now === started;
}

/** What tells a process from others of its id: the boot and when in it; null if there is none. */
async function startOf(pid: number): Promise<string | null> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name, in brackets, may hold anything; state follows it; the start is field 22 (proc(5)).
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? null : `${boot.trim()} ${fields[18] ?? ''}`;
  } catch {
    return process.platform === 'linux' ? null : startWithoutProc(pid);
  }
}

/** Where there is no `/proc` a reused id cannot be told; the operator then removes the lock. */
function startWithoutProc(pid: number): string | null {
  try {
    process.kill(pid, 0);
    return 'unknown';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? 'unknown' : null;
  }
}

function inUse(directory: string, pid: number): OperatorError {
  return new OperatorError(
    `another Troupe (process ${pid}) uses the data directory ${directory}`,
    `Stop it (kill ${pid}), or give this one a data directory of its own with \`data\`.`,
  );
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? 'of this process');
  }
}

/**
 * Notes which site the directory belongs to, the first time, and refuses another ever after: what was folded from one ledger must
 * not meet another's. Throws OperatorError.
 */
export async function claimForSite(path: string, siteId: string): Promise<void> {
  const file = join(path, 'site-id');
  const there = (await readFile(file, 'utf8').catch(() => '')).trim();
  if (there === '') {
    // Flushed: a power cut would leave an empty file, and one without a site is nobody's yet.
    await writeFile(file, siteId, { mode: 0o600, flush: true });
    return;
  }
  if (there === siteId) return;
  throw new OperatorError(
    `the data directory ${path} belongs to the site ${there}, and NATS holds the site ${siteId}`,
    'Point `nats.url` at the right servers, or give this node a data directory of its own.',
  );
}
