/** What `troupe doctor` looks at in NATS: servers, streams and their copies, durables, what is parked. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Config } from '../config.ts';
import { textOf } from '../errors.ts';
import { consumerStates, type Drift, type StreamState, streamStates } from '../nats/depths.ts';
import { openKv } from '../nats/kv.ts';
import { parkedCounts } from '../nats/parked.ts';
import { type SeenServer, type SeenSync, seenServers, syncAt } from '../nats/servers.ts';
import { readSite } from '../nats/site-row.ts';
import { SCHEMA } from '../nats/streams.ts';
import { checkVersion } from '../nats/version-gate.ts';
import { type Check, fail, guarded, ok, warn } from './checks.ts';
import { bytesText } from './print.ts';
import type { Site } from './site.ts';

/** A stream this full is told: at 100 % it refuses mail, or drops its oldest. */
const FULL_PART = 0.8;
const REPLICAS = 3;
const CONF = join(resolve(import.meta.dirname, '..', '..'), 'nats.conf');

export async function natsChecks(site: Site, config: Config): Promise<readonly Check[]> {
  const checks = await Promise.all([
    guarded('servers', () => servers(site, config)),
    guarded('sync', () => sync(config)),
    guarded('schema', async () => [await schema(site)]),
    guarded('streams', () => streams(site)),
    guarded('consumers', () => consumers(site, config)),
    guarded('parked', async () => [await parked(site)]),
  ]);
  return checks.flat();
}

async function servers({ nats }: Site, config: Config): Promise<readonly Check[]> {
  const seen = await seenServers(nats, config.nats.url ?? '');
  return seen.map((server) => versionOf(server, config.durability));
}

function versionOf({ at, name, version, cluster }: SeenServer, durability: Config['durability']) {
  if (version === null) return fail('servers', `nobody answers at ${at}: start that nats-server`);
  const where = cluster === null ? 'alone' : `in cluster ${cluster}`;
  const text = `nats-server ${version} ${name} at ${at}, ${where}`;
  try {
    checkVersion(version, { durability, isCluster: cluster !== null });
    return ok('servers', text);
  } catch (error) {
    return fail('servers', `${text}: ${textOf(error)}`);
  }
}

/** A server tells its monitoring port, not its clients, when it syncs; the embedded one runs with our nats.conf. */
async function sync({ nats: { url, monitor } }: Config): Promise<readonly Check[]> {
  if (url !== undefined && monitor === undefined) return [warn('sync', NOT_SEEN)];
  if (monitor !== undefined) {
    const urls = monitor.split(',').map((one) => one.trim());
    return Promise.all(urls.map(async (one) => syncOf(one, await syncAt(one))));
  }
  const isAlways = /^\s*sync_interval:\s*always\s*$/m.test(await readFile(CONF, 'utf8'));
  return [
    isAlways
      ? ok('sync', 'the embedded server syncs each message before it acknowledges it')
      : fail('sync', `${CONF} lacks \`sync_interval: always\`: a power cut loses mail; restore it`),
  ];
}

const NOT_SEEN =
  'not seen: NATS does not tell its clients when it syncs; set `http` in each server’s nats.conf ' +
  'and `nats.monitor` here, or see that `curl http://HOST:8222/varz` has "sync_always": true at each';

export function syncOf(at: string, seen: SeenSync | null): Check {
  if (seen === null) {
    return warn('sync', `not seen: nothing says at ${at} when its server syncs; see its \`http\``);
  }
  return seen.isAlways
    ? ok('sync', `${seen.name} syncs each message before it acknowledges it`)
    : fail('sync', `${seen.name} lacks \`sync_interval: always\`: a power cut loses mail; set it`);
}

/** Which version of Troupe stated the settings that the streams have. */
async function schema({ nats }: Site): Promise<Check> {
  const found = await readSite(await openKv(nats, 'troupe_site'));
  if (found === null) return warn('schema', 'this site has no row yet: start a node');
  const { schema: is } = found.site;
  return is === SCHEMA
    ? ok('schema', `streams and rows are of version ${is}`)
    : warn('schema', `the streams are of version ${is}, not ${SCHEMA}: restart the nodes`);
}

async function streams({ nats }: Site): Promise<readonly Check[]> {
  const { streams: all, drift } = await streamStates(nats);
  const isCluster = nats.server.cluster !== undefined;
  const bytes = all.reduce((sum, stream) => sum + stream.bytes, 0);
  return [
    ok('streams', `${all.length} present, ${bytesText(bytes)}`),
    ...drift.map(driftCheck),
    ...all.flatMap((stream) => healthOf(stream, isCluster)),
  ];
}

function driftCheck({ stream, consumer, setting, stated, is }: Drift): Check {
  const what = consumer === undefined ? 'streams' : 'consumers';
  const name = consumer === undefined ? stream : `${stream} ${consumer}`;
  return is === undefined && setting === 'stream'
    ? fail(what, `${name} is missing: restart a node, which makes it`)
    : warn(what, `${name}: ${setting} is ${JSON.stringify(is)}, not ${JSON.stringify(stated)}`);
}

/** What ails one stream: no room, no leader, too few copies, a copy that lags. */
export function healthOf(stream: StreamState, isCluster: boolean): readonly Check[] {
  const { name, bytes, bytesMax, replicas, leader, sick } = stream;
  const checks: Check[] = [];
  if (bytesMax > 0 && bytes > FULL_PART * bytesMax) {
    const percent = Math.floor((100 * bytes) / bytesMax);
    checks.push(warn('streams', `${name} is ${percent} % full (${bytesText(bytesMax)})`));
  }
  if (leader === null) {
    checks.push(fail('streams', `${name} has no leader: see that most nats-servers run`));
  }
  if (isCluster && replicas < REPLICAS) {
    const text = `${name} has ${replicas} of ${REPLICAS} copies`;
    checks.push(warn('streams', `${text}: nats stream edit ${name} --replicas ${REPLICAS}`));
  }
  if (sick.length > 0) {
    checks.push(warn('streams', `${name}: the copies on ${sick.join(', ')} are offline or behind`));
  }
  return checks;
}

async function consumers({ nats }: Site, config: Config): Promise<readonly Check[]> {
  const { ackWaitMs: outgoingAckWaitMs } = config.outgoing;
  const { full, drift } = await consumerStates(nats, { outgoingAckWaitMs });
  const told = [
    ...drift.map(driftCheck),
    ...full.map(({ stream, consumer, inHand }) =>
      warn(
        'consumers',
        `${stream} ${consumer} is at its limit, ${inHand} in hand: its runners are too slow or hang; see their log`,
      ),
    ),
  ];
  return told.length > 0 ? told : [ok('consumers', 'none is at its limit')];
}

async function parked({ nats }: Site): Promise<Check> {
  const counts = [...(await parkedCounts(nats))];
  if (counts.length === 0) return ok('parked', 'nothing');
  const text = counts.map(([where, count]) => `${count} by ${where}`).join(', ');
  return warn('parked', `${text}: see troupe queue ls --parked`);
}
