/**
 * The whole program for tests: `troupe serve` as a child process in a directory of its own, driven
 * from outside only: by SMTP, LMTP, HTTP, the command line and NATS. It can be killed as a power
 * button would, and started again.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { findNatsServer } from './nats.ts';
import { until } from './until.ts';

const ROOT = resolve(import.meta.dirname, '..', '..');
const CLI = join(ROOT, 'src', 'cli', 'main.ts');
/** The domain that a test site serves. */
export const DOMAIN = 'lists.example.org';
const READY_MS_MAX = 150_000;
const STOP_MS_MAX = 120_000;
const VERB_MS_MAX = 120_000;
/**
 * Enough for every test here, whatever the disk: JetStream reserves it, only what is written is
 * taken.
 */
const STORAGE = '2GiB';
const TOLD_LINES = 40;

export type RouteOption = {
  readonly name: string;
  readonly url: string;
  readonly connections?: number;
  readonly weight?: number;
  readonly role?: 'primary' | 'fallback';
};

export type SiteOptions = {
  /** Where mail goes; none: it is captured. */
  readonly routes?: readonly RouteOption[];
  /** Added to the environment: `TROUPE_…`. */
  readonly env?: Readonly<Record<string, string>>;
};

/** What `<data>/site.json` says of the node that runs. */
export type Ports = {
  readonly pid: number;
  readonly smtpPort: number;
  readonly lmtpPort: number;
  readonly httpPort: number;
  readonly httpUrl: string;
};

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string };

export type TestSite = {
  /** The data directory. */
  readonly data: string;
  /** What every process of it is given. */
  readonly env: Readonly<Record<string, string>>;
  /** As they are now: they change with each start. Throws while it does not run. */
  ports(): Ports;
  /** The embedded server's note: url, user, password, pid. */
  nats(): {
    readonly url: string;
    readonly user: string;
    readonly password: string;
    readonly pid: number;
  };
  /** Runs a verb with `--json` and gives what it printed; throws when it fails. */
  troupe<T = unknown>(...args: readonly string[]): Promise<T>;
  /** Runs a verb and gives how it ended, whatever that is. */
  run(...args: readonly string[]): Promise<Ran>;
  /** Starts the node, with more in its environment if given, and waits until it is ready. */
  start(more?: Readonly<Record<string, string>>): Promise<void>;
  /** Resolves when the node has ended, however it did. */
  ended(): Promise<void>;
  /** SIGKILL; resolves when the process is gone. Its nats-server goes on. */
  killNode(): Promise<void>;
  /** SIGKILL to the embedded nats-server; the node, if it runs, starts another. */
  killNats(): Promise<void>;
  /** SIGTERM; resolves with the exit code when the node and its nats-server are gone. */
  stop(): Promise<number>;
  /** The last lines that the node logged, for the message of a failure. */
  log(): string;
  /** Ends everything and removes the directory, unless TROUPE_TEST_KEEP is set. */
  close(): Promise<void>;
};

/** The project's own Node where this one is too old to run it (vitest may run under another). */
export const NODE =
  Number.parseInt(process.versions.node, 10) >= 24
    ? process.execPath
    : join(ROOT, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');

/** Runs `troupe …` with this environment; kills it after two minutes. */
export async function runTroupe(
  env: Readonly<Record<string, string>>,
  args: readonly string[],
): Promise<Ran> {
  const child = spawn(NODE, [CLI, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), VERB_MS_MAX);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  clearTimeout(timer);
  return { code: code ?? -1, stdout, stderr };
}

/**
 * A directory and the environment of a site in it that listens on ports of the system's choice;
 * nothing is started.
 */
export function newPlace(options: SiteOptions = {}): {
  readonly directory: string;
  readonly data: string;
  readonly env: Readonly<Record<string, string>>;
} {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-site-'));
  const data = join(directory, 'data');
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('TROUPE_'));
  const env = {
    ...(Object.fromEntries(inherited) as Record<string, string>),
    NO_COLOR: '1',
    TROUPE_DATA: data,
    TROUPE_HOSTNAME: DOMAIN,
    TROUPE_DOMAINS: DOMAIN,
    TROUPE_SMTP_PORT: '0',
    TROUPE_LMTP_PORT: '0',
    TROUPE_HTTP_PORT: '0',
    TROUPE_HTTP_URL: `https://${DOMAIN}`,
    TROUPE_NATS_PORT: '0',
    TROUPE_NATS_SERVER: findNatsServer(),
    TROUPE_NATS_STORAGE: STORAGE,
    ...(options.routes && { TROUPE_ROUTES: JSON.stringify(options.routes) }),
    ...options.env,
  };
  return { directory, data, env };
}

