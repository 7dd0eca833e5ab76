/** The outgoing runner with a world in memory around it, over a route of the test's choice. */
import { silentLog } from '../../src/log.ts';
import type { Address } from '../../src/mail/address.ts';
import type { Bounce } from '../../src/mail/bounce-event.ts';
import { type Chunk, chunkName, type PostOrder, type Result } from '../../src/mail/chunk.ts';
import type { Dkim } from '../../src/mail/dkim.ts';
import { listKeyOf } from '../../src/mail/list-key.ts';
import { decodeChunk, encodeChunk } from '../../src/nats/codec.ts';
import { createOutgoing, type Outgoing } from '../../src/runners/outgoing.ts';
import { createRepeats } from '../../src/runners/repeats.ts';
import { LIFE_MS } from '../../src/runners/retry-schedule.ts';
import type { Disposal, Hand } from '../../src/runners/runner.ts';
import type { Routes } from '../../src/smtp/routes.ts';
import type { Clock, Delivery, Journal, Lent, Route } from '../../src/world.ts';
import { aChunk } from './chunk.ts';

export const OURS: Hand = { state: () => 'ours' };
export const RAW = Buffer.from(
  'From: a@x.example\r\nMessage-ID: <1@x.example>\r\nSubject: hello\r\n\r\nThe body.\r\n',
);
/** When the fake clock starts. */
const STARTED_AT = Date.UTC(2026, 0, 1);
const SECRET = Buffer.alloc(32, 1);

export function chunkOf(members: number, change: Partial<Chunk> = {}, firstAt = STARTED_AT): Chunk {
  return aChunk({
    key: listKeyOf(new Uint8Array(26).fill(3)),
    post: '7',
    // Numbers have gaps: members leave.
    to: Array.from({ length: members }, (_, n) => [3 * n + 1, `m${n}@x.example` as Address]),
    firstAt,
    ...change,
  });
}

/** The address of the recipient with this index. */
export const member = (index: number): string => `m${index}@x.example`;

export type Told = { readonly name: string; readonly result: Result };
export type Waiting = { readonly id: string; readonly at: number; readonly chunk: Chunk };

export type OutgoingStory = {
  readonly outgoing: Outgoing;
  /** Every result, in order. */
  readonly told: Told[];
  readonly later: Map<string, Waiting>;
  readonly bounces: Bounce[];
  /** What is said of all posts now. */
  readonly order: { now: PostOrder };
  readonly reads: { count: number };
  /** While set, the step throws it: `tell`, `last`, `later`, `read`. */
  readonly failing: Map<string, Error>;
  result(chunk: Chunk): Result | null;
  dispose(chunk: Chunk, hand?: Hand, ackToken?: string): Promise<Disposal>;
  repeated(): { readonly chunks: number; readonly recipients: number };
};

export function outgoingStory(needs: {
  /** One route for all that is sent; or routes to choose from. */
  readonly route: Route | null | Pick<Routes, 'lend'>;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly raw?: Uint8Array | null;
  readonly before?: OutgoingStory;
  readonly dkim?: Pick<Dkim, 'prepare'>;
}): OutgoingStory {
  const told = needs.before?.told ?? [];
  const later = needs.before?.later ?? new Map<string, Waiting>();
  const failing = new Map<string, Error>();
  const bounces: Bounce[] = [];
  const order: { now: PostOrder } = { now: 'go' };
  const reads = { count: 0 };
  const lastOf = (name: string): Result | null =>
    told.findLast((one) => one.name === name)?.result ?? null;
  const step = async (name: string): Promise<void> => {
    await Promise.resolve();
    const error = failing.get(name);
    if (error !== undefined) throw error;
  };
  const meter = { count: () => undefined, observe: () => undefined };
  const repeats = createRepeats({ log: silentLog, meter });
  const outgoing = createOutgoing({
    decode: decodeChunk,
    lend: (chunk, tried) => lentBy(needs.route, chunk, tried),
    expect: () => () => undefined,
    results: {
      async last(id) {
        await step('last');
        return lastOf(chunkName(id));
      },
      async isUntold() {
        await step('last');
        return told.length === 0 && order.now === 'go';
      },
      async tell(id, result) {
        await step('tell');
        told.push({ name: chunkName(id), result });
      },
      async orderOf() {
        await step('order');
        return order.now;
      },
      async order() {},
    },
    bounces: {
      async put(_, event) {
        await step('bounce');
        if (event.type === 'bounce') bounces.push(event);
      },
    },
    later: {
      async put(id, at, { chunk }) {
        await step('later');
        later.set(id, { id, at, chunk });
      },
    },
    journal: needs.journal,
    async read() {
      reads.count += 1;
      await step('read');
      return needs.raw === undefined ? RAW : needs.raw;
    },
    secrets: { newest: () => SECRET },
    ...(needs.dkim && { dkim: needs.dkim }),
    ...{ lifeMs: LIFE_MS, clock: needs.clock, log: silentLog, meter, repeats },
  });
  return {
    ...{ outgoing, told, later, bounces, order, reads, failing },
    result: (chunk) => lastOf(chunkName(chunk)),
    repeated: repeats.all,
    dispose: (chunk, hand = OURS, ackToken = 'token') =>
      outgoing.dispose(deliveryOf(encodeChunk(chunk), ackToken), hand),
  };
}

/** Of one route each chunk is lent a place once. */
async function lentBy(
  route: Route | null | Pick<Routes, 'lend'>,
  chunk: Chunk,
  tried: readonly string[],
): Promise<Lent | null> {
  if (route !== null && 'lend' in route) return route.lend(chunk, tried);
  if (route === null || tried.includes(route.name)) return null;
  return { route, giveBack: () => undefined };
}

export function deliveryOf(data: Uint8Array, ackToken: string): Delivery {
  return {
    ...{ subject: 'troupe.outgoing.post', seq: 1, deliveries: 1, storedAt: 0, data, ackToken },
    ...{ header: () => '', ack() {}, working() {}, giveBack() {} },
  };
}
