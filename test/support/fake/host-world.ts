/** A whole world for the host, in memory: what a crash leaves (ledger, queues, rows) can be handed to the next host. */
import type { Command } from '../../../actors/protocol.ts';
import { joinSite, type Membership } from '../../../src/host/membership.ts';
import type { HostWorld } from '../../../src/host/world.ts';
import { silentLog } from '../../../src/log.ts';
import { type Chunk, isLater, type OrderRow } from '../../../src/mail/chunk.ts';
import { BULK_MEMBERS } from '../../../src/mail/class-order.ts';
import type { ListKey } from '../../../src/mail/list-key.ts';
import { SLOTS, slotOf } from '../../../src/mail/list-key.ts';
import { NO_OWNER } from '../../../src/nats/ask.ts';
import { encodeAsked } from '../../../src/nats/codec.ts';
import type { AskHandler } from '../../../src/nats/serve-asks.ts';
import { mailbox } from '../../../src/nats/subjects.ts';
import { createSuspects } from '../../../src/nats/suspects.ts';
import type { Asked, Rows } from '../../../src/world.ts';
import { createFakeBounceLog, type FakeBounceLog } from './bounce-log.ts';
import { createFakeClock, type FakeClock } from './clock.ts';
import { createFakeDisk } from './disk.ts';
import { createFakeKv } from './kv.ts';
import { createFakeLater, type FakeLater } from './later.ts';
import { createFakeLedger, type FakeLedger } from './ledger.ts';
import { createFakeMailStore, type FakeMailStore } from './mail-store.ts';
import { createFakeQueue, type FakeQueue } from './queue.ts';
import { fakeRows } from './rows.ts';

export type FakeHostWorld = HostWorld & {
  readonly clock: FakeClock;
  readonly ledger: FakeLedger;
  readonly later: FakeLater<Command>;
  readonly mail: FakeMailStore;
  readonly bounceLog: FakeBounceLog;
  /** Every chunk that was put, repeats too. */
  readonly put: Chunk[];
  /** What was said about posts, by `key.post`. */
  readonly orders: Map<string, OrderRow>;
  /** Thrown by outgoing while set. */
  outgoingError: Error | null;
  readonly directory: Map<string, string>;
  readonly parkedWhy: string[];
  readonly disk: ReturnType<typeof createFakeDisk>;
  /** What `troupe_nodes` and `troupe_slots` hold. */
  readonly nodes: ReturnType<typeof createFakeKv>;
  readonly slots: ReturnType<typeof createFakeKv>;
  /** Slots that this world serves requests for. */
  readonly asked: Set<number>;
  /** Who answers for a slot, whichever node it is. */
  readonly asks: Map<number, AskHandler>;
  send(key: ListKey, asked: Asked<Command>): void;
  readonly queues: readonly FakeQueue[];
};

const GIGABYTE = 1024 ** 3;

/** `before` is the world of a host that is gone: what was durable in it is taken over, its rows unless others are given. */
export function fakeHostWorld(
  before: FakeHostWorld | null = null,
  rows?: Rows,
  node = before?.node ?? 'n1',
): FakeHostWorld {
  const clock = before?.clock ?? createFakeClock();
  const queues =
    before?.queues ??
    Array.from({ length: SLOTS }, (_, slot) => createFakeQueue({ name: `mailbox_${slot}`, clock }));
  const bounceLog = before?.bounceLog ?? createFakeBounceLog();
  const put: Chunk[] = before?.put ?? [];
  const directory = before?.directory ?? new Map<string, string>();
  const parkedWhy: string[] = [];
  const queueOf = (slot: number): FakeQueue => {
    const queue = queues[slot];
    if (queue === undefined) throw new Error(`no slot ${slot}`);
    return queue;
  };
  const orders = before?.orders ?? new Map<string, OrderRow>();
  const world: FakeHostWorld = {
    node,
    web: () => 'http://lists.example',
    clock,
    ledger: before?.ledger ?? createFakeLedger(),
    rows: rows ?? before?.rows ?? fakeRows(),
    mailbox: queueOf,
    later: before?.later ?? createFakeLater<Command>(clock, createFakeQueue({ clock })),
    bulkMembers: BULK_MEMBERS,
    passiveMs: 60_000,
    outgoing: {
      put: async (chunks) => {
        if (world.outgoingError !== null) throw world.outgoingError;
        put.push(...chunks);
      },
    },
    results: {
      order: async (key, post, row) => {
        const id = `${key}.${post}`;
        const last = orders.get(id);
        if (last === undefined || isLater(row, last)) orders.set(id, row);
      },
    },
    orders,
    bounces: { put: async (key, event) => bounceLog.put(key, event) },
    bounceFold: {
      rows: before?.bounceFold.rows ?? fakeRows(),
      log: bounceLog,
      copiesByRoute: async () => null,
      mailbox: { put: async (key, asked) => world.send(key, asked) },
      ...{ checkpointEvents: 1_000, checkpointMs: 5_000 },
      ...{ idle: async () => undefined, yieldsTo: () => null },
    },
    suspects: before?.suspects ?? createSuspects(createFakeKv()),
    secret: () => new Uint8Array(32),
    bounceLog,
    mail: before?.mail ?? createFakeMailStore(),
    parked: {
      put: async (_where, _delivery, why) => {
        parkedWhy.push(why);
      },
    },
    publishDirectory: async (address, _key, state) => {
      directory.set(address, state);
    },
    disk: createFakeDisk(GIGABYTE),
    log: silentLog,
    meter: { count: () => {}, observe: () => {} },
    nextTick: (run) => setImmediate(run),
    yields: async () => undefined,
    put,
    outgoingError: null,
    directory,
    parkedWhy,
    queues,
    nodes: before?.nodes ?? createFakeKv(),
    slots: before?.slots ?? createFakeKv(),
    asked: new Set(),
    asks: before?.asks ?? new Map(),
    askOwner: async (key, question) =>
      (await world.asks.get(slotOf(key))?.(key, { question })) ?? { ok: false, error: NO_OWNER },
    serveAsks: (slot, handler) => {
      world.asked.add(slot);
      world.asks.set(slot, handler);
      return {
        close: async () => {
          world.asked.delete(slot);
          if (world.asks.get(slot) === handler) world.asks.delete(slot);
        },
      };
    },
    send: (key, asked) => {
      const subject = mailbox(key);
      queueOf(Number(subject.split('.')[2])).put(subject, encodeAsked(asked), {
        id: `${key}.${asked.id}`,
      });
    },
  };
  return world;
}

let incarnations = 0;

/** Joins the site as the world's node, in a new incarnation. */
export function joinAs(world: FakeHostWorld): Promise<Membership> {
  incarnations += 1;
  const about = {
    node: world.node,
    incarnation: `i${incarnations}`,
    roles: ['host'],
    version: 'test',
    pid: 1,
    startedAt: world.clock.now(),
  };
  const { nodes, slots, clock, log } = world;
  const ending = new AbortController().signal; // It is stopped, or thrown away.
  return joinSite({ nodes, slots, clock, log, ending }, about);
}
