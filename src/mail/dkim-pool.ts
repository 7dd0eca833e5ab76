/**
 * Threads that sign, so that an RSA signature (a quarter of a millisecond) never keeps the connections waiting that the
 * main thread serves. A thread is started when all others are busy; what has come meanwhile goes to the next free one at once.
 *
 * Who asks waits. A copy is asked for while the one before it is on the wire, so the queue is as long as there are connections.
 */
import type { KeyObject } from 'node:crypto';
import { Worker } from 'node:worker_threads';

/** What is to be signed, one character a byte, and with which of the pool's keys. */
export type SigningInput = { readonly key: number; readonly text: string };

export type SigningPool = {
  /**
   * The signatures of one copy in base64, in order. Rejects when the pool is closed, or when threads ended over it again and
   * again.
   */
  sign(inputs: readonly SigningInput[]): Promise<readonly string[]>;
  /** Ends the threads; what waits is rejected. */
  close(): Promise<void>;
};

/** Copies that go to a thread at once: a message to it costs as much as an Ed25519 signature. */
const BATCH_MAX = 64;
/** Copies that wait for a thread; past that, who asks waits to be let in. */
export const SIGNING_WAITING_MAX = 1_024;
/** A copy whose thread ended is given to another so often. */
const THREADS_ENDED_MAX = 3;
const MEMORY_MB_MAX = 64;

type Job = {
  readonly inputs: readonly SigningInput[];
  readonly resolve: (signatures: readonly string[]) => void;
  readonly reject: (error: Error) => void;
  ended: number;
};
type Thread = { readonly worker: Worker; jobs: readonly Job[]; error: Error | null };

const WORKER = new URL('./dkim-worker.ts', import.meta.url);

/** At most `threadsMax` threads with these keys; none before the first is asked. */
export function createSigningPool(keys: readonly KeyObject[], threadsMax: number): SigningPool {
  const waiting: Job[] = [];
  const threads = new Set<Thread>();
  let room = Promise.withResolvers<void>();
  let isClosed = false;

  function serve(): void {
    while (waiting.length > 0) {
      const thread = [...threads].find(({ jobs }) => jobs.length === 0) ?? start();
      if (thread === null) break;
      thread.jobs = waiting.splice(0, shareOf(waiting));
      thread.worker.ref(); // While it has something to do, and only then, the process waits for it.
      thread.worker.postMessage(thread.jobs.flatMap(({ inputs }) => inputs));
    }
    if (waiting.length >= SIGNING_WAITING_MAX) return;
    room.resolve();
    room = Promise.withResolvers();
  }

  /** A fair one, so that no thread rests while another has all. What a thread ended over goes alone. */
  function shareOf([first]: readonly Job[]): number {
    if (first !== undefined && first.ended > 0) return 1;
    return Math.min(Math.ceil(waiting.length / threadsMax), BATCH_MAX);
  }

  function start(): Thread | null {
    if (threads.size >= threadsMax) return null;
    const thread = startThread(keys, { isFree: serve, isGone: lost });
    threads.add(thread);
    return thread;
  }

  function lost(thread: Thread): void {
    threads.delete(thread);
    const why = thread.error?.message ?? 'for no reason that it told';
    const error = new Error(`a thread that signs ended: ${why}`, { cause: thread.error });
    for (const job of thread.jobs.toReversed()) {
      job.ended += 1;
      if (isClosed || job.ended >= THREADS_ENDED_MAX) job.reject(error);
      else waiting.unshift(job);
    }
    serve();
  }

  return {
    async sign(inputs) {
      while (!isClosed && waiting.length >= SIGNING_WAITING_MAX) await room.promise;
      if (isClosed) throw new Error('signing has stopped');
      const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
      waiting.push({ inputs, resolve, reject, ended: 0 });
      serve();
      return promise;
    },
    async close() {
      isClosed = true;
      for (const { reject } of waiting.splice(0)) reject(new Error('signing has stopped'));
      room.resolve();
      await Promise.all([...threads].map(({ worker }) => worker.terminate()));
    },
  };
}

/** A thread with nothing in hand. */
function startThread(
  keys: readonly KeyObject[],
  tell: { isFree(): void; isGone(thread: Thread): void },
): Thread {
  const worker = new Worker(WORKER, {
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB_MAX },
    workerData: keys,
    execArgv: [],
    env: {},
  });
  const thread: Thread = { worker, jobs: [], error: null };
  worker.on('message', (signatures: readonly string[]) => {
    answer(thread.jobs, signatures);
    thread.jobs = [];
    worker.unref();
    tell.isFree();
  });
  worker.on('error', (error) => {
    thread.error = error instanceof Error ? error : new Error(String(error));
  });
  worker.on('exit', () => tell.isGone(thread));
  return thread;
}

function answer(jobs: readonly Job[], signatures: readonly string[]): void {
  let from = 0;
  for (const { inputs, resolve } of jobs) {
    resolve(signatures.slice(from, from + inputs.length));
    from += inputs.length;
  }
}
