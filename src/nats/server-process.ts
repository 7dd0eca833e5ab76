/**
 * The embedded nats-server as a process: found by its command line, started apart from us, asked
 * whether it answers, and ended. Which of these happens when is `child.ts`'s business.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { open, readdir, readFile } from 'node:fs/promises';
import { createServer, connect as dial } from 'node:net';
import { promisify } from 'node:util';
import { OperatorError, textOf } from '../errors.ts';
import type { Clock } from '../world.ts';

/** What INFO, the first line that a server says to any client, tells of it. */
export type Info = {
  readonly server_name: string;
  readonly version: string;
  /** Absent on a standalone server. */
  readonly cluster?: string;
};

const ANSWER_MS_MAX = 1_000;
const INFO_BYTES_MAX = 64 * 1024;
const GONE_POLL_MS = 20;
const LOG_TAIL_BYTES = 4_096;
const LOG_TAIL_LINES = 5;
/** It repeats itself with every write that fails. */
const FULL_DISK_TAIL_BYTES = 256 * 1024;
const run = promisify(execFile);

/**
 * The server that writes the log file `log`: its process id, or null. The command line is the truth
 * about who uses a store: it cannot be lost with a note, and a zombie or a reused id has another.
 */
export async function runningOn(log: string): Promise<number | null> {
  const pids = (await readdir('/proc').catch(() => null))?.filter((name) => /^\d+$/.test(name));
  if (pids === undefined) return runningByPs(log);
  for (const pid of pids) {
    if (await isServer(Number(pid), log)) return Number(pid);
  }
  return null;
}

/** True while the process `pid` is the server that writes `log`. */
export async function isServer(pid: number, log: string): Promise<boolean> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).endsWith(`\0-l\0${log}\0`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || process.platform === 'linux')
      return false;
    return (await runningByPs(log)) === pid;
  }
}

/** Where there is no `/proc`. */
async function runningByPs(log: string): Promise<number | null> {
  const { stdout } = await run('ps', ['-axww', '-o', 'pid=,args=']);
  const line = stdout.split('\n').find((text) => text.trimEnd().endsWith(` -l ${log}`));
  return line === undefined ? null : Number.parseInt(line, 10);
}

/**
 * Starts a server in a session of its own, so that neither our end nor a Ctrl-C is its end. What it
 * says before its log is open, and the trace of a panic, go to the log as well.
 */
export function spawnServer(
  binary: string,
  conf: string,
  log: string,
  variables: Readonly<Record<string, string>>,
): ChildProcess {
  const output = openSync(log, 'a', 0o600);
  try {
    const child = spawn(binary, ['-c', conf, '-l', log], {
      detached: true,
      stdio: ['ignore', output, output],
      env: { ...goSettings(), ...variables },
    });
    child.unref();
    return child;
  } finally {
    closeSync(output);
  }
}

/** An operator may tune the Go runtime (GOMEMLIMIT); nothing else is the server's business. */
function goSettings(): Record<string, string> {
  const given = Object.entries(process.env).filter(
    ([name]) => name.startsWith('GO') || name === 'PATH',
  );
  return Object.fromEntries(given.map(([name, value]) => [name, value ?? '']));
}

/** INFO of who listens on the port, of this machine unless said; null when nobody does or it is no NATS server. */
export function infoAt(port: number, host = '127.0.0.1'): Promise<Info | null> {
  return new Promise((resolve) => {
    let said = '';
    const socket = dial({ port, host });
    const end = (info: Info | null): void => {
      socket.destroy();
      resolve(info);
    };
    socket.setTimeout(ANSWER_MS_MAX, () => end(null));
    socket.on('error', () => end(null));
    socket.on('close', () => end(null));
    socket.on('data', (bytes) => {
      said += bytes.toString('latin1');
      if (said.includes('\n')) end(parseInfo(said));
      else if (said.length > INFO_BYTES_MAX) end(null);
    });
  });
}

function parseInfo(said: string): Info | null {
  try {
    const info = JSON.parse(/^INFO (.*)/.exec(said)?.[1] ?? 'null') as Partial<Info> | null;
    if (typeof info?.server_name !== 'string' || typeof info.version !== 'string') return null;
    const { server_name, version, cluster } = info;
    return { server_name, version, ...(typeof cluster === 'string' && { cluster }) };
  } catch {
    return null;
  }
}

/** A port that is free now: `port` itself, or null if it is taken; 0 asks for any. */
export function freePort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? null) : null));
    });
  });
}

/**
 * Asks the server to end, and makes it end after `patienceMs`. Resolves when the process is gone.
 * Throws OperatorError when it belongs to somebody else.
 */
export async function endServer(
  pid: number,
  log: string,
  patienceMs: number,
  clock: Clock,
): Promise<void> {
  signal(pid, 'SIGTERM');
  const deadline = clock.monotonic() + patienceMs;
  let isKilled = false;
  while (await isServer(pid, log)) {
    if (!isKilled && clock.monotonic() > deadline) {
      signal(pid, 'SIGKILL'); // It was asked: every acknowledged message is on disk already.
      isKilled = true;
    }
    await clock.sleep(GONE_POLL_MS);
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ESRCH') return;
    throw new OperatorError(
      `the nats-server on this store (process ${pid}) belongs to another user: ${textOf(error)}`,
      'Run Troupe as that user, or end that process.',
      error,
    );
  }
}

/** The last lines of the log, for a person who must know why it does not start. */
export async function lastWords(log: string): Promise<string> {
  try {
    const lines = (await tailOf(log, LOG_TAIL_BYTES)).trimEnd().split('\n');
    return lines.slice(-LOG_TAIL_LINES).join('\n');
  } catch (error) {
    return textOf(error);
  }
}

/** What it says when it starts, and when a write did not fit. */
const STARTING = 'Starting nats-server';
const FULL_DISK = /no space left on device|out of (?:space|\w* ?resources), will be DISABLED/;

/** True if the server that writes the log has said, since it started, that its disk was full. */
export async function hasMetFullDisk(log: string): Promise<boolean> {
  const said = await tailOf(log, FULL_DISK_TAIL_BYTES);
  return FULL_DISK.test(said.slice(Math.max(0, said.lastIndexOf(STARTING))));
}

async function tailOf(log: string, bytes: number): Promise<string> {
  const file = await open(log);
  try {
    const { size } = await file.stat();
    const position = Math.max(0, size - bytes);
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(bytes), position });
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
