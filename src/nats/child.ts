/**
 * The embedded nats-server: a child that outlives its parent's death, is adopted by the next
 * parent, and is started again when it ends on its own. There are never two on one store.
 *
 * C1. Before one is started, no process runs on the store: who does is adopted, or ended first.
 * C2. One is adopted only if it answers by the noted name, and has our version and configuration.
 * C3. Between restarts the port stays the same, so that connected clients find it again.
 */
import type { ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { systemClock } from '../clock.ts';
import { OperatorError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Clock } from '../world.ts';
import { findServer, versionOf } from './find-server.mjs';
import {
  checkConf,
  logFile,
  markStore,
  type Note,
  readNote,
  storeDirectory,
  writeNote,
} from './note.ts';
import {
  endServer,
  freePort,
  hasMetFullDisk,
  infoAt,
  isServer,
  lastWords,
  runningOn,
  spawnServer,
} from './server-process.ts';
import { checkVersion } from './version-gate.ts';

export { checkConf, readNote } from './note.ts';

export type ChildOptions = {
  /** Absent: looked for on the PATH and under `.troupe/`. */
  readonly binary?: string;
  /** The data directory; the store is `nats` in it. */
  readonly data: string;
  /** The server's configuration file; default the `nats.conf` of the checkout. */
  readonly conf?: string;
  /** Bytes it may keep; counts at first start only. */
  readonly storage?: number;
  /** Absent: 4222 if free at first start, else picked; later the same if free. 0: picked. */
  readonly port?: number;
  readonly durability?: 'strict' | 'relaxed';
  readonly log: Log;
  readonly clock?: Clock;
};

/** Why the server is no longer there; code and signal are null for one that was adopted. */
export type Ended = { readonly code: number | null; readonly signal: string | null };

export type Child = {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  /** What the streams may share, in bytes (design §4). */
  readonly maxFileStore: number;
  /** Of the server that runs now; 0 while there is none. */
  readonly pid: number;
  readonly isAdopted: boolean;
  /** Calls `listener` each time the server ends unasked; returns what ends that. */
  onExit(listener: (ended: Ended) => void): () => void;
  /** True if it said, since it was started, that its disk was full: then a stream stores nothing until a restart. */
  hasMetFullDisk(): Promise<boolean>;
  /** Ends the server, which is then started again as after any other end. */
  restart(): Promise<void>;
  /** Ends the server for good; resolves when the process is gone. Twice is not an error. */
  stop(): Promise<void>;
};

const ROOT = resolve(import.meta.dirname, '..', '..');
const PORT_DEFAULT = 4222;
/** Somebody may take a free port before the server does. */
const PORT_TRIES_MAX = 3;
const READY_POLL_MS = 10;
/** A large store is read through before the server answers. */
const START_MS_MAX = 10 * 60_000;
const START_NEWS_MS = 10_000;
/** How long one that outlived its parent may be silent before it is ended. */
const ADOPT_MS_MAX = 60_000;
const ADOPTED_POLL_MS = 250;
const STOP_MS_MAX = 20_000;
const RESTART_DELAY_MS_MIN = 100;
const RESTART_DELAY_MS_MAX = 10_000;
/** One that ran this long was well: the next delay is the shortest again. */
const STEADY_MS = 5_000;

/** What does not change while we supervise. */
type Setting = {
  readonly binary: string;
  readonly version: string;
  readonly data: string;
  readonly conf: string;
  readonly confHash: string;
  readonly maxFileStore: number;
  readonly log: Log;
  readonly clock: Clock;
};

/** A server that answers. */
type Running = {
  readonly note: Note;
  readonly isAdopted: boolean;
  /** Settles when its process is gone. */
  readonly ended: Promise<Ended>;
  /** Its end is awaited from now on: the process must not end before that, for want of other work. */
  keepAlive(): void;
};

/**
 * Starts the embedded server, or adopts the one that runs on this data directory, and keeps it
 * running until `stop`. Throws OperatorError when the binary is missing or too old, the
 * configuration is refused, or it does not start.
 */
export async function startChild(options: ChildOptions): Promise<Child> {
  const setting = await prepare(options);
  const first = (await adopt(setting)) ?? (await startFirst(setting, options.port));
  return supervise(setting, first);
}

async function prepare(options: ChildOptions): Promise<Setting> {
  const { binary, version } = serverAt(options.binary);
  checkVersion(version, { durability: options.durability ?? 'strict', isCluster: false });
  await mkdir(options.data, { recursive: true, mode: 0o700 });
  const data = await realpath(options.data);
  const conf = resolve(options.conf ?? resolve(ROOT, 'nats.conf'));
  await checkConf(conf, data);
  const maxFileStore = await markStore(data, options.storage);
  if (options.storage !== undefined && options.storage < maxFileStore) {
    const fields = { storage: options.storage, kept: maxFileStore };
    options.log.warn(fields, 'nats.storage counts at first start only; the store keeps its size');
  }
  const confHash = createHash('sha256')
    .update(await readFile(conf))
    .digest('hex');
  const clock = options.clock ?? systemClock;
  return { binary, version, data, conf, confHash, maxFileStore, log: options.log, clock };
}

function serverAt(named: string | undefined): { binary: string; version: string } {
  const next =
    'Install nats-server 2.12.5 or newer and set TROUPE_NATS_SERVER to its path, ' +
    'or run `npm start`, which fetches one.';
  if (named === undefined) {
    const { found, passed } = findServer(ROOT, process.env);
    if (found !== null) return found;
    throw new OperatorError(['no nats-server was found', ...passed].join('; '), next);
  }
  const version = versionOf(named);
  if (version === null)
    throw new OperatorError(`${named} is not a nats-server that runs here`, next);
  return { binary: named, version };
}

// ── Adopting ──────────────────────────────────────────────────────────────

/** The server that outlived its parent, if it may be kept (C2); any other is ended first (C1). */
async function adopt(setting: Setting): Promise<Running | null> {
  const { data, clock, log } = setting;
  const file = logFile(data);
  const pid = await runningOn(file);
  if (pid === null) return null;
  const note = await readNote(data);
  if (note !== null && note.conf === setting.confHash) {
    const deadline = clock.monotonic() + ADOPT_MS_MAX;
    while (clock.monotonic() < deadline && (await isServer(pid, file))) {
      const info = await infoAt(note.port);
      if (info?.server_name === note.name && info.version === setting.version) {
        log.info({ pid, port: note.port }, 'adopted the nats-server that is running');
        const kept = { ...note, pid };
        await writeNote(data, kept);
        const ended = untilGone(pid, file, clock);
        return { note: kept, isAdopted: true, ended, keepAlive: () => undefined };
      }
      if (info !== null) break; // It answers, but it is another version, or the port is another's.
      await clock.sleep(READY_POLL_MS);
    }
  }
  log.warn({ pid }, 'a nats-server runs on this store that cannot be adopted; ending it');
  await endServer(pid, file, STOP_MS_MAX, clock);
  return null;
}

async function untilGone(pid: number, file: string, clock: Clock): Promise<Ended> {
  while (await isServer(pid, file)) await clock.sleep(ADOPTED_POLL_MS);
  return { code: null, signal: null };
}

// ── Starting ──────────────────────────────────────────────────────────────

async function startFirst(setting: Setting, asked: number | undefined): Promise<Running> {
  const before = await readNote(setting.data);
  for (let tries = 1; ; tries++) {
    const port = await choosePort(asked, tries === 1 ? before?.port : 0);
    const outcome = await start(setting, noteFor(setting, before, port));
    if (outcome.kind === 'runs') return outcome.running;
    const isPortTaken = (await freePort(port)) === null;
    if (isPortTaken && !asked && tries < PORT_TRIES_MAX) continue;
    throw new OperatorError(
      `nats-server does not start: ${outcome.why}`,
      `Its last words are above, the rest is in ${logFile(setting.data)}.`,
    );
  }
}

async function choosePort(
  asked: number | undefined,
  remembered: number | undefined,
): Promise<number> {
  if (asked) {
    if ((await freePort(asked)) !== null) return asked;
    throw new OperatorError(
      `port ${asked} is in use, and nats-server needs it`,
      'End what uses it, or set `nats.port` to another or to 0.',
    );
  }
  const wished = remembered ?? (asked === 0 ? 0 : PORT_DEFAULT);
  const port = (await freePort(wished)) ?? (await freePort(0));
  if (port === null) {
    throw new OperatorError('no port is free on 127.0.0.1', 'End what uses so many connections.');
  }
  return port;
}

/** Who it is: the same name and password as before, new ones at first start. */
function noteFor(setting: Setting, before: Note | null, port: number): Note {
  return {
    url: `nats://127.0.0.1:${port}`,
    user: before?.user ?? 'troupe',
    // A letter first: the configuration would read 12e45 as a number.
    password: before?.password ?? `p${randomBytes(24).toString('hex')}`,
    name: before?.name ?? `troupe-${randomBytes(8).toString('hex')}`,
    port,
    pid: 0,
    started: new Date(setting.clock.now()).toISOString(),
    conf: setting.confHash,
    standalone: true,
  };
}

type Started = { kind: 'runs'; running: Running } | { kind: 'failed'; why: string };

/** One start. The note is written first: who adopts after a crash between the two needs it. */
async function start(setting: Setting, note: Note, stopping?: AbortSignal): Promise<Started> {
  const { data, clock, log } = setting;
  await writeNote(data, note);
  const child = spawnServer(setting.binary, setting.conf, logFile(data), {
    TROUPE_NATS_NAME: note.name,
    TROUPE_NATS_PORT: String(note.port),
    TROUPE_NATS_USER: note.user,
    TROUPE_NATS_PASSWORD: note.password,
    TROUPE_NATS_STORE: JSON.stringify(storeDirectory(data)), // Quoted: a path may have spaces.
    TROUPE_NATS_STORAGE: String(setting.maxFileStore),
  });
  const ended = endOf(child);
  let isGone = false;
  void ended.then(() => (isGone = true));
  const since = clock.monotonic();
  for (let news = 1; !isGone && !stopping?.aborted; ) {
    const info = await infoAt(note.port);
    if (info?.server_name === note.name) {
      const running = { ...note, pid: child.pid ?? 0 };
      await writeNote(data, running);
      log.info({ pid: running.pid, port: note.port, version: info.version }, 'nats-server runs');
      const keepAlive = (): void => child.ref();
      return { kind: 'runs', running: { note: running, isAdopted: false, ended, keepAlive } };
    }
    const waitedMs = clock.monotonic() - since;
    if (waitedMs > START_MS_MAX) {
      await endServer(child.pid ?? 0, logFile(data), STOP_MS_MAX, clock);
      return { kind: 'failed', why: `no answer within ${START_MS_MAX / 60_000} minutes` };
    }
    if (waitedMs > news * START_NEWS_MS) {
      news++;
      log.warn({ pid: child.pid, waitedMs }, 'nats-server does not answer yet; it reads its store');
    }
    await Promise.race([ended, clock.sleep(READY_POLL_MS)]);
  }
  return { kind: 'failed', why: `it ended at once:\n${await lastWords(logFile(data))}` };
}

async function endOf(child: ChildProcess): Promise<Ended> {
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
    return { code, signal };
  } catch {
    return { code: null, signal: null }; // It could not even be spawned.
  }
}

