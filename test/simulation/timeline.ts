/**
 * Time in a simulated world: a queue of events, each at its time, run one after another in one thread.
 *
 * A step is one event and everything that follows from it without waiting for the world. Two events of the same time run in
 * an order that the seed draws.
 */
import type { Clock, Random } from '../../src/world.ts';

export type Timeline = {
  /** Milliseconds since the start. */
  now(): number;
  /** Runs `run` in `ms`; returns what calls it off. `what` stands in the trace of a failing seed, unless it is ''. */
  after(ms: number, what: string, run: () => void): () => void;
  /** The next event; false if there is none. */
  step(): Promise<boolean>;
  /** When the next event is, or infinity. */
  next(): number;
  steps(): number;
  /** A line in the trace. */
  note(line: string): void;
  /** The last lines of the trace, oldest first. */
  recent(many: number): readonly string[];
};

type Event = {
  readonly at: number;
  readonly tie: number;
  readonly what: string;
  readonly run: () => void;
  isOff: boolean;
};

/** A tick begins when no promise can go on any more, and costs a fraction of a turn of the event loop. */
const rest = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));
/** Whoever else lives in this process, as a runner of tests, has its turn too once in so many steps. */
const BREATH_STEPS = 1_000;
const breath = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Lines that the trace keeps. */
const TRACE_MAX = 4_000;

export function createTimeline(random: Random): Timeline {
  const heap: Event[] = [];
  const trace: string[] = [];
  let now = 0;
  let steps = 0;

  const note = (line: string): void => {
    trace.push(`${now.toFixed(1).padStart(10)}  ${line}`);
    if (trace.length > 2 * TRACE_MAX) trace.splice(0, TRACE_MAX);
  };
  const prune = (): Event | undefined => {
    while (heap[0]?.isOff === true) pop(heap);
    return heap[0];
  };
  return {
    now: () => now,
    after(ms, what, run) {
      const event = { at: now + Math.max(0, ms), tie: random.fraction(), what, run, isOff: false };
      push(heap, event);
      return () => {
        event.isOff = true;
      };
    },
    async step() {
      const event = prune();
      if (event === undefined) return false;
      pop(heap);
      now = event.at;
      steps += 1;
      if (event.what !== '') note(event.what);
      event.run();
      // Every promise that can go on without the world goes on before the next event.
      await (steps % BREATH_STEPS === 0 ? breath() : rest());
      return true;
    },
    next: () => prune()?.at ?? Number.POSITIVE_INFINITY,
    steps: () => steps,
    note,
    recent: (many) => trace.slice(-many),
  };
}

/** A clock's sleep over a timeline, or over a process that may be paused or die. */
export function sleepBy(after: Timeline['after']): Clock['sleep'] {
  return (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const wake = (): void => {
        off();
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const off = after(ms, '', wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
}

const isBefore = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.tie < b.tie);

function push(heap: Event[], event: Event): void {
  let at = heap.length;
  heap.push(event);
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above];
    if (parent === undefined || !isBefore(event, parent)) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = event;
}

function pop(heap: Event[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    const left = 2 * at + 1;
    const a = heap[left];
    const b = heap[left + 1];
    const isRight = a !== undefined && b !== undefined && isBefore(b, a);
    const child = isRight ? b : a;
    if (child === undefined || !isBefore(child, last)) break;
    heap[at] = child;
    at = isRight ? left + 1 : left;
  }
  heap[at] = last;
}
