/**
 * How full everything is: what waits in each queue and since when, and what each stream holds of
 * what it may. Read by `troupe queue ls`, `troupe doctor` and each scrape of `/metrics`; a handful
 * of requests, whatever the load.
 */
import type { Nats } from './connect.ts';
import { apiRequest, failure } from './stored.ts';
import { consumerConfigs, streamConfigs } from './streams.ts';

export type QueueState = {
  /** `mail.post`, `mailbox`, `outgoing.bulk`, `due`. */
  readonly name: string;
  readonly waiting: number;
  /** Taken by a runner and not yet acknowledged. */
  readonly inHand: number;
  /** When the oldest of them was stored, ms since the epoch; null where nothing waits. */
  readonly oldestAt: number | null;
};

export type StreamState = {
  readonly name: string;
  readonly messages: number;
  readonly bytes: number;
  /** -1: no limit of its own. */
  readonly bytesMax: number;
  readonly replicas: number;
  /** The server that leads it; '' on a standalone server, null while none does. */
  readonly leader: string | null;
  /** Servers whose copy is offline or behind. */
  readonly sick: readonly string[];
};

/** A durable that takes nothing more until something of it is acknowledged. */
export type FullConsumer = {
  readonly stream: string;
  readonly consumer: string;
  readonly inHand: number;
};

/** The streams whose durable consumers are queues. */
const QUEUE_STREAMS = ['TROUPE_MAIL', 'TROUPE_MAILBOX', 'TROUPE_OUTGOING', 'TROUPE_LATER'];

/**
 * Pages of a stream's consumers or of the server's streams: 256 a page, far more than there are.
 */
const PAGES_MAX = 16;

type ConsumerJson = {
  readonly stream_name: string;
  readonly config: Readonly<Record<string, unknown>> & {
    readonly filter_subject?: string;
    readonly durable_name?: string;
    readonly max_ack_pending?: number;
  };
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly ack_floor: { readonly stream_seq: number };
};

/**
 * The state of every queue, in the order mail passes them. Throws MailError 451 when NATS does not
 * answer.
 */
export async function queueStates(nats: Nats): Promise<readonly QueueState[]> {
  const perStream = await Promise.all(
    QUEUE_STREAMS.map((stream) =>
      pages<ConsumerJson>(nats, `CONSUMER.LIST.${stream}`, 'consumers'),
    ),
  );
  const queues = new Map<string, ConsumerJson[]>();
  for (const consumer of perStream.flat()) {
    if (consumer.config.durable_name === undefined) continue;
    const name = nameOf(consumer.config.filter_subject ?? '');
    queues.set(name, [...(queues.get(name) ?? []), consumer]);
  }
  return await Promise.all([...queues].map(([name, consumers]) => stateOf(nats, name, consumers)));
}

async function stateOf(
  nats: Nats,
  name: string,
  consumers: readonly ConsumerJson[],
): Promise<QueueState> {
  const waiting = sum(consumers.map((c) => c.num_pending));
  const inHand = sum(consumers.map((c) => c.num_ack_pending));
  const busy = consumers.filter((c) => c.num_pending + c.num_ack_pending > 0);
  const times = await Promise.all(busy.map((c) => oldestOf(nats, c)));
  const known = times.filter((time) => time !== null);
  return { name, waiting, inHand, oldestAt: known.length === 0 ? null : Math.min(...known) };
}

/** When the first message that this consumer has not finished was stored. */
async function oldestOf(nats: Nats, consumer: ConsumerJson): Promise<number | null> {
  const answer = await apiRequest(nats, `$JS.API.STREAM.MSG.GET.${consumer.stream_name}`, {
    seq: consumer.ack_floor.stream_seq + 1,
    next_by_subj: consumer.config.filter_subject ?? '>',
  });
  if (answer.error) return null; // Done meanwhile.
  const { time } = answer.message as { time: string };
  return Date.parse(time);
}

/** `troupe.mail.post` is `mail.post`; the 64 slots of a mailbox are one queue. */
function nameOf(filter: string): string {
  const tokens = filter.split('.').slice(1);
  const [first = ''] = tokens;
  return first === 'mailbox' || first === 'due' ? first : tokens.join('.');
}

/**
 * A setting that is not as `streams.ts` states it; `is` undefined with setting `stream`: there is
 * no such stream.
 */
export type Drift = {
  readonly stream: string;
  /** Of a durable of the stream. */
  readonly consumer?: string;
  readonly setting: string;
  readonly stated: unknown;
  readonly is: unknown;
};