// ── Supervising ───────────────────────────────────────────────────────────

/** On the same port (C3). What goes wrong here is tried again, so nothing is thrown. */
async function startAgain(setting: Setting, last: Note, stopping: AbortSignal): Promise<Started> {
  try {
    const started = new Date(setting.clock.now()).toISOString();
    return await start(setting, { ...last, pid: 0, started }, stopping);
  } catch (error) {
    return { kind: 'failed', why: textOf(error) };
  }
}

function supervise(setting: Setting, first: Running): Child {
  const { data, clock, log } = setting;
  const stopping = new AbortController();
  const listeners = new Set<(ended: Ended) => void>();
  let current: Running | null = first;
  let delayMs = RESTART_DELAY_MS_MIN;

  const watch = async (): Promise<void> => {
    let since = clock.monotonic();
    while (!stopping.signal.aborted) {
      const ended = current === null ? null : await current.ended;
      current = null;
      if (stopping.signal.aborted) return;
      if (ended !== null) {
        log.warn({ ...ended }, 'nats-server ended; starting it again');
        for (const listener of [...listeners]) listener(ended);
        if (clock.monotonic() - since > STEADY_MS) delayMs = RESTART_DELAY_MS_MIN;
      }
      await clock.sleep(delayMs, stopping.signal);
      if (stopping.signal.aborted) return;
      delayMs = Math.min(delayMs * 2, RESTART_DELAY_MS_MAX);
      const outcome = await startAgain(setting, first.note, stopping.signal);
      since = clock.monotonic();
      if (outcome.kind === 'runs') current = outcome.running;
      else log.error({ why: outcome.why, delayMs }, 'nats-server does not start; mail waits');
    }
  };
  const watching = watch();

  const stop = async (): Promise<void> => {
    stopping.abort();
    current?.keepAlive();
    if (current !== null) await endServer(current.note.pid, logFile(data), STOP_MS_MAX, clock);
    await watching;
    const started = await runningOn(logFile(data)); // One that was just being started again.
    if (started !== null) await endServer(started, logFile(data), STOP_MS_MAX, clock);
    await writeNote(data, { ...first.note, pid: 0 });
  };
  let stopped: Promise<void> | null = null;

  const { url, user, password } = first.note;
  return {
    url,
    user,
    password,
    maxFileStore: setting.maxFileStore,
    isAdopted: first.isAdopted,
    get pid() {
      return current?.note.pid ?? 0;
    },
    onExit: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    hasMetFullDisk: () => hasMetFullDisk(logFile(data)),
    restart: async () => {
      if (current === null || stopping.signal.aborted) return;
      await endServer(current.note.pid, logFile(data), STOP_MS_MAX, clock);
    },
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}
