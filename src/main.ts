/**
 * Wires the program, with `site.ts` and `roles.ts`: these three alone know every part. Starts the roles it is given in the order
 * in which they need each other, and stops them the other way round: edge, runners, actors, web, and NATS last.
 */
import { join } from 'node:path';
import { systemClock, systemRandom } from './clock.ts';
import type { Config, Role } from './config.ts';
import { within } from './ending.ts';
import { textOf } from './errors.ts';
import { joinSite, type Membership } from './host/membership.ts';
import { type Rebuilt, rebuild as rebuildRows } from './host/rebuild.ts';
import { createLoad } from './load.ts';
import { createLog, type Log } from './log.ts';
import { backlogOf } from './nats/backlog.ts';
import { keepStreams } from './nats/keep.ts';
import { startInspection, VERSION } from './operators.ts';
import { gather } from './ops/gather.ts';
import { createMetrics } from './ops/metrics.ts';
import { makeSample, SAMPLE_LIST } from './ops/sample.ts';
import { removeSiteNote, writeSiteNote } from './ops/site-note.ts';
import { welcome } from './ops/welcome.ts';
import {
  openCapture,
  startEdgeRole,
  startHostRole,
  startIncoming,
  startOutgoing,
  startWebRole,
} from './roles.ts';
import { createIdle } from './runners/idle.ts';
import { createPrecedence } from './runners/precedence.ts';
import { type Closers, type Node, openSiteParts, type Parts } from './site.ts';
import { routeViews } from './smtp/route-view.ts';
import { openRows } from './store/rows.ts';
import { openWaitingPage, type Web } from './web/server.ts';

export { lookAtRows } from './store/look.ts';

const INCARNATION_BYTES = 8;
/** A start that takes longer says so; it is not ready meanwhile. */
const SLOW_START_MS = 5_000;
/** Told to stop, a start has so long to give up by itself. */
const START_GIVES_UP_MS = 5_000;

/**
 * The order of starting. Web first, since mail names the port it listens on; the edge last, since nothing may come in before
 * there is somebody to take it.
 */
const ROLES_IN_ORDER: readonly (readonly [Role, (node: Node) => Promise<void>])[] = [
  ['web', startWebRole],
  ['host', startHostRole],
  ['outgoing', startOutgoing],
  ['incoming', startIncoming],
  ['edge', startEdgeRole],
];

/** Runs a node until SIGTERM or SIGINT. Throws OperatorError when it cannot start; whatever had started is stopped again. */
export async function serve(config: Config): Promise<void> {
  const log = createLog(config.log.level, { node: config.node });
  const closers: Closers = [];
  const ended = Promise.withResolvers<unknown>();
  const stopped = new Promise<void>((resolve) => {
    // Stays for good: a second signal (a process group's, an impatient hand) must not cut the ordered stop short.
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve());
    process.on('disconnect', () => resolve()); // Of a sender (senders.ts): its parent is gone.
    process.channel?.unref();
  });
  try {
    const stopping = new AbortController();
    void stopped.then(() => stopping.abort());
    const fatal = (error: unknown) => ended.resolve(error);
    const starting = start(config, log, closers, fatal, stopping.signal).catch((error: unknown) => {
      if (!stopping.signal.aborted) throw error; // It was waiting for NATS when it was told to stop.
    });
    const failure = await Promise.race([
      starting.then(() => Promise.race([stopped, ended.promise])),
      stopped.then(() => within(systemClock, START_GIVES_UP_MS, starting)),
      ended.promise,
    ]);
    if (failure !== undefined) {
      log.fatal({ err: failure }, 'cannot go on');
      process.exitCode = 1;
    }
    log.info({}, 'stopping');
  } finally {
    for (const close of closers.reverse()) {
      await attempt(close).catch((error) => log.warn({ err: error }, 'while stopping'));
    }
  }
  log.info({}, 'stopped');
}

