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
  /** Gives deliveries to whoever has room, until what it returns is called; `poke` says that there may be room again. */
  attach(consumer: FakeConsumer): () => void;
  poke(): void;
  /** Forgets every id, as the server does at a restart for what was acked before. */
  forgetIds(): void;
  /** Lets what waits come in another order. */
  reorder(compare: (a: number, b: number) => number): void;
  /** The delivery that an ack token names, for a process that comes back. */
  adopt(token: string): Delivery | null;
};

/** Who takes: `room` deliveries more now. */
export type FakeConsumer = { room(): number; give(delivery: Delivery): void };

export type FakePut = {
  readonly id?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The sequence, where another has drawn it already: ascending. */
  readonly seq?: number;
};

export type FakeQueueOptions = {
  readonly name?: string;
  readonly clock: Clock;
  readonly ackWaitMs?: number;
  /** How long an id is known; for ever by default. */
  readonly dedupeMs?: number;
  /** Hears of each message that was stored, and was not one that is there already. */
  readonly onStored?: (data: Uint8Array) => void;
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

/** Why a wait ends early: a reason of our own costs no error with a stack. */
const OVER = 'over';

type State = {
  readonly clock: Clock;
  readonly ackWaitMs: number;
  readonly entries: Map<number, Entry>;
  /** Sequences that wait, those that come again first. */
  readonly waiting: number[];
  readonly consumers: FakeConsumer[];
};

export function createFakeQueue(options: FakeQueueOptions): FakeQueue {
  const state: State = {
    clock: options.clock,
    ackWaitMs: options.ackWaitMs ?? 10_000,
    entries: new Map(),
    waiting: [],
    consumers: [],
  };
  const ids = new Map<string, { readonly seq: number; readonly at: number }>();
  const dedupeMs = options.dedupeMs ?? Number.POSITIVE_INFINITY;
  let last = 0;
  return {
    name: options.name ?? 'fake',
    put(subject, data, { id, headers = {}, seq } = {}) {
      const now = state.clock.monotonic();
      const before = id === undefined ? undefined : ids.get(id);
      // Not refreshed by repeats, as on the server (nats-server #7302).
      if (before !== undefined && now - before.at < dedupeMs) return before.seq;
      last = seq ?? last + 1;
      if (id !== undefined) ids.set(id, { seq: last, at: now });
      const storedAt = state.clock.now();
      const entry = { seq: last, subject, data, headers, storedAt, deliveries: 0, inHand: null };
      state.entries.set(last, entry);
      state.waiting.push(last);
      options.onStored?.(data);
      deliver(state);
      return last;
    },
    stored: () => [...state.entries.values()],
    take: (ahead, signal) => take(state, ahead, signal),
    attach: (consumer) => attach(state, consumer),
    poke: () => deliver(state),
    forgetIds: () => ids.clear(),
    reorder: (compare) => void state.waiting.sort(compare),
    adopt(token) {
      const [seq, deliveries] = token.split('.').map(Number);
      const entry = state.entries.get(seq ?? 0);
      return entry === undefined ? null : deliveryOf(state, entry, deliveries ?? 0);
    },
    async depth() {
      const waiting = state.waiting.length;
      return { waiting, inHand: state.entries.size - waiting };
    },
  };
}

function attach(state: State, consumer: FakeConsumer): () => void {
  state.consumers.push(consumer);
  deliver(state);
  return () => {
    const at = state.consumers.indexOf(consumer);
    if (at >= 0) state.consumers.splice(at, 1);
  };
}

async function* take(
  state: State,
  ahead: number,
  signal: AbortSignal,
): AsyncGenerator<Delivery, void, void> {
  const held: Delivery[] = [];
  let wake = (): void => {};
  const stop = (): void => wake();
  signal.addEventListener('abort', stop, { once: true });
  const detach = attach(state, {
    room: () => ahead - held.length,
    give(delivery) {
      held.push(delivery);
      wake();
    },
  });
  try {
    while (!signal.aborted) {
      const next = held.shift();
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      deliver(state);
      yield next;
    }
  } finally {
    signal.removeEventListener('abort', stop);
    detach();
    for (const delivery of held) delivery.giveBack();
  }
}

/** Hands what waits to whoever has room, the one with most room first. */
function deliver(state: State): void {
  for (;;) {
    const consumer = state.consumers.toSorted((a, b) => b.room() - a.room())[0];
    if (consumer === undefined || consumer.room() <= 0) return;
    const seq = state.waiting.shift();
    if (seq === undefined) return;
    const entry = state.entries.get(seq);
    if (entry === undefined) continue; // Acked while it waited to come again.
    entry.deliveries += 1;
    const delivery = deliveryOf(state, entry, entry.deliveries);
    renew(state, entry);
    consumer.give(delivery);
  }
}

function deliveryOf(state: State, entry: Entry, deliveries: number): Delivery {
  const { seq, subject, data, storedAt, headers } = entry;
  const isMine = (): boolean => entry.inHand !== null && entry.deliveries === deliveries;
  return {
    seq,
    subject,
    data,
    deliveries,
    storedAt,
    ackToken: `${seq}.${deliveries}`,
    header: (name) => headers[name] ?? '',
    ack() {
      entry.inHand?.abort(OVER);
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
  entry.inHand?.abort(OVER);
  const inHand = new AbortController();
  entry.inHand = inHand;
  void state.clock.sleep(state.ackWaitMs, inHand.signal).then(() => {
    if (!inHand.signal.aborted) comeAgain(state, entry);
  });
}

function comeAgain(state: State, entry: Entry): void {
  entry.inHand?.abort(OVER);
  entry.inHand = null;
  state.waiting.unshift(entry.seq);
  deliver(state);
}
