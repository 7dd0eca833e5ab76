/**
 * Makes what `streams.ts` states: what is missing is made, what an earlier version stated otherwise
 * is changed (`upgrade.ts`), and the rest is left alone. A setting that an operator changed is
 * reported as drift and never changed back.
 */
import { systemClock } from '../clock.ts';
import { OperatorError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Nats } from './connect.ts';
import { consumerStates, type Drift, streamStates } from './depths.ts';
import { openKv } from './kv.ts';
import { onceLed, type Patience } from './leaders.ts';
import { readSite } from './site-row.ts';
import { type ApiError, apiRequest, failure, listed } from './stored.ts';
import {
  bucketStream,
  CHANGES,
  type ConsumerConfig,
  consumerConfigs,
  OUTGOING_ACK_WAIT_MS,
  SCHEMA,
  type StreamConfig,
  type StreamName,
  type StreamOptions,
  streamConfigs,
} from './streams.ts';
import { upgradeSite } from './upgrade.ts';

export type EnsureOptions = StreamOptions & { readonly log: Log } & Partial<
    Pick<Patience, 'clock' | 'signal' | 'whileWaiting'>
  >;

/** The account's or the server's storage is all used or reserved (server/errors.json). */
const NO_STORAGE = [10_002, 10_023, 10_028, 10_047];

const NEVER = new AbortController().signal;

/**
 * Makes what is missing, at once; changes what an earlier version made otherwise; says what differs.
 * Waits for servers that have no leader yet. Throws OperatorError when the server cannot keep it, or
 * the site is of a later version.
 */
export function ensureStreams(nats: Nats, options: EnsureOptions): Promise<void> {
  const patience = { clock: systemClock, signal: NEVER, ...options };
  return onceLed(() => ensureOnce(nats, options, patience), patience);
}

async function ensureOnce(nats: Nats, options: EnsureOptions, patience: Patience): Promise<void> {
  const { log } = options;
  const present = await namesOf(nats, 'STREAM.LIST', 'streams');
  const isMade = present.has(bucketStream('troupe_site'));
  // Before anything is made: a later version may state other streams.
  const rows = isMade ? await openKv(nats, 'troupe_site') : null;
  if (rows !== null) await readSite(rows);
  const streams = streamConfigs(options);
  const missing = streams.filter(({ name }) => !present.has(name));
  await Promise.all(missing.map((config) => createStream(nats, config, log)));
  const consumers = consumerConfigs(options);
  const byStream = Map.groupBy(consumers, ([stream]) => stream);
  await Promise.all(
    [...byStream].map(([stream, of]) =>
      createConsumers(
        nats,
        stream,
        of.map(([, config]) => config),
      ),
    ),
  );
  if (rows !== null) {
    const stated = (stream: string, consumer: string | undefined) =>
      consumer === undefined
        ? streams.find(({ name }) => name === stream)
        : consumers.find(
            ([of, { durable_name }]) => of === stream && durable_name === consumer,
          )?.[1];
    const of = { schema: SCHEMA, changes: CHANGES, stated };
    await upgradeSite({ nats, rows, ...patience, ...of });
  }
  await reportDrift(nats, options);
}

async function createConsumers(
  nats: Nats,
  stream: StreamName,
  wanted: readonly ConsumerConfig[],
): Promise<void> {
  const present = await namesOf(nats, `CONSUMER.LIST.${stream}`, 'consumers');
  const missing = wanted.filter(({ durable_name }) => !present.has(durable_name));
  await Promise.all(
    missing.map(async (config) => {
      const { durable_name, filter_subject } = config;
      const subject = `$JS.API.CONSUMER.CREATE.${stream}.${durable_name}.${filter_subject}`;
      const { error } = await apiRequest(nats, subject, { stream_name: stream, config });
      if (error !== undefined) throw failure(error);
    }),
  );
}

/** A server that does not know the fields of schedules and atomic batches drops or refuses them. */
async function createStream(nats: Nats, config: StreamConfig, log: Log): Promise<void> {
  const answer = await apiRequest(nats, `$JS.API.STREAM.CREATE.${config.name}`, config);
  if (answer.error !== undefined) throw refusal(config.name, answer.error);
  const made = answer.config as StreamConfig;
  for (const field of ['allow_atomic', 'allow_msg_schedules']) {
    if (config[field] === true && made[field] !== true) throw lacks(field);
  }
  log.info({ stream: config.name }, 'stream made');
}

/**
 * An answer that is no leader, or none yet, is tried again by whoever starts us; the rest an
 * operator mends.
 */
function refusal(stream: string, error: ApiError): Error {
  const words = `${error.description ?? 'no reason given'} (err ${error.err_code ?? 0})`;
  if (NO_STORAGE.includes(error.err_code ?? 0)) {
    return new OperatorError(
      `the NATS server has no room for the stream ${stream}: ${words}`,
      'Raise `max_file_store` in nats.conf, or free what other streams reserve.',
    );
  }
  return error.code === 503 ? failure(error) : lacks(`the stream ${stream}: ${words}`);
}

function lacks(what: string): OperatorError {
  return new OperatorError(
    `the NATS server refuses ${what}`,
    'Use nats-server 2.12.5 or newer (2.15 is recommended), with the nats.conf of Troupe.',
  );
}

/** Says where what we state and what is there differ; an operator may have had reasons. */
async function reportDrift(nats: Nats, options: EnsureOptions): Promise<void> {
  const { outgoingAckWaitMs = OUTGOING_ACK_WAIT_MS } = options;
  const states = [streamStates(nats), consumerStates(nats, { outgoingAckWaitMs })];
  const drift: Drift[] = (await Promise.all(states)).flatMap((state) => state.drift);
  for (const one of drift) {
    options.log.warn(one, 'the server keeps another setting than ours; it is left alone');
  }
}

async function namesOf(nats: Nats, api: string, field: string): Promise<ReadonlySet<string>> {
  type Listed = { readonly config: { readonly name?: string; readonly durable_name?: string } };
  const all = await listed<Listed>(nats, api, field);
  return new Set(all.map(({ config }) => String(config.name ?? config.durable_name)));
}