/** Folds everything anew from the ledger (`troupe doctor --rebuild`); the node must not be running. */
export async function rebuild(config: Config): Promise<Rebuilt> {
  const log = createLog(config.log.level, { node: config.node });
  const closers: Closers = [];
  try {
    const { signal } = new AbortController();
    const { nats, ledger, data, disk } = await openSiteParts(config, log, closers, { signal });
    const rows = await openRows(join(data, 'state'), { disk, log });
    closers.push(() => rows.close());
    const result = await rebuildRows(
      { rows, ledger, clock: systemClock, nextTick: setImmediate },
      (records, seq) => process.stderr.write(`folded ${records} records, at ${seq}\n`),
    );
    log.info({ ...result, connected: nats.isConnected() }, 'rebuilt');
    return result;
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

/** A close that throws at once must not keep the others from running. */
async function attempt(close: Closers[number]): Promise<void> {
  await close();
}

async function start(
  config: Config,
  log: Log,
  closers: Closers,
  fatal: (error: unknown) => void,
  stopping: AbortSignal,
): Promise<void> {
  const waiting = waitingPage(config, log);
  closers.push(waiting.stop);
  const patience = { signal: stopping, whileWaiting: waiting.start };
  const site = await openSiteParts(config, log, closers, patience);
  const mirror = await site.directory.mirror(site.ending);
  mirror.ended.catch(fatal);
  const isFirst = mirror.size === 0;
  const node = await assemble({ config, log, site, mirror, closers, fatal });
  await waiting.stop();
  await startRoles(node);
  if (isFirst && wantsSample(config)) await makeSample(site.directory, site.asker, systemRandom);
  await announce(node);
}

type Ground = Pick<Node, 'config' | 'log' | 'site' | 'mirror' | 'closers' | 'fatal'>;

/** A node without its roles: known to the others, and with what its parts share. */
async function assemble(ground: Ground): Promise<Node> {
  const { config, log, site, mirror, closers, fatal } = ground;
  const parts: Parts = {
    ...{ host: null, edge: null, web: null, captured: null, routes: null },
    ...{ inHandOf: null, repeats: null },
    ...{ isStopping: false, rolesUp: [] },
  };
  const clock = systemClock;
  const metrics = createMetrics({
    clock,
    gather: () => {
      const inFlight = parts.edge?.inFlight() ?? null;
      const routes = parts.routes === null ? [] : routeViews(parts.routes);
      return gather(site.nats, parts.host?.status() ?? null, inFlight, mirror.size, routes);
    },
  });
  const startedAt = clock.now();
  const membership = await joinNodes(ground, startedAt);
  membership.ended.catch(fatal);
  closers.push(() => membership.stop());
  // One server syncs all it does in order; copies of one another do not (decision 0011).
  if (site.nats.server.cluster !== undefined) {
    const isOurs = () => membership.ranked(0)[0] === membership.node;
    void keepStreams({ nats: site.nats, clock, log, isOurs }, site.ending);
  }
  const { maxAgeMs } = config.bounces;
  return {
    ...{ config, log, site, mirror, parts, metrics, startedAt, membership, closers, fatal },
    meter: metrics.meter,
    precedence: createPrecedence({ clock, isBusy: createLoad().isBusy }),
    idle: createIdle({ clock, backlog: () => backlogOf(site.nats), maxAgeMs }),
    url: () => {
      const { listen, http } = config;
      // Only a URL that nobody configured ends so: the port was not known then.
      return http.url.endsWith(':0') ? `http://${listen}:${parts.web?.port ?? 0}` : http.url;
    },
  };
}

/** Takes this node's lease, in an incarnation of its own. */
function joinNodes({ config, site, log }: Ground, startedAt: number): Promise<Membership> {
  return joinSite(
    { nodes: site.nodes, slots: site.slots, clock: systemClock, log, ending: site.ending },
    {
      node: config.node,
      incarnation: Buffer.from(systemRandom.bytes(INCARNATION_BYTES)).toString('hex'),
      roles: config.roles,
      version: VERSION,
      pid: process.pid,
      startedAt,
    },
  );
}

/** In their order; pushed last, and so done first at the end: it is said that the node stops. */
async function startRoles(node: Node): Promise<void> {
  const { config, parts, closers } = node;
  if (config.routes.length === 0 && config.roles.includes('outgoing')) await openCapture(node);
  await startInspection(node);
  for (const [role, startRole] of ROLES_IN_ORDER) {
    if (!config.roles.includes(role)) continue;
    await startRole(node);
    parts.rolesUp.push(role);
  }
  closers.push(() => {
    parts.isStopping = true;
  });
}

/** A newcomer's machine: everything as it comes. */
const wantsSample = ({ nats, routes, roles, domains }: Config): boolean =>
  nats.url === undefined &&
  routes.length === 0 &&
  roles.includes('host') &&
  domains.includes('lists.localhost');

/** The web role's answers until it starts, from when it is clear that this takes long; none where nobody can know its port. */
function waitingPage({ roles, listen, http }: Config, log: Log) {
  const isWanted = roles.includes('web') && http.port !== 0;
  let page: Promise<Web> | null = null;
  const start = async (): Promise<void> => {
    page ??= isWanted ? openWaitingPage({ listen, port: http.port }) : null;
    await page;
  };
  const ending = new AbortController();
  void systemClock.sleep(SLOW_START_MS, ending.signal).then(() => {
    if (ending.signal.aborted) return;
    log.warn({}, 'still starting: NATS has not answered all that was asked');
    start().catch((error: unknown) => log.warn({ error: textOf(error) }, 'no page meanwhile'));
  });
  return {
    start,
    stop: async (): Promise<void> => {
      ending.abort();
      await (await page)?.stop();
    },
  };
}

/** Says where it listens: to tools by `site.json`, to people by what to try next. */
async function announce({ config, site, mirror, parts, closers, url, log }: Node): Promise<void> {
  const note = {
    pid: process.pid,
    node: config.node,
    smtpPort: parts.edge?.smtpPort ?? null,
    lmtpPort: parts.edge?.lmtpPort ?? null,
    lmtpSocket: parts.edge === null ? null : (config.lmtp.socket ?? null),
    httpPort: parts.web?.port ?? null,
    httpUrl: url(),
  };
  await writeSiteNote(site.data, note);
  closers.push(() => removeSiteNote(site.data));
  const { node: _, ...where } = note;
  log.info(where, 'ready');
  const hasSample = [...mirror.all()].some(({ address }) => address === SAMPLE_LIST);
  const isCaptured = parts.routes?.all().some(({ live }) => live.settings.url === '') === true;
  process.stdout.write(welcome(note, hasSample, isCaptured));
}