type StreamJson = {
  readonly config: Readonly<Record<string, unknown>> & {
    readonly name: string;
    readonly max_bytes: number;
    readonly num_replicas: number;
  };
  readonly state: { readonly messages: number; readonly bytes: number };
  readonly cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly {
      readonly name: string;
      readonly current: boolean;
      readonly offline?: boolean;
    }[];
  };
};

/** What a site decides for itself, so it is no drift. */
const OF_THE_SITE = ['max_bytes', 'max_msgs', 'num_replicas'];

/**
 * What every stream and bucket of the site holds, by name, and where their settings are not ours.
 */
export async function streamStates(
  nats: Nats,
): Promise<{ readonly streams: readonly StreamState[]; readonly drift: readonly Drift[] }> {
  const found = await pages<StreamJson>(nats, 'STREAM.LIST', 'streams');
  const stated = streamConfigs({ replicas: 1, maxFileStore: 0 });
  const ours = new Map(found.map((stream) => [stream.config.name, stream]));
  const streams = stated.flatMap(({ name }) => {
    const stream = ours.get(name);
    if (stream === undefined) return [];
    return [stateOfStream(name, stream)];
  });
  return { streams, drift: stated.flatMap((config) => driftOf(config, ours.get(config.name))) };
}

function stateOfStream(name: string, { config, state, cluster }: StreamJson): StreamState {
  const { messages, bytes } = state;
  const sick = (cluster?.replicas ?? []).filter((r) => !r.current || r.offline === true);
  return {
    name,
    messages,
    bytes,
    bytesMax: config.max_bytes,
    replicas: config.num_replicas,
    leader: cluster === undefined ? '' : (cluster.leader ?? null),
    sick: sick.map((replica) => replica.name),
  };
}

/** Where the durables' settings are not ours, and which are full: no runner gets anything of those. */
export async function consumerStates(
  nats: Nats,
  options: { readonly outgoingAckWaitMs: number },
): Promise<{ readonly full: readonly FullConsumer[]; readonly drift: readonly Drift[] }> {
  const stated = Map.groupBy(consumerConfigs(options), ([stream]) => stream);
  const found = await Promise.all(
    [...stated].map(async ([stream, configs]) => {
      const list = await pages<ConsumerJson>(nats, `CONSUMER.LIST.${stream}`, 'consumers');
      const byName = new Map(list.map((one) => [one.config.durable_name ?? '', one]));
      const drift = configs.flatMap(([, config]) => {
        const consumer = config.durable_name;
        const there = byName.get(consumer);
        return differences(stream, config, there?.config).map((d) => ({ ...d, consumer }));
      });
      const full = list.flatMap(({ config, num_ack_pending: inHand }) => {
        const isFull = inHand >= (config.max_ack_pending ?? Number.POSITIVE_INFINITY);
        return isFull ? [{ stream, consumer: config.durable_name ?? '', inHand }] : [];
      });
      return { full, drift };
    }),
  );
  return { full: found.flatMap(({ full }) => full), drift: found.flatMap(({ drift }) => drift) };
}

function driftOf(
  stated: Readonly<Record<string, unknown>> & { readonly name: string },
  found: StreamJson | undefined,
): Drift[] {
  return differences(stated.name, stated, found?.config);
}

/** Settings that are not as stated; one that is left out by the server is as 0 or false. */
function differences(
  stream: string,
  stated: Readonly<Record<string, unknown>>,
  found: Readonly<Record<string, unknown>> | undefined,
): Drift[] {
  if (found === undefined) return [{ stream, setting: 'stream', stated: 'present', is: undefined }];
  return Object.entries(stated).flatMap(([setting, value]) => {
    const is = found[setting];
    const isSame = JSON.stringify(is) === JSON.stringify(value);
    const isLeftOut = is === undefined && (value === 0 || value === false);
    return isSame || isLeftOut || OF_THE_SITE.includes(setting)
      ? []
      : [{ stream, setting, stated: value, is }];
  });
}

async function pages<T>(nats: Nats, api: string, field: string): Promise<T[]> {
  const all: T[] = [];
  for (let page = 0; page < PAGES_MAX; page++) {
    const answer = await apiRequest(nats, `$JS.API.${api}`, { offset: all.length });
    if (answer.error) throw failure(answer.error);
    const some = (answer[field] ?? []) as T[];
    all.push(...some);
    if (some.length === 0 || all.length >= Number(answer.total ?? 0)) break;
  }
  return all;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
