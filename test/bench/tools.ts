/** Postfix's load generator and sink: what they are, whether they are there, and running them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';
import type { Scene } from './scene.ts';

export const SMTP_TOOLS = ['smtp-source', 'smtp-sink'];
/** Where Postfix puts them, on the PATH of root only. */
const ELSEWHERE = ['/usr/sbin', '/usr/local/sbin'];
/** Connections that may wait to be taken. */
const BACKLOG = 1_000;
/** A counter ends its line with CR; the last whole one is in so many bytes. */
const TAIL_BYTES = 256;
const LOOK_MS = 1;

function pathOf(tool: string): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...ELSEWHERE];
  const paths = folders.filter(Boolean).map((folder) => join(folder, tool));
  return paths.find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** What is missing and the line that installs it; null if nothing is. */
export function missingTools(tools: readonly string[]): string | null {
  const missing = tools.filter((tool) => pathOf(tool) === null);
  if (missing.length === 0) return null;
  const are = missing.length === 1 ? 'is' : 'are';
  return `${missing.join(' and ')} ${are} missing; install with: apt-get install --no-install-recommends postfix`;
}

// ── smtp-sink ─────────────────────────────────────────────────────────────

export type Sink = {
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** Messages taken since it was started. */
  taken(): number;
  /** Looks until `watched.stop` is called; from now on. */
  watch(): Watched;
};

export type Watched = {
  /** Messages taken since; and when the first and the latest of them were seen, ms of performance.now(). */
  now(): { readonly taken: number; readonly firstAt: number; readonly lastAt: number };
  /** Resolves when so many were taken. Throws when nothing more came for `quietMs`. */
  until(taken: number, quietMs: number): Promise<void>;
  stop(): void;
};

/**
 * Starts `smtp-sink -c`, which counts what it takes on its standard output. That is a file, and not a pipe, so that nobody
 * is woken for each message.
 */
export async function startSink(scene: Scene): Promise<Sink> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-bench-'));
  const counters = openSync(join(directory, 'counters'), 'a+');
  const port = await freePort();
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const args = [...user, '-c', `127.0.0.1:${port}`, String(BACKLOG)];
  const child = spawn(pathOf('smtp-sink') ?? '', args, { stdio: ['ignore', counters, 'inherit'] });
  scene.closing(async () => {
    const gone = once(child, 'exit');
    if (child.exitCode === null && child.kill('SIGKILL')) await gone;
    closeSync(counters);
    rmSync(directory, { recursive: true, force: true });
  });
  await until('smtp-sink listens', () => canConnect(port));
  const taken = (): number => lastCount(counters);
  return {
    port,
    url: `smtp://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    taken,
    watch: () => watch(taken),
  };
}

function watch(taken: () => number): Watched {
  const base = taken();
  let seen = { taken: 0, firstAt: 0, lastAt: performance.now() };
  let isOver = false;
  const look = (): void => {
    const count = taken() - base;
    if (count === seen.taken) return;
    const at = performance.now();
    seen = { taken: count, firstAt: seen.taken === 0 ? at : seen.firstAt, lastAt: at };
  };
  const loop = async (): Promise<void> => {
    for (; !isOver; await pause(LOOK_MS)) look();
  };
  void loop();
  return {
    now: () => seen,
    async until(wanted, quietMs) {
      for (; seen.taken < wanted; await pause(LOOK_MS)) {
        if (performance.now() - seen.lastAt < quietMs) continue;
        throw new Error(`${seen.taken} of ${wanted} messages came to the sink`);
      }
    },
    stop: () => {
      isOver = true;
    },
  };
}

function lastCount(file: number): number {
  const { size } = fstatSync(file);
  const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES));
  readSync(file, bytes, 0, bytes.length, size - bytes.length);
  const [, count] = [...bytes.toString('latin1').matchAll(/mesg=(\d+)[ \r]/g)].at(-1) ?? [];
  return Number(count ?? 0);
}

export function canConnect(port: number): Promise<true | null> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(null));
    socket.once('close', () => resolve(null));
    socket.once('connect', () => socket.destroy());
  });
}

// ── smtp-source ───────────────────────────────────────────────────────────

export type SourceLoad = {
  readonly connections: number;
  readonly messages: number;
  /** Recipients of each message. */
  readonly recipients: number;
  readonly bytes: number;
};

/** Messages a second from `smtp-source` to the sink over kept-open connections: the limit of any sender. */
export async function sourceRate(sink: Sink, load: SourceLoad, scene: Scene): Promise<number> {
  const { connections, messages, recipients, bytes } = load;
  const watched = sink.watch();
  const args = ['-d', '-s', connections, '-m', messages, '-l', bytes, '-r', recipients];
  const names = ['-f', 'a@source.example', '-t', 'b@sink.example', `127.0.0.1:${sink.port}`];
  const startedAt = performance.now();
  const child = spawn(pathOf('smtp-source') ?? '', [...args.map(String), ...names], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  scene.closing(() => child.kill('SIGKILL'));
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`smtp-source ended with ${code}`);
  await watched.until(messages, 5_000);
  watched.stop();
  return (messages * 1_000) / (watched.now().lastAt - startedAt);
}
