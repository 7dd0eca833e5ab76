/** `troupe serve` with some of the roles, as one of several processes over one nats-server, each with a data directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { sendOnce } from './send-mail.ts';
import { NODE, newPlace, runTroupe } from './site.ts';
import { until } from './until.ts';

const CLI = resolve(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts');
const READY_MS_MAX = 150_000;

type Ports = { readonly pid: number; readonly smtpPort: number; readonly httpPort: number };

export type RoleProcess = {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  ports(): Ports;
  /** Resolves when it is gone. */
  kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Runs a verb there with `--json` and gives what it printed; throws when it fails. */
  troupe<T>(...args: readonly string[]): Promise<T>;
  /** Gives a post to its edge; the code of the reply. */
  post(list: string): Promise<number>;
};

/** Starts it under `directory`, its environment with `more`; resolves when it is ready. */
export async function startRoles(
  name: string,
  roles: string,
  where: { readonly directory: string; readonly natsUrl: string },
  more: Readonly<Record<string, string>>,
): Promise<RoleProcess> {
  const place = newPlace();
  rmSync(place.directory, { recursive: true });
  const { TROUPE_NATS_SERVER: _, TROUPE_NATS_PORT: __, ...rest } = place.env;
  const data = join(where.directory, name);
  const env = {
    ...rest,
    TROUPE_DATA: data,
    TROUPE_NODE: name,
    TROUPE_ROLES: roles,
    TROUPE_NATS_URL: where.natsUrl,
    ...more,
  };
  const child: ChildProcess = spawn(NODE, [CLI, 'serve'], { env, stdio: 'ignore' });
  const orphaned = (): boolean => child.kill('SIGKILL');
  process.once('exit', orphaned);
  const ports = (): Ports => JSON.parse(readFileSync(join(data, 'site.json'), 'utf8')) as Ports;
  const one: RoleProcess = {
    name,
    env,
    ports,
    async kill(signal) {
      process.off('exit', orphaned);
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill(signal);
      await gone;
    },
    async troupe<T>(...args: readonly string[]) {
      const { code, stdout, stderr } = await runTroupe(env, ['--json', ...args]);
      if (code !== 0) throw new Error(`troupe ${args.join(' ')}: ${stderr}`);
      return JSON.parse(stdout) as T;
    },
    post: (list) => postAt(ports().smtpPort, list),
  };
  try {
    await until(`${name} is ready`, () => (ports().pid === child.pid ? true : null), READY_MS_MAX);
  } catch (error) {
    await one.kill('SIGKILL');
    throw error;
  }
  return one;
}

/** The same bytes again would be the same post. */
let posted = 0;

async function postAt(port: number, list: string): Promise<number> {
  const sender = 'ann@sink.example';
  const text = `From: ${sender}\r\nTo: ${list}\r\nSubject: Hello ${posted++}\r\n\r\nIs this on?\r\n`;
  const mail = { sender, recipients: [list], message: Buffer.from(text) };
  return (await sendOnce(port, mail)).code;
}
