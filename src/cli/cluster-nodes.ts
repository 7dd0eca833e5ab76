/** The nodes of `troupe cluster up`: each a process of its own with a configuration and a data directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { systemClock } from '../clock.ts';
import { OperatorError } from '../errors.ts';
import type { LocalCluster } from '../nats/local-cluster.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
const READY_MS_MAX = 90_000;
const POLL_MS = 100;
const STOP_MS_MAX = 20_000;
const TOLD_LINES = 5;

export type LocalNode = {
  readonly name: string;
  /** Its configuration, for `troupe --config`. */
  readonly config: string;
  /** Null while it does not run. */
  pid(): number | null;
  /** Where it takes mail; null while it does not. */
  smtpPort(): Promise<number | null>;
  /** Resolves when it is ready. Throws OperatorError when it does not get so far. */
  start(): Promise<void>;
  /** Asks it to end in order; resolves when it is gone. */
  stop(): Promise<void>;
};

type Note = { readonly pid: number; readonly smtpPort: number; readonly httpPort: number };

/** Writes the node's configuration, with `more` keys in it, and ends whoever a lost parent left running on it. */
export async function openLocalNode(
  directory: string,
  name: string,
  cluster: LocalCluster,
  more: Readonly<Record<string, unknown>> = {},
): Promise<LocalNode> {
  const data = join(directory, name);
  const config = join(directory, `${name}.yaml`);
  const log = join(directory, `${name}.log`);
  await mkdir(data, { recursive: true, mode: 0o700 });
  await writeFile(config, stringify({ ...settings(name, data, cluster), ...more }), {
    mode: 0o600,
  });
  await endOrphan(data, config);
  let child: ChildProcess | null = null;
  const pid = (): number | null => (child === null || isGone(child) ? null : (child.pid ?? null));
  return {
    name,
    config,
    pid,
    smtpPort: async () => (pid() === null ? null : ((await noteOf(data))?.smtpPort ?? null)),
    async start() {
      if (pid() !== null) return;
      child = spawnNode(config, log);
      await untilReady(name, data, child, log);
    },
    async stop() {
      if (child === null || isGone(child)) return;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      const late = setTimeout(() => child?.kill('SIGKILL'), STOP_MS_MAX);
      await gone;
      clearTimeout(late);
    },
  };
}

function settings(name: string, data: string, cluster: LocalCluster) {
  const { url, monitor, user, password, storage } = cluster;
  return {
    node: name,
    data,
    hostname: 'localhost',
    nats: { url, monitor, user, password, storage },
    smtp: { port: 0 },
    lmtp: { port: 0 },
    http: { port: 0 },
  };
}

/** In a session of its own: Ctrl-C is for us, who stop nodes before the servers that they need. */
function spawnNode(config: string, log: string): ChildProcess {
  const output = openSync(log, 'a', 0o600);
  const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith('TROUPE_'));
  try {
    return spawn(process.execPath, [MAIN, '--config', config, 'serve'], {
      detached: true,
      stdio: ['ignore', output, output],
      env: Object.fromEntries(inherited),
    });
  } finally {
    closeSync(output);
  }
}

async function untilReady(
  name: string,
  data: string,
  child: ChildProcess,
  log: string,
): Promise<void> {
  const deadline = systemClock.monotonic() + READY_MS_MAX;
  while (!isGone(child) && systemClock.monotonic() < deadline) {
    const note = await noteOf(data);
    if (note !== null && note.pid === child.pid) return;
    await systemClock.sleep(POLL_MS);
  }
  const words = await readFile(log, 'utf8').catch(() => '');
  throw new OperatorError(
    `node ${name} does not start: ${words.trimEnd().split('\n').slice(-TOLD_LINES).join('\n')}`,
    `The rest of its log is in ${log}.`,
  );
}

/** A node that outlived its parent; told by its command line, since its number may be another's by now. */
async function endOrphan(data: string, config: string): Promise<void> {
  const note = await noteOf(data);
  if (note === null) return;
  const isOurs = async (): Promise<boolean> => {
    const line = await readFile(`/proc/${note.pid}/cmdline`, 'utf8').catch(() => '');
    return line.split('\0').includes(config);
  };
  const deadline = systemClock.monotonic() + STOP_MS_MAX;
  for (let tries = 0; await isOurs(); tries++) {
    if (tries === 0) process.kill(note.pid, 'SIGTERM');
    else if (systemClock.monotonic() > deadline) process.kill(note.pid, 'SIGKILL');
    await systemClock.sleep(POLL_MS);
  }
}

/** Where the node that runs on the data directory listens: its `site.json` (src/ops/site-note.ts). */
async function noteOf(data: string): Promise<Note | null> {
  try {
    return JSON.parse(await readFile(join(data, 'site.json'), 'utf8')) as Note;
  } catch {
    return null;
  }
}

const isGone = (child: ChildProcess): boolean =>
  child.exitCode !== null || child.signalCode !== null;
