/** The roles of a node, each started over the site's parts. Part of the wiring (`main.ts`). */
import { mkdir, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Command } from '../actors/protocol.ts';
import { systemClock, systemRandom } from './clock.ts';
import { readDkimKeys } from './config-dkim.ts';
import { startHost } from './host/host.ts';
import { createTell } from './host/tell.ts';
import { createBans } from './mail/bans.ts';
import { CLASSES } from './mail/chunk.ts';
import { isLarge, largeMax } from './mail/class-order.ts';
import { createDkim } from './mail/dkim.ts';
import { recognise } from './mail/dsn.ts';
import { MAIL_KINDS } from './mail/envelope.ts';
import { previewText, stopMime } from './mail/mime.ts';
import { createBounceLog } from './nats/bounces.ts';
import { decodeChunk, decodeDue } from './nats/codec.ts';
import { copiesByRoute } from './nats/delivery-record.ts';
import { remoteOutbox, serveOutbox } from './nats/inspect.ts';
import { mailsOf } from './nats/mail-message.ts';
import { type OutboxSource, ownOutbox } from './nats/outbox-view.ts';
import { adopt, dueQueue, mailboxQueue, mailQueue, outgoingQueues } from './nats/queue.ts';
import { type AskHandler, serveAsks } from './nats/serve-asks.ts';
import { openSiteClock } from './nats/site-clock.ts';
import { createSuspects } from './nats/suspects.ts';
import { openRouteSet } from './open-routes.ts';
import { deliveryIn, factsOf } from './operators.ts';
import { healthOf } from './ops/health.ts';
import { dispose as disposeIncoming, LOOP_LOG_EVERY_MS, parkAlone } from './runners/incoming.ts';
import { timely } from './runners/incoming-bounce.ts';
import { dispose as disposeLater } from './runners/later.ts';
import { createOutgoing } from './runners/outgoing.ts';
import { createRepeats } from './runners/repeats.ts';
import { type RunnerOptions, runRunner } from './runners/runner.ts';
import { createThrottle } from './runners/throttle.ts';
import { createTurns } from './runners/turns.ts';
import { startSenders, tellNode } from './senders.ts';
import type { Node, Site } from './site.ts';
import { pacedBounces } from './smtp/bounce-pace.ts';
import { startEdge } from './smtp/edge.ts';
import { EDGE_LIMITS } from './smtp/edge-limits.ts';
import { createResolver } from './smtp/recipients.ts';
import { openCaptured } from './store/captured.ts';
import { openJournal } from './store/journal.ts';
import { openEnv } from './store/open.ts';
import { openRows } from './store/rows.ts';
import { startWeb } from './web/server.ts';

/** Messages of mail, commands and due things that one process disposes of at once. */
const INCOMING_AT_ONCE = 32;
const LATER_AT_ONCE = 32;
/** How far a queue of small messages is pulled ahead. */
const AHEAD = 64;
/** Of those that share a message: some 1 ms of work. */
const MAILS_A_TURN = 8;
/** Of `MAIL` and `LATER`: a third and most of their ack_wait of 30 s. */
const RENEW_MS = 8_000;
const LOST_MS = 25_000;
const RUNNER_STOP_MS = 10_000;
const HOUR_MS = 3_600_000;
/** Of all routes; each has its own bound, and nothing is pulled while none has room. */
const CHUNKS_IN_HAND_MAX = 256;
/** Of outgoing's ack_wait: renewed after a quarter, given up as lost after five sixths (30 s and 100 s of 120 s). */
const RENEW_SHARE = 1 / 4;
const LOST_SHARE = 5 / 6;

export async function startHostRole(node: Node): Promise<void> {
  const { config, log, site, meter, parts, closers, fatal, membership, url, precedence } = node;
  const { nats, disk, data, ledger, later, outgoing, results, mail, parked } = site;
  const rows = await openRows(join(data, 'state'), { disk, log });
  closers.push(() => rows.close());
  const world = {
    node: config.node,
    web: url,
    clock: systemClock,
    ledger,
    rows,
    mailbox: (slot: number) => mailboxQueue(nats, slot),
    later,
    outgoing,
    results,
    bounces: site.bounces,
    suspects: createSuspects(site.suspects),
    secret: site.secrets.newest,
    bounceFold: await openBounceFold(node),
    bulkMembers: config.outgoing.bulkMembers,
    passiveMs: config.lists.passiveMs,
    mail,
    parked,
    publishDirectory: site.directory.publish,
    disk,
    log,
    meter,
    askOwner: site.asker.question,
    serveAsks: (slot: number, handler: AskHandler) => serveAsks(nats, [slot], handler),
    nextTick: (run: () => void) => void setImmediate(run),
    yields: precedence.yields,
  };
  const host = await startHost(world, membership, fatal);
  closers.push(() => host.stop());
  await host.settled();
  parts.host = host;
}

