/**
 * Starts the real program over a simulated world: the node's membership, host and runners, wired as `src/roles.ts` wires them.
 */

import type { Command } from '../../actors/protocol.ts';
import { textOf } from '../../src/errors.ts';
import { type Host, startHost } from '../../src/host/host.ts';
import { joinSite, type Membership } from '../../src/host/membership.ts';
import { createTell } from '../../src/host/tell.ts';
import type { HostWorld } from '../../src/host/world.ts';
import type { Log } from '../../src/log.ts';
import { CLASSES } from '../../src/mail/chunk.ts';
import { BULK_MEMBERS, CLASS_ORDER, isLarge, largeMax } from '../../src/mail/class-order.ts';
import { recognise } from '../../src/mail/dsn.ts';
import { MAIL_KINDS } from '../../src/mail/envelope.ts';
import { NO_OWNER } from '../../src/nats/ask.ts';
import { decodeChunk, decodeDue } from '../../src/nats/codec.ts';
import { createDirectory } from '../../src/nats/directory.ts';
import { mailsOf } from '../../src/nats/mail-message.ts';
import { createSuspects } from '../../src/nats/suspects.ts';
import {
  dispose as disposeIncoming,
  LOOP_LOG_EVERY_MS,
  parkAlone,
} from '../../src/runners/incoming.ts';
import { dispose as disposeLater } from '../../src/runners/later.ts';
import { createOutgoing } from '../../src/runners/outgoing.ts';
import { createRepeats } from '../../src/runners/repeats.ts';
import { LIFE_MS } from '../../src/runners/retry-schedule.ts';
import { type RunnerOptions, type Running, runRunner } from '../../src/runners/runner.ts';
import { createThrottle } from '../../src/runners/throttle.ts';
import type { Delivery, MailStore, Queue } from '../../src/world.ts';
import { createFakeBounceLog } from '../support/fake/bounce-log.ts';
import { createFakeKv } from '../support/fake/kv.ts';
import { fakeRows } from '../support/fake/rows.ts';
import { openTestRoutes } from '../support/routes.ts';
import type { Bus } from './bus.ts';
import type { Chance } from './chance.ts';
import { type Disk, linkJournal, linkRows, linkSuspects } from './disk.ts';
import type { Life } from './life.ts';
import * as links from './links.ts';
import type { Mta } from './mta.ts';
import type { Mutate } from './mutants.ts';
import type { Timeline } from './timeline.ts';

export const DOMAIN = 'lists.example';
const SECRET = Buffer.alloc(32, 7);
const GIGABYTE = 1024 ** 3;
/** As `roles.ts` has them, but for how many at once. */
const OUTGOING_ACK_WAIT_MS = 120_000;
const AT_ONCE = 4;
const CONNECTIONS = 3;
const SMALL = { ahead: 16, renewMs: 8_000, lostMs: 25_000, concurrency: AT_ONCE };

/** What hears of all that a process does. */
export type Witness = links.LinkEvents & {
  /** The journal has it: a crash of the process cannot repeat it. */
  noted(life: Life, chunk: string, numbers: readonly number[]): void;
  answered(life: Life, ...args: Parameters<Parameters<HostWorld['serveAsks']>[1]>): Answered;
};
export type Answered = (
  reply: Awaited<ReturnType<Parameters<HostWorld['serveAsks']>[1]>>,
  leaseMsLeft: number,
) => void;

export type Surroundings = {
  readonly timeline: Timeline;
  readonly chance: Chance;
  readonly bus: Bus;
  readonly mta: Mta;
  readonly witness: Witness;
  /** Wraps seams in a deliberate bug, or leaves them as they are. */
  readonly mutate: Mutate;
};

export type Booted = {
  readonly host: Host;
  readonly membership: Membership;
  readonly accept: MailStore['accept'];
  readonly directory: ReturnType<typeof createDirectory>;
  /** Stops politely: runners, host, lease. */
  stop(): Promise<void>;
};

