/**
 * The bus of a simulated world: what the nats-servers keep. One consistent state, made of the same fakes that the contract suites
 * hold to the real server; losing, delaying and doubting are the network's part.
 */
import type { Command } from '../../actors/protocol.ts';
import { LEASE_FORGOTTEN_MS } from '../../src/host/lease.ts';
import type { BounceEvent } from '../../src/mail/bounce-event.ts';
import {
  type Chunk,
  CLASSES,
  type Class,
  chunkName,
  type OrderRow,
  type Result,
} from '../../src/mail/chunk.ts';
import { MAIL_KINDS, type MailKind } from '../../src/mail/envelope.ts';
import { type ListKey, SLOTS } from '../../src/mail/list-key.ts';
import type { AskReply, AskRequest } from '../../src/nats/ask.ts';
import { decodeChunk } from '../../src/nats/codec.ts';
import { MAIL_HEADERS } from '../../src/nats/mail-message.ts';
import type { Clock } from '../../src/world.ts';
import { createFakeKv } from '../support/fake/kv.ts';
import { createFakeLater } from '../support/fake/later.ts';
import { createFakeLedger } from '../support/fake/ledger.ts';
import { createFakeMailStore } from '../support/fake/mail-store.ts';
import { createFakeQueue, type FakeQueue } from '../support/fake/queue.ts';
import type { Chance } from './chance.ts';
import type { Life } from './life.ts';
import { sleepBy, type Timeline } from './timeline.ts';

/** When the world begins, ms since the epoch. */
export const STARTED_AT = Date.UTC(2026, 0, 1);
/** As `streams.ts` states them. */
const ACK_WAIT_MS = { mail: 30_000, mailbox: 10_000, outgoing: 120_000, due: 30_000 } as const;
const DEDUPE_MS = { mailbox: 120_000, outgoing: 7_200_000 } as const;

export type AskServer = {
  readonly life: Life;
  readonly handler: (key: ListKey, request: AskRequest) => Promise<AskReply | null>;
};

export type Parking = { readonly where: string; readonly why: string; readonly subject: string };

export type Bus = ReturnType<typeof createBus>;

/** Hears of what was stored, and was not there already. */
export type BusEvents = {
  chunk(chunk: Chunk): void;
  kept(where: 'held' | 'archive', key: string, id: string, wasDropped: boolean): void;
};

export function createBus(timeline: Timeline, chance: Chance, events: BusEvents) {
  const clock = serverClock(timeline);
  /** Every chunk that was ever stored, by name; put again, it may lack who left meanwhile. */
  const chunks = new Map<string, Chunk>();
  const onStored = (data: Uint8Array): void => {
    const chunk = decodeChunk(data);
    const before = chunks.get(chunkName(chunk))?.to ?? [];
    const to = [...new Map([...before, ...chunk.to])];
    chunks.set(chunkName(chunk), { ...chunk, to });
    events.chunk(chunk);
  };
  const { mails, mailboxes, outgoing, due, queues } = createQueues(clock, onStored);
  const mail = createFakeMailStore(
    ({ kind, subject, seq, data, header }) => {
      const headers = Object.fromEntries(MAIL_HEADERS.map((name) => [name, header(name)]));
      mails[kind].put(subject, data, { seq, headers });
    },
    { clock, onKept: events.kept },
  );
  const ledger = createFakeLedger();
  const grown = createBell(timeline);
  let restarts = 0;
  const { append } = ledger;
  ledger.append = async (...args) => {
    const outcome = await append(...args);
    grown.ring();
    return outcome;
  };
  return {
    ...{ clock, mails, mailboxes, outgoing, due, mail, chunks, queues, ledger },
    /** Resolves at the next append, or after `ms`. */
    grown: grown.heard,
    later: createFakeLater<Command>(clock, due),
    results: new Map<string, Result>(),
    orders: new Map<string, OrderRow>(),
    bounces: new Map<string, BounceEvent>(),
    directory: createWatchedKv(timeline, null),
    nodes: createWatchedKv(timeline, LEASE_FORGOTTEN_MS),
    slots: createWatchedKv(timeline, null),
    parked: [] as Parking[],
    asks: new Map<number, Set<AskServer>>(),
    restarts: () => restarts,
    /** What a restart of the servers does to what they know. */
    restart(): void {
      restarts += 1;
      for (const queue of queues) {
        queue.forgetIds();
        queue.reorder(() => (chance.is(0.5) ? 1 : -1));
      }
      mail.forgetIds();
    },
    poke(): void {
      for (const queue of queues) queue.poke();
    },
  };
}

