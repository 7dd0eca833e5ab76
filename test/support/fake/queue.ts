/** A work queue in memory, held to the same contract as a durable pull consumer. */
import type { Clock, Delivery, Queue } from '../../../src/world.ts';

export type FakeQueue = Queue & {
  /** Stores a message; the same `id` again is one. Returns its sequence. */
  put(subject: string, data: Uint8Array, options?: FakePut): number;
  /** What was neither acked nor dropped, oldest first. */
  stored(): readonly {
    readonly seq: number;
    readonly subject: string;
    readonly data: Uint8Array;
  }[];
};

export type FakePut = { readonly id?: string; readonly headers?: Readonly<Record<string, string>> };

export type FakeQueueOptions = {
  readonly name?: string;
  readonly clock: Clock;
  readonly ackWaitMs?: number;
};

type Entry = {
  readonly seq: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly storedAt: number;
  deliveries: number;
  /** Ends the wait for an ack; null while it waits to be delivered. */
  inHand: AbortController | null;
};

type Taker = {
  readonly ahead: number;
  readonly held: { entry: Entry; delivery: Delivery }[];
  wake: () => void;
};

type State = {
  readonly clock: Clock;
  readonly ackWaitMs: number;
  readonly entries: Map<number, Entry>;
  /** Sequences that wait, those that come again first. */
  readonly waiting: number[];
  readonly takers: Taker[];
};

export function createFakeQueue(options: FakeQueueOptions): FakeQueue {
  const state: State = {
    clock: options.clock,
    ackWaitMs: options.ackWaitMs ?? 10_000,
    entries: new Map(),
    waiting: [],
    takers: [],
  };
  const ids = new Map<string, number>();
  let last = 0;
  return {
    name: options.name ?? 'fake',
    put(subject, data, { id, headers = {} } = {}) {
      const before = id === undefined ? undefined : ids.get(id);
      if (before !== undefined) return before;
      last += 1;
      if (id !== undefined) ids.set(id, last);
      const storedAt = state.clock.now();
      const entry = { seq: last, subject, data, headers, storedAt, deliveries: 0, inHand: null };
      state.entries.set(last, entry);
      state.waiting.push(last);
      deliver(state);
      return last;
    },
    stored: () => [...state.entries.values()],
    take: (ahead, signal) => take(state, ahead, signal),
    async depth() {
      const waiting = state.waiting.length;
      return { waiting, inHand: state.entries.size - waiting };
    },
  };
}

async function* take(
  state: State,
  ahead: number,
  signal: AbortSignal,
): AsyncGenerator<Delivery, void, void> {
  const taker: Taker = { ahead, held: [], wake: () => {} };
  const stop = (): void => taker.wake();
  signal.addEventListener('abort', stop, { once: true });
  state.takers.push(taker);
  try {
    deliver(state);
    while (!signal.aborted) {
      const next = taker.held.shift();
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          taker.wake = resolve;
        });
        continue;
      }
      deliver(state);
      yield next.delivery;
    }
  } finally {
    signal.removeEventListener('abort', stop);
    state.takers.splice(state.takers.indexOf(taker), 1);
    for (const { delivery } of taker.held) delivery.giveBack();
  }
}

/** Hands what waits to whoever has room, the one with most room first. */
function deliver(state: State): void {
  for (;;) {
    const room = (taker: Taker): number => taker.ahead - taker.held.length;
    const taker = state.takers.toSorted((a, b) => room(b) - room(a))[0];
    if (taker === undefined || room(taker) <= 0) return;
    const entry = state.entries.get(state.waiting.shift() ?? 0);
    if (entry === undefined) return;
    entry.deliveries += 1;
    taker.held.push({ entry, delivery: deliveryOf(state, entry) });
    renew(state, entry);
    taker.wake();
  }
}

function deliveryOf(state: State, entry: Entry): Delivery {
  const { seq, subject, data, deliveries, storedAt, headers } = entry;
  const isMine = (): boolean => entry.inHand !== null && entry.deliveries === deliveries;
  return {
    seq,
    subject,
    data,
    deliveries,
    storedAt,
    header: (name) => headers[name] ?? '',
    ack() {
      entry.inHand?.abort();
      state.entries.delete(seq);
      const at = state.waiting.indexOf(seq);
      if (at >= 0) state.waiting.splice(at, 1);
    },
    working() {
      if (isMine()) renew(state, entry);
    },
    giveBack() {
      if (isMine()) comeAgain(state, entry);
    },
  };
}

function renew(state: State, entry: Entry): void {
  entry.inHand?.abort();
  const inHand = new AbortController();
  entry.inHand = inHand;
  void state.clock.sleep(state.ackWaitMs, inHand.signal).then(() => {
    if (!inHand.signal.aborted) comeAgain(state, entry);
  });
}

function comeAgain(state: State, entry: Entry): void {
  entry.inHand?.abort();
  entry.inHand = null;
  state.waiting.unshift(entry.seq);
  deliver(state);
}