/** Rejects where the real start would; `fatal` ends the process. */
export async function boot(
  life: Life,
  disk: Disk,
  around: Surroundings,
  fatal: (error: unknown) => void,
): Promise<Booted> {
  const { bus, witness } = around;
  const ending = new AbortController();
  const parts = seamsOf(life, disk, around);
  const mirror = await parts.directory.mirror(ending.signal);
  mirror.ended.catch(fatal);
  const membership = await joinSite(
    {
      nodes: links.linkKv(life, 'nodes', bus.nodes),
      slots: links.linkKv(life, 'slots', bus.slots),
      clock: life.clock,
      log: parts.log,
      ending: ending.signal,
    },
    {
      ...{ node: life.node, incarnation: life.name, roles: ['host'], version: 'simulated' },
      ...{ pid: 1, startedAt: life.clock.now() },
    },
  );
  membership.ended.catch(fatal);
  const { serveAsks } = parts.world;
  const world: HostWorld = {
    ...parts.world,
    serveAsks: (slot, handler) =>
      serveAsks(slot, async (key, request) => {
        const answered = witness.answered(life, key, request);
        const reply = await handler(key, request);
        answered(reply, membership.lease.msLeft());
        return reply;
      }),
  };
  const host = await startHost(world, membership, fatal);
  const journal = linkJournal(life, disk, (name, numbers) => witness.noted(life, name, numbers));
  const runners = [
    ...startIncoming(life, parts, mirror, host, around),
    await startOutgoing(life, disk, parts, journal, around),
  ];
  return {
    host,
    membership,
    accept: parts.world.mail.accept,
    directory: parts.directory,
    async stop() {
      await Promise.all(runners.map((runner) => runner.stop()));
      await host.stop();
      await membership.stop();
      ending.abort();
    },
  };
}

type Parts = ReturnType<typeof seamsOf>;

function seamsOf(life: Life, disk: Disk, around: Surroundings) {
  const { bus, chance, timeline, witness, mutate } = around;
  const directory = createDirectory(links.linkKv(life, 'directory', bus.directory));
  const queue = (of: Bus['due']): Queue => links.linkQueue(life, of, timeline, witness);
  const log = logOf(life, timeline);
  const bounceLog = createFakeBounceLog();
  const world: HostWorld = {
    node: life.node,
    web: () => `https://${DOMAIN}`,
    clock: life.clock,
    ledger: mutate.ledger(links.linkLedger(life, bus), life),
    rows: mutate.rows(linkRows(life, disk, chance)),
    mailbox: (slot) => {
      const of = bus.mailboxes[slot];
      if (of === undefined) throw new RangeError(`no slot ${slot}`);
      return queue(of);
    },
    serveAsks: links.linkAsks(life, bus),
    askOwner: async () => ({ ok: false, error: NO_OWNER }),
    later: links.linkLater(life, bus),
    outgoing: links.linkOutgoing(life, bus),
    results: links.linkResults(life, bus),
    bounces: bounceLog,
    bounceFold: {
      ...{
        rows: fakeRows(),
        log: bounceLog,
        copiesByRoute: async () => null,
        mailbox: links.linkMailbox(life, bus),
      },
      ...{ checkpointEvents: 1_000, checkpointMs: 5_000 },
      ...{ idle: async () => undefined, yieldsTo: () => null },
    },
    suspects: createSuspects(createFakeKv()),
    secret: () => SECRET,
    bulkMembers: BULK_MEMBERS,
    passiveMs: 60_000,
    mail: links.linkMail(life, bus),
    parked: links.linkParked(life, bus),
    publishDirectory: directory.publish,
    disk: { freeBytes: async () => GIGABYTE },
    log,
    meter: { count: () => undefined, observe: () => undefined },
    yields: async () => {},
    nextTick: (run) => void life.later(0, '', run),
  };
  const results = mutate.results(links.linkResults(life, bus));
  return { directory, queue, log, world, results, mailbox: links.linkMailbox(life, bus) };
}

function common(
  life: Life,
  { log, world }: Parts,
): Pick<RunnerOptions, 'log' | 'meter' | 'clock' | 'park' | 'stopMs'> {
  return { log, meter: world.meter, clock: life.clock, park: world.parked.put, stopMs: 10_000 };
}

