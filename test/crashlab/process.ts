/**
 * A process of the lab: it can be killed and stopped in its tracks, and is started again by itself
 * when it falls without being told to, as an init would.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';

const RESPAWN_MS = 1_000;
const STOP_MS_MAX = 20_000;

export type Process = {
  /** `m1-host`. */
  readonly name: string;
  /** Ends that nobody asked for, ms since the epoch. */
  readonly falls: readonly number[];
  pid(): number;
  isUp(): boolean;
  isPaused(): boolean;
  start(): void;
  /** SIGKILL; resolves when it is gone, and stays so until it is started. */
  kill(): Promise<void>;
  /** SIGTERM, and SIGKILL if that does not help. */
  stop(): Promise<void>;
  /** SIGSTOP. */
  pause(): void;
  resume(): void;
};

export function createProcess(
  name: string,
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  logFile: string,
): Process {
  const falls: number[] = [];
  let child: ChildProcess | null = null;
  let isWanted = false;
  let isPaused = false;

  function run(): void {
    if (!isWanted || child !== null) return;
    child = launch(command, env, logFile);
    isPaused = false;
    child.once('exit', () => {
      child = null;
      if (!isWanted) return;
      falls.push(Date.now());
      setTimeout(run, RESPAWN_MS);
    });
  }

  const end = async (signal: Ending): Promise<void> => {
    isWanted = false;
    if (child !== null) await endChild(child, signal, isPaused);
  };

  return {
    name,
    falls,
    pid: () => child?.pid ?? 0,
    isUp: () => child !== null,
    isPaused: () => isPaused,
    start: () => {
      isWanted = true;
      run();
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    pause: () => {
      isPaused = child !== null;
      child?.kill('SIGSTOP');
    },
    resume: () => {
      isPaused = false;
      child?.kill('SIGCONT');
    },
  };
}

type Ending = 'SIGKILL' | 'SIGTERM';

function launch(
  [program = '', ...args]: readonly string[],
  env: Readonly<Record<string, string>>,
  logFile: string,
): ChildProcess {
  const log = openSync(logFile, 'a');
  const child = spawn(program, args, { env, stdio: ['ignore', log, log] });
  closeSync(log);
  child.once('error', () => undefined);
  return child;
}

/** Resolves when it is gone; SIGKILL follows where SIGTERM is not heeded. */
async function endChild(child: ChildProcess, signal: Ending, isPaused: boolean): Promise<void> {
  const gone = once(child, 'exit');
  child.kill(signal);
  if (isPaused && signal === 'SIGTERM') child.kill('SIGCONT');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
  await gone;
  clearTimeout(timer);
}
