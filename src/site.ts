/** What every role stands on: the data directory, NATS with its streams, the directory of lists. Part of the wiring (`main.ts`). */
import type { Command } from '../actors/protocol.ts';
import { systemClock, systemRandom } from './clock.ts';
import type { Config, Role } from './config.ts';
import { claimForSite, openDataDirectory } from './data-directory.ts';
import { createDisk } from './disk.ts';
import { watchFullDisk } from './full-disk.ts';
import type { Host } from './host/host.ts';
import type { Membership } from './host/membership.ts';
import type { Log } from './log.ts';
import type { Class } from './mail/chunk.ts';
import { createAsker } from './nats/ask.ts';
import { type Child, startChild } from './nats/child.ts';
import { connect, type Nats } from './nats/connect.ts';
import { routesOf } from './nats/copy-routes.ts';
import { createDirectory } from './nats/directory.ts';
import { ensureStreams } from './nats/ensure.ts';
import { openKv } from './nats/kv.ts';
import { createLater } from './nats/later.ts';
import { onceLed, type Patience } from './nats/leaders.ts';
import { createLedger } from './nats/ledger.ts';
import { createMailStore } from './nats/mail-store.ts';
import { bouncesOut, mailboxOut, outgoingOut, parkedOut, resultsOf } from './nats/outlets.ts';
import { createPublisher } from './nats/publisher.ts';
import { openSecrets } from './nats/secrets.ts';
import { openSite } from './nats/site-row.ts';
import { tryServer } from './nats/trial.ts';
import type { Metrics } from './ops/metrics.ts';
import type { Idle } from './runners/idle.ts';
import type { Precedence } from './runners/precedence.ts';
import type { Repeats } from './runners/repeats.ts';
import type { Edge } from './smtp/edge.ts';
import type { Routes } from './smtp/routes.ts';
import type { CapturedStore } from './store/captured.ts';
import type { Web } from './web/server.ts';
import type { Clock, Meter } from './world.ts';

export type Site = Awaited<ReturnType<typeof openSiteParts>>;
/** What is to be undone, newest first. */
export type Closers = (() => void | Promise<void>)[];

/** Of an external server's disk we know nothing; this share of ours is what an embedded one would take. */
const DISK_SHARE = 0.6;
/** How long one look for a leader of JetStream takes; `onceLed` looks again. */
const LEADER_LOOK_MS = 2_000;

/**
 * What every role stands on: the data directory, NATS, the streams, the directory of lists. Waits
 * for servers that have no leader yet.
 */
export async function openSiteParts(
  config: Config,
  log: Log,
  closers: Closers,
  waiting: Pick<Patience, 'signal' | 'whileWaiting'>,
) {
  const directoryOfData = await openDataDirectory(config.data);
  closers.push(() => directoryOfData.release());
  const data = directoryOfData.path;
  const patience = { clock: systemClock, log, ...waiting };
  const { nats, login, child } = await openNats(config, data, patience, closers);
  const publisher = createPublisher(nats);
  closers.push(() => publisher.close());
  const ending = new AbortController();
  closers.push(() => ending.abort());
  const buckets = await onceLed(() => openBuckets(nats, ending.signal), patience);
  const { clusterId, directory, ...opened } = buckets;
  await claimForSite(data, clusterId);
  const disk = createDisk(data);
  const { silent } = publisher;
  const laterBy = (clock: Clock) => createLater<Command>(nats, publisher, clock);
  const asker = createAsker(nats);
  void watchFullDisk({ silent, child, disk, clock: systemClock, log }, ending.signal);
  return {
    ...opened,
    data,
    nats,
    /** What another process of this node connects with. */
    login,
    directory: createDirectory(directory),
    ending: ending.signal,
    disk,
    silent,
    ledger: createLedger(nats, publisher),
    mail: createMailStore(nats, publisher),
    mailbox: mailboxOut<Command>(publisher),
    outgoing: outgoingOut(publisher),
    bounces: bouncesOut(nats, publisher),
    later: laterBy(systemClock),
    /** For times that are another clock's. */
    laterBy,
    parked: parkedOut(nats, publisher),
    results: resultsOf(nats, publisher),
    asker,
    routeOf: routesOf(nats, asker, systemClock),
  };
}

