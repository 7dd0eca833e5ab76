/** The sink of `sink-main.ts` as a child process, and its log. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NODE } from './site.ts';
import { until } from './until.ts';

/** One mail that the sink took: on the disk before it said 250. */
export type SinkLine = {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly sender: string;
  readonly recipients: readonly string[];
  /** Fields of the header; '' where there is none. */
  readonly messageId: string;
  readonly marker: string;
  /** SHA-256 in hex: of the message, and of what follows the header's empty line. */
  readonly sha: string;
  readonly bodySha: string;
  readonly bytes: number;
  /** The whole header as latin1, where the sink was asked to keep it. */
  readonly header?: string;
};

export type SinkProcess = {
  readonly port: number;
  readonly url: string;
  readonly logFile: string;
  /** All so far. */
  lines(): readonly SinkLine[];
  /** All lines, once there are so many. */
  waitFor(count: number, ms?: number): Promise<readonly SinkLine[]>;
  close(): Promise<void>;
};

/** Starts one; `close` it in `afterAll`. */
export async function startSinkProcess(
  options: { readonly keepHeader?: boolean } = {},
): Promise<SinkProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-sink-'));
  const logFile = join(directory, 'sink.log');
  const main = join(import.meta.dirname, 'sink-main.ts');
  const args = [main, logFile, ...(options.keepHeader ? ['--header'] : [])];
  const child = spawn(NODE, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const orphaned = (): boolean => child.kill('SIGKILL');
  process.once('exit', orphaned);
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(said.toString());
  const lines = growing<SinkLine>(logFile);
  return {
    port,
    url: `smtp://127.0.0.1:${port}`,
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
    async close() {
      process.off('exit', orphaned);
      const gone = once(child, 'exit');
      if (child.exitCode === null && child.kill('SIGKILL')) await gone;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Reads a log of JSON lines that another process writes; each call parses only what is new and whole. */
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