async function openBounceFold({ config, site, log, closers, idle }: Node) {
  const rows = await openRows(join(site.data, 'bounces'), { disk: site.disk, log });
  closers.push(() => rows.close());
  const { checkpointEvents, checkpointMs } = config.bounces;
  return {
    rows,
    log: createBounceLog(site.nats),
    copiesByRoute: copiesByRoute(site.nats),
    mailbox: site.mailbox,
    ...{ checkpointEvents, checkpointMs },
    ...{ idle: idle.yields, yieldsTo: idle.state },
  };
}

/** The loop's options that all runners share. */
function runnerOf({ log, meter, site }: Node) {
  const stopMs = RUNNER_STOP_MS;
  return {
    log,
    meter,
    clock: systemClock,
    park: site.parked.put,
    stopMs,
  } satisfies Partial<RunnerOptions>;
}

export async function startIncoming(node: Node): Promise<void> {
  const { config, site, mirror, closers, log, meter, precedence, idle, parts } = node;
  const { asker, mailbox } = site;
  const here = parts.host;
  const needs = {
    lists: mirror,
    findAtLeader: site.directory.find,
    isOurs: (domain: string) => config.domains.includes(domain),
    secrets: site.secrets,
    mailsOf: site.mail.mailsOf,
    read: site.mail.read,
    turn: createTurns(setImmediate, MAILS_A_TURN),
    mailbox: createTell({ here, asker, mailbox, clock: systemClock, log }),
    bounces: site.bounces,
    routeOf: timely(site.routeOf, systemClock),
    recognise,
    park: site.parked.put,
    mayLogLoop: createThrottle(systemClock, LOOP_LOG_EVERY_MS),
    log,
    meter,
  };
  const small = { renewMs: RENEW_MS, lostMs: LOST_MS };
  // One loop a kind, so that a flood of bounces takes nothing from posts or from mail to owners.
  for (const kind of MAIL_KINDS) {
    const isBounce = kind === 'bounce';
    // What came back is not sent on: it would only push posts out of what is kept near.
    const needsOf = isBounce ? { ...needs, mailsOf } : needs;
    const runner = runRunner({
      ...runnerOf(node),
      ...small,
      park: parkAlone(site.parked.put, mailsOf),
      name: 'incoming',
      queues: [{ queue: mailQueue(site.nats, kind), weight: 1 }],
      dispose: (delivery) => disposeIncoming(delivery, needsOf),
      concurrency: INCOMING_AT_ONCE,
      ahead: AHEAD,
      canPull: async (signal) => {
        await precedence.yields();
        if (isBounce) await idle.yieldsForQueue(signal);
      },
    });
    closers.push(() => runner.stop());
  }
  const later = runRunner({
    ...runnerOf(node),
    ...small,
    ahead: AHEAD,
    name: 'later',
    queues: [{ queue: dueQueue(site.nats), weight: 1 }],
    dispose: (delivery) =>
      disposeLater(delivery, {
        decode: decodeDue<Command>,
        outgoing: site.outgoing,
        mailbox: site.mailbox,
        meter,
      }),
    concurrency: LATER_AT_ONCE,
  });
  closers.push(() => later.stop());
}

export async function startOutgoing(node: Node): Promise<void> {
  const { config, site, log, meter, closers, parts, precedence } = node;
  const { nats, data, results, bounces, mail, secrets } = site;
  const dkim = createDkim(readDkimKeys(config.dkim), availableParallelism());
  closers.push(dkim.close);
  const clock = await openSiteClock(nats, systemClock, site.ending);
  const routes = await openRouteSet(node);
  const path = join(data, 'journal', 'chunks');
  const { journal, suspects, close } = await openJournal(path, { clock, log });
  closers.push(close);
  const { ackWaitMs, retryMsMax, weights } = config.outgoing;
  const repeats = createRepeats({ log, meter, tell: tellNode });
  const outgoing = createOutgoing({
    decode: decodeChunk,
    lend: routes.lend,
    expect: routes.expect,
    ...{ results, bounces, journal, secrets, dkim },
    later: site.laterBy(clock),
    read: mail.read,
    lifeMs: config.outgoing.lifeHours * HOUR_MS,
    repeats,
    clock,
    log,
    meter,
    retryMsMax,
  });
  const queues = outgoingQueues(nats);
  const runner = runRunner({
    ...runnerOf(node),
    name: 'outgoing',
    queues: CLASSES.map((cls) => ({
      ...{ queue: queues[cls], weight: weights[cls], isLarge: isLarge(cls) },
      whenRoom: (signal: AbortSignal) => routes.whenOpen(signal, cls),
    })),
    dispose: outgoing.dispose,
    concurrency: CHUNKS_IN_HAND_MAX,
    largeMax: largeMax(CHUNKS_IN_HAND_MAX, config.outgoing),
    ahead: 1,
    renewMs: ackWaitMs * RENEW_SHARE,
    lostMs: ackWaitMs * LOST_SHARE,
    canPull: precedence.yields,
    canRenew: nats.isConnected,
    onRenewed: outgoing.onRenewed,
    first: await outgoing.resume((token, bytes) => adopt(nats, token, bytes), ackWaitMs),
    suspects,
  });
  closers.push(() => runner.stop());
  parts.repeats = repeats.all;
  parts.inHandOf = (cls) => runner.inHandOf(queues[cls].name);
  await startSenders(node, repeats);
}