async function openBuckets(nats: Nats, ending: AbortSignal) {
  const rows = await openKv(nats, 'troupe_site');
  const { clusterId } = await openSite(rows, systemRandom);
  return {
    clusterId,
    directory: await openKv(nats, 'troupe_directory'),
    nodes: await openKv(nats, 'troupe_nodes'),
    slots: await openKv(nats, 'troupe_slots'),
    suspects: await openKv(nats, 'troupe_suspects'),
    /** The bucket `troupe_site`. */
    rows,
    // Last: it is followed from then on.
    secrets: await openSecrets(rows, systemRandom, ending),
  };
}

async function openNats(
  config: Config,
  data: string,
  patience: Patience,
  closers: Closers,
): Promise<{ nats: Nats; login: Config['nats']; child: Child | null }> {
  const { log } = patience;
  const { url, user, password, server, storage, port } = config.nats;
  const given = {
    ...(user !== undefined && { user }),
    ...(password !== undefined && { password }),
  };
  let target = { url: url ?? '', ...given };
  let maxFileStore = storage;
  let child: Child | null = null;
  if (url === undefined) {
    const started = await startChild({
      data,
      log,
      durability: config.durability,
      ...(server !== undefined && { binary: server }),
      ...(storage !== undefined && { storage }),
      ...(port !== undefined && { port }),
    });
    closers.push(() => started.stop());
    target = { url: started.url, user: started.user, password: started.password };
    maxFileStore = started.maxFileStore;
    child = started;
  }
  const { durability } = config;
  const name = `troupe ${config.node}`;
  const options = { ...target, name, log, durability, leaderMs: LEADER_LOOK_MS };
  const nats = await onceLed(() => connect(options), patience);
  closers.push(() => nats.close());
  const isCluster = nats.server.cluster !== undefined;
  if (durability === 'relaxed') {
    log.warn({}, 'durability is RELAXED: a power cut can lose mail that was answered with 250');
  }
  await ensureStreams(nats, {
    ...patience,
    replicas: isCluster ? 3 : 1,
    maxFileStore: maxFileStore ?? (await shareOfDisk(data)),
    outgoingAckWaitMs: config.outgoing.ackWaitMs,
  });
  await tryServer({ nats, clock: systemClock, log });
  const login = { ...target, ...(maxFileStore && { storage: maxFileStore }) };
  return { nats, login, child };
}

/** An external server says nothing of its disk; as much as an embedded one would take of ours. */
async function shareOfDisk(data: string): Promise<number> {
  return Math.floor((await createDisk(data).freeBytes()) * DISK_SHARE);
}

/** What the roles of this node know of each other: only that they are there. */
export type Parts = {
  host: Host | null;
  edge: Edge | null;
  web: Web | null;
  captured: CapturedStore | null;
  routes: Routes | null;
  /** Chunks of a class in hand; null on a node that sends nothing. */
  inHandOf: ((cls: Class) => number) | null;
  /** What this node and its senders may have sent twice because it came again. */
  repeats: Repeats['all'] | null;
  isStopping: boolean;
  readonly rolesUp: Role[];
};

export type Node = {
  readonly config: Config;
  readonly log: Log;
  readonly site: Site;
  readonly mirror: Awaited<ReturnType<Site['directory']['mirror']>>;
  readonly parts: Parts;
  readonly metrics: Metrics;
  readonly meter: Meter;
  readonly startedAt: number;
  readonly membership: Membership;
  readonly precedence: Precedence;
  /** When bounces may be worked on. */
  readonly idle: Idle;
  readonly closers: Closers;
  readonly fatal: (error: unknown) => void;
  /** `http.url`, or where the web role listens if the system picked its port. */
  url(): string;
};