/**
 * Starts a site; `close` it in `afterAll`. Throws with the node's last words when it does not
 * start.
 */
export async function startTestSite(options: SiteOptions = {}): Promise<TestSite> {
  const { directory, data, env } = newPlace(options);
  const logFile = join(directory, 'node.log');
  let child: ChildProcess | null = null;

  const site: TestSite = {
    data,
    env,
    ports: () => readJson<Ports>(join(data, 'site.json')),
    nats: () => readJson(join(data, 'nats.json')),
    async troupe<T>(...args: readonly string[]) {
      const { code, stdout, stderr } = await runTroupe(env, ['--json', ...args]);
      if (code !== 0) throw new Error(`troupe ${args.join(' ')}: exit ${code}: ${stderr}`);
      return JSON.parse(stdout) as T;
    },
    run: (...args) => runTroupe(env, args),
    async start(more) {
      child = spawnNode({ ...env, ...more }, logFile);
      await untilReady(site, child);
    },
    async ended() {
      if (child !== null && !isGone(child)) await once(child, 'exit');
    },
    async killNode() {
      if (child !== null) await end(child, 'SIGKILL');
    },
    async killNats() {
      await killAndWait(site.nats().pid);
    },
    async stop() {
      if (child === null) return 0;
      await end(child, 'SIGTERM');
      return child.exitCode ?? -1;
    },
    log: () => lastLines(logFile),
    async close() {
      process.off('exit', orphaned);
      if (child !== null) await end(child, 'SIGTERM');
      await killAndWait(natsPid(data));
      if (!process.env.TROUPE_TEST_KEEP) rmSync(directory, { recursive: true, force: true });
    },
  };
  const orphaned = (): void => {
    child?.kill('SIGKILL');
    kill(natsPid(data));
  };
  process.once('exit', orphaned);
  try {
    await site.start();
  } catch (error) {
    await site.close();
    throw error;
  }
  return site;
}

function spawnNode(env: Readonly<Record<string, string>>, logFile: string): ChildProcess {
  const log = openSync(logFile, 'a');
  try {
    return spawn(NODE, [CLI, 'serve'], { env, stdio: ['ignore', log, log] });
  } finally {
    closeSync(log);
  }
}

async function untilReady(site: TestSite, child: ChildProcess): Promise<void> {
  try {
    await until(
      'the node is ready',
      async () => {
        if (isGone(child)) return 'gone';
        const { pid, httpPort } = site.ports();
        if (pid !== child.pid) return null;
        const { status } = await fetch(`http://127.0.0.1:${httpPort}/ready`);
        return status === 200 ? 'ready' : null;
      },
      READY_MS_MAX,
    );
    if (isGone(child)) throw new Error(`the node ended with ${child.exitCode}`);
  } catch (error) {
    throw new Error(`the site does not start; it said:\n${site.log()}`, { cause: error });
  }
}

const isGone = (child: ChildProcess): boolean =>
  child.exitCode !== null || child.signalCode !== null;

/** SIGKILL follows where a signal is not heeded in time. */
async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (isGone(child)) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
  await gone;
  clearTimeout(timer);
}

async function killAndWait(pid: number): Promise<void> {
  kill(pid);
  await until(`process ${pid} is gone`, () => (isRunning(pid) ? null : true));
}

function kill(pid: number): void {
  try {
    if (pid > 0) process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}

/** True while there is such a process; a zombie, whose parent has not looked yet, is gone. */
export function isRunning(pid: number): boolean {
  try {
    return pid > 0 && !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function natsPid(data: string): number {
  const note = join(data, 'nats.json');
  return existsSync(note) ? readJson<{ pid: number }>(note).pid : 0;
}

function readJson<T>(file: string): T {
  return JSON.parse(readFileSync(file, 'utf8')) as T;
}

function lastLines(file: string): string {
  if (!existsSync(file)) return '';
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-TOLD_LINES).join('\n');
}
