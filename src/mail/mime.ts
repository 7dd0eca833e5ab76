/**
 * Full MIME, only where something needs it: the preview of a held post. mailparser runs in a worker
 * thread with limits on memory and time, so that a hostile message costs a worker and never a node.
 *
 * One worker, started when first needed and stopped after a rest. One message at a time, a bounded
 * number waiting.
 */
import { Worker } from 'node:worker_threads';
import { scanMime } from './mime-scan.ts';

export type MimeLimits = {
  /** Larger messages are not parsed. */
  readonly bytesMax: number;
  /** Of one message; then the worker is ended. */
  readonly timeMsMax: number;
  /** Of the worker's heap. */
  readonly memoryMbMax: number;
  /** Messages waiting for the worker; past that the answer is `busy`. */
  readonly waitingMax: number;
  /** Characters of the text that are handed back. */
  readonly textLengthMax: number;
  /** The worker is stopped when nothing was asked for so long. */
  readonly idleMsMax: number;
};

export const MIME_LIMITS: MimeLimits = {
  bytesMax: 32 * 1024 * 1024,
  timeMsMax: 10_000,
  memoryMbMax: 256,
  waitingMax: 32,
  textLengthMax: 16 * 1024,
  idleMsMax: 30_000,
};

/** What a message holds, small: its text cut to the limit, and its attachments by name only. */
type MimeSummary = {
  /** The plain text, or what is readable of the HTML where there is none; LF ends. */
  readonly text: string;
  readonly attachments: readonly {
    readonly name: string;
    readonly type: string;
    readonly bytes: number;
  }[];
};

type MimeProblem = {
  readonly problem:
    | 'too-large'
    | 'too-deep'
    | 'too-many-parts'
    | 'too-slow'
    | 'busy'
    | 'unreadable'
    | 'stopped';
};

export type MimeParser = {
  /** Never rejects. */
  parse(raw: Uint8Array): Promise<MimeSummary | MimeProblem>;
  /** Ends the worker; what waits is answered `stopped`. */
  close(): Promise<void>;
};

/** What goes to the worker, and what comes back. */
export type MimeJob = { readonly raw: Uint8Array; readonly textLengthMax: number };
export type MimeReply = MimeSummary | { readonly problem: 'unreadable' };

type Waiting = {
  readonly raw: Uint8Array;
  readonly settle: (outcome: MimeSummary | MimeProblem) => void;
};

const WORKER = new URL('./mime-worker.ts', import.meta.url);
/** Attachments named in a summary. */
export const ATTACHMENTS_NAMED_MAX = 100;

/** A parser with its own worker. Nothing starts before the first message. */
export function createMimeParser(limits: MimeLimits = MIME_LIMITS): MimeParser {
  const waiting: Waiting[] = [];
  let worker: Worker | null = null;
  let current: Waiting | null = null;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function next(): void {
    clearTimeout(timer);
    current = waiting.shift() ?? null;
    if (current === null) {
      timer = setTimeout(end, limits.idleMsMax).unref();
      return;
    }
    timer = setTimeout(() => fail('too-slow'), limits.timeMsMax);
    worker ??= start(limits.memoryMbMax, {
      // Late words of a worker that was given up on are not this one's.
      replied: (from, reply) => from === worker && settle(reply),
      failed: (from) => from === worker && fail('unreadable'),
    });
    // A copy: the caller keeps the bytes, the worker owns what it got.
    const raw = new Uint8Array(current.raw);
    const job: MimeJob = { raw, textLengthMax: limits.textLengthMax };
    worker.postMessage(job, [raw.buffer]);
  }

  function settle(outcome: MimeSummary | MimeProblem): void {
    const done = current;
    next();
    done?.settle(outcome);
  }

  /** The worker is in an unknown state: it is ended, and the next message gets a new one. */
  function fail(problem: MimeProblem['problem']): void {
    void end();
    if (current !== null) settle({ problem });
  }

  async function end(): Promise<void> {
    clearTimeout(timer);
    const ending = worker;
    worker = null;
    await ending?.terminate();
  }

  return {
    parse(raw) {
      const problem = closed ? 'stopped' : problemBefore(raw, limits, waiting.length);
      if (problem !== null) return Promise.resolve({ problem });
      return new Promise((settleWaiting) => {
        waiting.push({ raw, settle: settleWaiting });
        if (current === null) next();
      });
    },
    async close() {
      closed = true;
      for (const { settle: stop } of waiting.splice(0)) stop({ problem: 'stopped' });
      if (current !== null) settle({ problem: 'stopped' });
      await end();
    },
  };
}

type Hears = { replied(from: Worker, reply: MimeReply): void; failed(from: Worker): void };

/** It ends with the process, whatever it has in hand. */
function start(memoryMbMax: number, { replied, failed }: Hears): Worker {
  const worker = new Worker(WORKER, {
    resourceLimits: { maxOldGenerationSizeMb: memoryMbMax, maxYoungGenerationSizeMb: 16 },
    execArgv: [],
    env: {},
  });
  worker.on('message', (reply: MimeReply) => replied(worker, reply));
  worker.on('error', () => failed(worker));
  worker.on('exit', () => failed(worker));
  worker.unref();
  return worker;
}

/** What can be said without a parser. */
function problemBefore(
  raw: Uint8Array,
  limits: MimeLimits,
  waiting: number,
): MimeProblem['problem'] | null {
  if (raw.byteLength > limits.bytesMax) return 'too-large';
  if (waiting >= limits.waitingMax) return 'busy';
  return scanMime(raw).problem;
}

const shared = createMimeParser();

/**
 * The readable text of a message for a preview, at most {@link MIME_LIMITS}.textLengthMax; '' if it
 * cannot be had.
 */
export async function previewText(raw: Uint8Array): Promise<string> {
  const outcome = await shared.parse(raw);
  return 'problem' in outcome ? '' : outcome.text;
}

/** Ends the worker behind {@link previewText}, at shutdown. */
export function stopMime(): Promise<void> {
  return shared.close();
}