/** Opened before the web role, which shows it. */
export async function openCapture({ site, log, closers, parts }: Node): Promise<void> {
  const env = await openEnv(join(site.data, 'captured'), { disk: site.disk, log });
  const captured = openCaptured(env);
  closers.push(() => captured.close());
  const answers = serveOutbox(site.nats, captured);
  closers.push(() => answers.close());
  parts.captured = captured;
}

/** True while this node has posts or notices to send; who was refused before is waited for anyway. */
function sendingOf({ parts }: Node): () => boolean {
  const urgent = CLASSES.filter((cls) => cls !== 'retry');
  return () => urgent.some((cls) => (parts.inHandOf?.(cls) ?? 0) > 0);
}

/** Mail that is kept goes before work from queues, but for bounces while posts are being sent. */
function acceptOf({ site, precedence }: Node, isSending: () => boolean): Site['mail']['accept'] {
  return (raw, envelopes) => {
    const keep = () => site.mail.accept(raw, envelopes);
    const canWait = envelopes.every(({ kind }) => kind === 'bounce') && isSending();
    return canWait ? keep() : precedence.first(keep);
  };
}

export async function startEdgeRole(node: Node): Promise<void> {
  const { config, site, mirror, parts, log, meter, closers } = node;
  const spoolDir = join(site.data, 'spool');
  await mkdir(spoolDir, { recursive: true });
  const { smtp, lmtp, tls } = config;
  const isReady = () => site.nats.isConnected() && parts.host?.isDiskLow() !== true;
  const resolve = createResolver({
    mirror,
    leader: site.directory,
    secrets: site.secrets.all,
    isOurs: (domain) => config.domains.includes(domain),
    isReady,
    sizeMax: config.maxMessageBytes,
    clock: systemClock,
  });
  const options = {
    listen: config.listen,
    smtpPort: smtp.port,
    lmtp: lmtp.socket === undefined ? { port: lmtp.port } : { socket: lmtp.socket },
    name: config.hostname,
    spoolDir,
    limits: {
      ...EDGE_LIMITS,
      recipientsMax: smtp.recipients,
      connectionsMax: smtp.connections,
      connectionsPerAddressMax: smtp.connectionsPerAddress,
      sizeMax: config.maxMessageBytes,
    },
    trusted: config.trusted,
    proxies: smtp.proxies,
    xclient: smtp.xclient,
    tls: tls ? { key: await readFile(tls.key), cert: await readFile(tls.cert) } : null,
  };
  const isSending = sendingOf(node);
  const needs = {
    resolve: pacedBounces(resolve, isSending, { clock: systemClock, meter }),
    accept: acceptOf(node, isSending),
    ...{ isBanned: createBans(config.bans), closed: config.closed },
    ...{ isReady, clock: systemClock, random: systemRandom, meter, log },
  };
  if (config.closed !== null)
    log.warn({ closed: config.closed }, 'the site is closed: no mail is taken');
  const edge = await startEdge(options, needs);
  closers.push(() => edge.stop());
  parts.edge = edge;
}

/** Ours, or another node's; none where mail is sent to an MTA. */
function outboxOf({ config, site, parts }: Node): OutboxSource | null {
  if (parts.captured !== null) return ownOutbox(parts.captured);
  return config.routes.length === 0 ? remoteOutbox(site.nats) : null;
}

export async function startWebRole(node: Node): Promise<void> {
  const { config, site, mirror, parts, metrics, meter, log, closers } = node;
  const web = await startWeb(
    { listen: config.listen, port: config.http.port },
    {
      secrets: site.secrets.all,
      keysByPrefix: (prefix) => {
        const known = mirror.keysByPrefix(prefix);
        return known.length > 0 ? known : site.directory.keysByPrefix(prefix);
      },
      addressOf: (key) => mirror.byKey(key)?.address ?? null,
      asker: site.asker,
      meter,
      outbox: outboxOf(node),
      delivery: deliveryIn(node),
      preview: previewText,
      hosts: [new URL(config.http.url).hostname],
      health: () => healthOf(factsOf(node), systemClock.now()),
      metrics,
      log,
    },
  );
  closers.push(async () => {
    await web.stop();
    await stopMime();
  });
  parts.web = web;
}
