/** Whether the site is at rest, and what keeps it from that. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { NatsConnection } from 'nats';
import { until } from '../support/until.ts';
import type { List } from './cluster.ts';
import { jetStream, REQUEST_MS_MAX } from './jet-stream.ts';

/** Looks in a row that must all find the site at rest. */
const LOOKS = 3;
const LOOK_EVERY_MS = 500;
/** Of each log, the last of what its process warned of. */
const TOLD_LINES = 2;
const TOLD_CHARS = 300;

type Consumer = {
  readonly name: string;
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly num_waiting: number;
};

/** Nothing waits in any queue or outbox, several times in a row. Null when it came to that in time; else what did not. */
export async function untilQuiet(
  nc: NatsConnection,
  lists: readonly List[],
  ms: number,
): Promise<string | null> {
  let quiet = 0;
  return until(
    'the site is at rest',
    async () => {
      const busy = [...(await busyQueues(nc)), ...(await busyLists(nc, lists))];
      quiet = busy.length === 0 ? quiet + 1 : 0;
      if (busy.length > 0) throw new Error(busy.join(', '));
      return quiet >= LOOKS ? true : null;
    },
    ms,
  ).then(
    () => null,
    (error: Error) => String(error.cause ?? error),
  );
}

async function busyQueues(nc: NatsConnection): Promise<readonly string[]> {
  const busy: string[] = [];
  for (const stream of ['TROUPE_MAIL', 'TROUPE_MAILBOX', 'TROUPE_OUTGOING']) {
    const { consumers } = await jetStream(nc, `CONSUMER.LIST.${stream}`);
    for (const consumer of consumers as readonly Consumer[]) {
      const { name, num_pending, num_ack_pending, num_waiting } = consumer;
      const waiting = `${num_pending} + ${num_ack_pending} (pulls ${num_waiting})`;
      if (num_pending + num_ack_pending > 0) busy.push(`${stream} ${name}: ${waiting}`);
    }
  }
  const filter = { subjects_filter: '>' };
  const { state } = await jetStream(nc, 'STREAM.INFO.TROUPE_LATER', filter);
  const { subjects = {} } = state as { subjects?: Readonly<Record<string, number>> };
  // Timers wait for what may never be needed, and some messages stay (src/nats/keep.ts).
  const waiting = Object.keys(subjects).filter(
    (subject) => !subject.includes('.moderators.') && subject !== 'troupe.later.keep',
  );
  return [...busy, ...waiting];
}

async function busyLists(nc: NatsConnection, lists: readonly List[]): Promise<readonly string[]> {
  const busy = lists.map(async ({ address }) => {
    const reply = await nc.request(`troupe.inspect.list.${address}`, '', {
      timeout: REQUEST_MS_MAX,
    });
    const text = reply.string();
    const { outbox } = JSON.parse(text) as { outbox?: { waiting: number } };
    return outbox?.waiting === 0 ? [] : [`${address}: ${JSON.stringify(outbox ?? text)}`];
  });
  return (await Promise.all(busy)).flat();
}

// ── A stall ───────────────────────────────────────────────────────────────

/** What waits, which streams are not well, and what each process last warned of. */
export async function diagnose(nc: NatsConnection, directory: string): Promise<readonly string[]> {
  const words = (error: unknown): readonly string[] => [String(error)];
  return [
    ...(await busyQueues(nc).catch(words)),
    ...(await sickStreams(nc).catch(words)),
    ...lastWarnings(directory),
  ];
}

type Stream = {
  readonly config: { readonly name: string };
  readonly cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly {
      readonly name: string;
      readonly current: boolean;
      readonly offline?: boolean;
      readonly lag?: number;
    }[];
  };
};

/** When JetStream was seen well: every stream with a leader and every copy of it current. */
export function watchHealth(nc: NatsConnection, signal: AbortSignal): readonly number[] {
  const wellAt: number[] = [];
  const look = async (): Promise<void> => {
    while (!signal.aborted) {
      const at = Date.now();
      const sick = await sickStreams(nc).catch(() => null);
      if (sick?.length === 0) wellAt.push(at);
      await pause(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  };
  void look();
  return wellAt;
}

async function sickStreams(nc: NatsConnection): Promise<readonly string[]> {
  const { streams, missing = [] } = await jetStream(nc, 'STREAM.LIST');
  const sick = (streams as readonly Stream[]).flatMap(({ config, cluster }) => {
    const { leader, replicas = [] } = cluster ?? {};
    const late = replicas.filter(({ current }) => !current).map((one) => JSON.stringify(one));
    if (leader !== undefined && late.length === 0) return [];
    return [`${config.name}: led by ${leader ?? 'nobody'}; ${late.join(' ')}`];
  });
  return [...sick, ...(missing as readonly string[]).map((name) => `${name}: does not answer`)];
}

function lastWarnings(directory: string): readonly string[] {
  const logs = readdirSync(directory).filter((name) => /^m\d-.*\.log$/.test(name));
  return logs.flatMap((name) => {
    const lines = readFileSync(join(directory, name), 'utf8').split('\n');
    const warned = lines.filter((line) =>
      /"level":"(?:warn|error|fatal)"|\[(?:WRN|ERR|FTL)\]/.test(line),
    );
    return warned.slice(-TOLD_LINES).map((line) => `${name}: ${line.slice(0, TOLD_CHARS)}`);
  });
}
