/** The sink of `sink-main.ts` as a child process, and its log. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE } from './site.ts';
import { until } from './until.ts';

/** One mail that the sink took, or was in no mood to: on the disk before it said so. */
export type SinkLine = {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** What the client called itself in EHLO. */
  readonly helo?: string;
  readonly sender: string;
  readonly recipients: readonly string[];
  /** Fields of the header; '' where there is none. */
  readonly messageId: string;
  readonly marker: string;
  /** SHA-256 in hex: of the message, and of what follows the header's empty line. */
  readonly sha: string;
  readonly bodySha: string;
  readonly bytes: number;
  /**
   * What it said at the end where that was not 250: 0 where it took the mail and closed the connection without a word; else it
   * did not take it.
   */
  readonly answer?: number;
  /** The whole header as latin1, where the sink was asked to keep it. */
  readonly header?: string;
  /** The same of what follows it. */
  readonly body?: string;
};

export type SinkProcess = {
  readonly port: number;
  readonly url: string;
  readonly logFile: string;
  /** All so far. */
  lines(): readonly SinkLine[];
  /** All lines, once there are so many. */
  waitFor(count: number, ms?: number): Promise<readonly SinkLine[]>;
  /** SIGKILL; resolves when it is gone. Its log stays. */
  kill(): Promise<void>;
  /** Starts it again on the same port and log. */
  restart(): Promise<void>;
  close(): Promise<void>;
};

/** Starts one; `close` it in `afterAll`. */
export async function startSinkProcess(
  options: {
    readonly keepHeader?: boolean;
    readonly keepBody?: boolean;
    readonly address?: string;
    /** See `sink-moods.ts`. */
    readonly moods?: number | 'names';
  } = {},
): Promise<SinkProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-sink-'));
  const logFile = join(directory, 'sink.log');
  const address = options.address ?? '127.0.0.1';
  const flags = [
    `--listen=${address}`,
    ...(options.keepHeader ? ['--header'] : []),
    ...(options.keepBody ? ['--body'] : []),
    ...(options.moods === undefined ? [] : [`--moods=${options.moods}`]),
  ];
  let { child, port } = await spawnSink(logFile, 0, flags);
  const orphaned = (): boolean => child.kill('SIGKILL');
  process.once('exit', orphaned);
  const kill = async (): Promise<void> => {
    const gone = once(child, 'exit');
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGKILL')) await gone;
  };
  const lines = growing<SinkLine>(logFile);
  return {
    port,
    url: `smtp://${address}:${port}`,
    logFile,
    lines,
    waitFor: (count, ms) =>
      until(
        `${count} mails at the sink`,
        () => {
          const all = lines();
          if (all.length >= count) return all;
          throw new Error(`${all.length} came`);
        },
        ms,
      ),
    kill,
    async restart() {
      ({ child, port } = await spawnSink(logFile, port, flags));
    },
    async close() {
      process.off('exit', orphaned);
      await kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function spawnSink(logFile: string, wantedPort: number, flags: readonly string[]) {
  const main = fileURLToPath(new URL('./sink-main.ts', import.meta.url));
  const args = [main, logFile, String(wantedPort), ...flags];
  const child = spawn(NODE, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, port: Number(said.toString()) };
}

/**
 * Reads a log of JSON lines that another process writes; each call parses only what is new and
 * whole.
 */
export function growing<T>(file: string): () => T[] {
  const all: T[] = [];
  let read = 0;
  return () => {
    const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    if (size === read) return all;
    const fresh = Buffer.alloc(size - read);
    const handle = openSync(file, 'r');
    const length = readSync(handle, fresh, 0, fresh.length, read);
    closeSync(handle);
    const whole = fresh.subarray(0, fresh.subarray(0, length).lastIndexOf(10) + 1);
    read += whole.length;
    for (const line of whole.toString('utf8').split('\n')) {
      if (line !== '') all.push(JSON.parse(line) as T);
    }
    return all;
  };
}