function createQueues(clock: Clock, onChunk: (data: Uint8Array) => void) {
  const byKind = (kind: MailKind) =>
    createFakeQueue({ clock, name: `mail_${kind}`, ackWaitMs: ACK_WAIT_MS.mail });
  const mails = Object.fromEntries(MAIL_KINDS.map((kind) => [kind, byKind(kind)])) as Readonly<
    Record<MailKind, FakeQueue>
  >;
  const mailboxes = Array.from({ length: SLOTS }, (_, slot) =>
    createFakeQueue({
      clock,
      name: `mailbox_${slot}`,
      ackWaitMs: ACK_WAIT_MS.mailbox,
      dedupeMs: DEDUPE_MS.mailbox,
    }),
  );
  const byClass = (cls: Class) =>
    createFakeQueue({
      ...{ clock, name: `outgoing_${cls}`, ackWaitMs: ACK_WAIT_MS.outgoing },
      ...{ dedupeMs: DEDUPE_MS.outgoing, onStored: onChunk },
    });
  const outgoing = Object.fromEntries(CLASSES.map((cls) => [cls, byClass(cls)])) as Readonly<
    Record<Class, FakeQueue>
  >;
  const due = createFakeQueue({ clock, name: 'due', ackWaitMs: ACK_WAIT_MS.due });
  /** All of them. */
  const queues: readonly FakeQueue[] = [
    ...Object.values(mails),
    ...mailboxes,
    ...Object.values(outgoing),
    due,
  ];
  return { mails, mailboxes, outgoing, due, queues };
}

export function serverClock(timeline: Timeline): Clock {
  return {
    now: () => Math.floor(STARTED_AT + timeline.now()),
    monotonic: timeline.now,
    sleep: sleepBy(timeline.after),
  };
}

/** Those who wait for something hear of it, or give up after a while. */
function createBell(timeline: Timeline) {
  const waiting = new Set<() => void>();
  return {
    ring(): void {
      for (const wake of [...waiting]) wake();
    },
    heard: (ms: number): Promise<void> =>
      new Promise((resolve) => {
        const wake = (): void => {
          off();
          waiting.delete(wake);
          resolve();
        };
        const off = timeline.after(ms, '', wake);
        waiting.add(wake);
      }),
  };
}

// ── Buckets ───────────────────────────────────────────────────────────────

type Change = {
  readonly key: string;
  readonly value: Uint8Array | null;
  readonly revision: number;
};

export type WatchedKv = ReturnType<typeof createWatchedKv>;

/** A bucket whose changes can be read from any point on; with `ttlMs` a row that is not written again is forgotten. */
function createWatchedKv(timeline: Timeline, ttlMs: number | null) {
  const kv = createFakeKv();
  const changes: Change[] = [];
  const rows = new Map<string, Change>();
  const changed = createBell(timeline);
  void (async () => {
    for await (const change of kv.watch(new AbortController().signal)) {
      if (change === 'ready') continue;
      changes.push(change);
      rows.delete(change.key);
      rows.set(change.key, change);
      changed.ring();
      if (ttlMs === null || change.value === null) continue;
      timeline.after(ttlMs, '', () => {
        if (rows.get(change.key) !== change) return;
        // Nobody is told: a watcher has to look.
        kv.expire(change.key);
        rows.delete(change.key);
      });
    }
  })();
  return {
    ...kv,
    changes,
    /** All rows there are, in the order of their revisions. */
    rows: (): readonly Change[] => [...rows.values()],
    /** Resolves when there is more than `known`, or after `ms`. */
    more: async (known: number, ms: number): Promise<void> => {
      if (changes.length <= known) await changed.heard(ms);
    },
  };
}