function startIncoming(
  life: Life,
  parts: Parts,
  mirror: Awaited<ReturnType<Parts['directory']['mirror']>>,
  here: Host,
  { bus, chance }: Surroundings,
): Running[] {
  const { directory, world, log, mailbox } = parts;
  const asker = links.linkAsker(life, bus, chance.branch(`asks of ${life.name}`));
  const needs = {
    lists: mirror,
    findAtLeader: directory.find,
    isOurs: (domain: string) => domain === DOMAIN,
    secrets: { all: () => [SECRET] },
    mailsOf,
    turn: async () => undefined,
    read: world.mail.read,
    mailbox: createTell({ here, asker, mailbox, clock: life.clock, log }),
    bounces: world.bounces,
    routeOf: async () => null,
    recognise,
    park: world.parked.put,
    mayLogLoop: createThrottle(life.clock, LOOP_LOG_EVERY_MS),
    log,
    meter: world.meter,
  };
  const incoming = runRunner({
    ...{ ...common(life, parts), ...SMALL, name: 'incoming' },
    park: parkAlone(world.parked.put, mailsOf),
    queues: MAIL_KINDS.map((kind) => ({ queue: parts.queue(bus.mails[kind]), weight: 1 })),
    dispose: (delivery) => disposeIncoming(delivery, needs),
  });
  const later = runRunner({
    ...{ ...common(life, parts), ...SMALL, name: 'later' },
    queues: [{ queue: parts.queue(bus.due), weight: 1 }],
    dispose: (delivery) =>
      disposeLater(delivery, {
        ...{ decode: decodeDue<Command>, outgoing: world.outgoing, mailbox, meter: world.meter },
      }),
  });
  return [incoming, later];
}

async function startOutgoing(
  life: Life,
  disk: Disk,
  parts: Parts,
  journal: ReturnType<typeof linkJournal>,
  { bus, mta, witness }: Surroundings,
): Promise<Running> {
  const { world, log, results } = parts;
  const { meter } = world;
  const smtp = mta.link(life);
  const routes = await openTestRoutes(smtp, life.clock, { log, connections: CONNECTIONS });
  const outgoing = createOutgoing({
    ...{
      decode: decodeChunk,
      lend: routes.lend,
      expect: routes.expect,
      results,
      later: world.later,
      journal,
    },
    ...{ bounces: links.linkBounces(life, bus), lifeMs: LIFE_MS },
    repeats: createRepeats({ log, meter }),
    ...{ read: world.mail.read, secrets: { newest: () => SECRET }, clock: life.clock, log, meter },
  });
  const adopt = (token: string, data: Uint8Array): Delivery => {
    const [name = '', ...rest] = token.split('/');
    const queue = Object.values(bus.outgoing).find((one) => one.name === name);
    const delivery = queue?.adopt(rest.join('/')) ?? goneDelivery(data);
    witness.given(name, delivery, life);
    return links.wired(life, name, delivery, witness);
  };
  return runRunner({
    ...{ ...common(life, parts), name: 'outgoing', concurrency: AT_ONCE, ahead: 1 },
    queues: CLASSES.map((cls) => ({
      queue: tokened(parts.queue(bus.outgoing[cls])),
      weight: CLASS_ORDER.weights[cls],
      isLarge: isLarge(cls),
      whenRoom: (signal: AbortSignal) => routes.whenOpen(signal, cls),
    })),
    largeMax: largeMax(AT_ONCE, CLASS_ORDER),
    dispose: outgoing.dispose,
    renewMs: OUTGOING_ACK_WAIT_MS / 4,
    lostMs: (OUTGOING_ACK_WAIT_MS * 5) / 6,
    canRenew: life.isConnected,
    onRenewed: outgoing.onRenewed,
    first: await outgoing.resume(adopt, OUTGOING_ACK_WAIT_MS),
    suspects: linkSuspects(life, disk),
  });
}

/** An ack token names its queue too. */
function tokened(queue: Queue): Queue {
  return {
    ...queue,
    async *take(ahead, signal) {
      for await (const delivery of queue.take(ahead, signal))
        yield { ...delivery, ackToken: `${queue.name}/${delivery.ackToken ?? ''}` };
    },
  };
}

/** What an ack token names may have been acked by now. */
const goneDelivery = (data: Uint8Array): Delivery => ({
  ...{ subject: 'troupe.outgoing.post', seq: 0, deliveries: 1, storedAt: 0, data },
  ...{ header: () => '', ack() {}, working() {}, giveBack() {} },
});

function logOf(life: Life, timeline: Timeline): Log {
  const write =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>, text: string): void => {
      const { err, ...rest } = fields;
      const why = err === undefined ? '' : ` (${textOf(err)})`;
      if (life.isAlive())
        timeline.note(`${life.name} ${level}: ${text}${why} ${JSON.stringify(rest)}`);
    };
  const quiet = (): void => undefined;
  const [warn, error, fatal] = [write('warn'), write('error'), write('fatal')];
  const log: Log = { debug: quiet, info: quiet, warn, error, fatal, child: () => log };
  return log;
}
