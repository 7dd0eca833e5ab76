/** The three machines as one site: started, made lists on, asked whether it rests, read out. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NatsConnection } from 'nats';
import type { SinkProcess } from '../support/sink-process.ts';
import { DOMAIN, type Ran, runTroupe } from '../support/site.ts';
import { dumpStream, plainNats, type Where } from '../support/streams-dump.ts';
import { until } from '../support/until.ts';
import { createMachine, environment, type Machine, PARTS, whereOf } from './machine.ts';
import { MACHINES, type Network } from './network.ts';

const NATS_READY_MS_MAX = 60_000;
const READY_MS_MAX = 120_000;
const REQUEST_MS_MAX = 5_000;
/** Looks in a row that must all find the site at rest. */
const LOOKS = 3;

export type List = {
  readonly address: string;
  /** Who posts to it; never leaves. */
  readonly poster: string;
  readonly members: number;
  readonly slot: number;
};

export type Cluster = {
  readonly machines: readonly Machine[];
  readonly where: Where;
  /** A plain connection of the lab's own. */
  readonly nc: NatsConnection;
  /** Runs a verb of the operator's command line, once. */
  troupe(...args: readonly string[]): Promise<Ran>;
  untilReady(): Promise<void>;
  /** Null when it came to rest in time; else what did not. */
  untilQuiet(lists: readonly List[], ms: number): Promise<string | null>;
  /** Slot → name of the node that holds it, as the bucket says. */
  owners(): Promise<ReadonlyMap<number, string>>;
  /** What waits where, for the report of a stall. */
  diagnose(): Promise<readonly string[]>;
  close(): Promise<void>;
};

/** Starts all of it; resolves when every process is ready. */
export async function startCluster(
  network: Network,
  sink: SinkProcess,
  directory: string,
): Promise<Cluster> {
  const env = environment(network, sink.url);
  const where = whereOf(network);
  const cliEnv = { ...env, TROUPE_DATA: join(directory, 'cli') };
  const machines = MACHINES.map((number) => createMachine(number, network, directory, env));
  for (const { parts } of machines) parts.nats.start();
  const nc = await until('the cluster answers', () => plainNats(where), NATS_READY_MS_MAX);
  await until('the cluster has a leader', () => jetStream(nc, 'INFO'), NATS_READY_MS_MAX);
  const [first, ...others] = machines;
  // One makes the streams, the others find them.
  first?.parts.edge.start();
  await until('the streams are made', () => jetStream(nc, 'STREAM.INFO.KV_troupe_site'));
  for (const { parts } of [...others, ...(first === undefined ? [] : [first])]) {
    for (const part of PARTS) parts[part].start();
  }
  const untilReady = async (): Promise<void> => {
    await until(
      'every process is ready',
      () => {
        const late = machines.filter((machine) => !machine.isReady());
        if (late.length === 0) return true;
        throw new Error(late.map(({ number }) => `m${number}`).join(' '));
      },
      READY_MS_MAX,
    );
  };
  await untilReady();
  return {
    machines,
    where,
    nc,
    troupe: (...args) => runTroupe(cliEnv, args),
    untilReady,
    untilQuiet: (lists, ms) =>
      untilQuiet(nc, lists, ms).then(
        () => null,
        (error: Error) => String(error.cause ?? error),
      ),
    owners: () => ownersIn(where),
    diagnose: () => busyQueues(nc).catch((error) => [String(error)]),
    async close() {
      await Promise.all(machines.flatMap(({ parts }) => PARTS.map((part) => parts[part].kill())));
      await nc.close();
    },
  };
}

type Api = Readonly<Record<string, unknown>> & {
  readonly error?: { readonly description: string };
};

async function jetStream(nc: NatsConnection, subject: string, body: unknown = {}): Promise<Api> {
  const reply = await nc.request(`$JS.API.${subject}`, JSON.stringify(body), {
    timeout: REQUEST_MS_MAX,
  });
  const answer = reply.json<Api>();
  if (answer.error !== undefined) throw new Error(`${subject}: ${answer.error.description}`);
  return answer;
}

async function ownersIn(where: Where): Promise<ReadonlyMap<number, string>> {
  const rows = await dumpStream(where, 'KV_troupe_slots');
  return new Map(
    rows.map(({ subject, data }) => {
      const slot = Number(subject.split('.').at(-1));
      const { node } = JSON.parse(Buffer.from(data).toString() || '{}') as { node?: string };
      return [slot, node ?? ''];
    }),
  );
}

/** Makes a bucket anew, empty: as an operator who deleted it by mistake. */
export async function remakeBucket({ nc }: Cluster, bucket: string): Promise<void> {
  const { config } = await jetStream(nc, `STREAM.INFO.${bucket}`);
  await jetStream(nc, `STREAM.DELETE.${bucket}`);
  await until(`${bucket} is made again`, () => jetStream(nc, `STREAM.CREATE.${bucket}`, config));
}

// ── Lists ─────────────────────────────────────────────────────────────────

/** Makes lists with so many members each. */
export async function createLists(
  cluster: Cluster,
  directory: string,
  sizes: readonly number[],
): Promise<readonly List[]> {
  // Slots still move to nodes that have just come; meanwhile nobody runs their lists.
  const must = (...args: readonly string[]): Promise<boolean> =>
    until(`troupe ${args.join(' ')}`, async () => {
      const { code, stderr } = await cluster.troupe(...args);
      if (code === 0) return true;
      throw new Error(stderr);
    });
  for (const [i, members] of sizes.entries()) {
    const address = `list${i}@${DOMAIN}`;
    await must('list', 'create', address, '--owner', 'owner@sink.example');
    const file = join(directory, `members${i}`);
    const names = Array.from({ length: members }, (_, m) => `m${m}.l${i}@sink.example`);
    writeFileSync(file, `${names.join('\n')}\n`);
    await must('member', 'import', address, file);
  }
  const slots = await slotsOf(cluster.where);
  return sizes.map((members, i) => {
    const address = `list${i}@${DOMAIN}`;
    return { address, members, poster: `m0.l${i}@sink.example`, slot: slots.get(address) ?? -1 };
  });
}

/** By the records that made them. */
async function slotsOf(where: Where): Promise<Map<string, number>> {
  const slots = new Map<string, number>();
  for (const { subject, data } of await dumpStream(where, 'TROUPE_LEDGER')) {
    const [, address] = /"list-created"[^}]*?"address":"([^"]+)"/.exec(
      Buffer.from(data).toString(),
    ) ?? [null, null];
    if (address !== null) slots.set(address, Number(subject.split('.')[2]));
  }
  return slots;
}

// ── Rest ──────────────────────────────────────────────────────────────────

type Consumer = {
  readonly name: string;
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly num_waiting: number;
};

/** Nothing waits in any queue or outbox, several times in a row. */
async function untilQuiet(nc: NatsConnection, lists: readonly List[], ms: number): Promise<void> {
  let quiet = 0;
  await until(
    'the site is at rest',
    async () => {
      const busy = [...(await busyQueues(nc)), ...(await busyLists(nc, lists))];
      quiet = busy.length === 0 ? quiet + 1 : 0;
      if (busy.length > 0) throw new Error(busy.join(', '));
      return quiet >= LOOKS ? true : null;
    },
    ms,
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
  // Timers wait for what may never be needed.
  const waiting = Object.keys(subjects).filter((subject) => !subject.includes('.moderators.'));
  return [...busy, ...waiting];
}

async function busyLists(nc: NatsConnection, lists: readonly List[]): Promise<readonly string[]> {
  const busy = lists.map(async ({ address }) => {
    const reply = await nc.request(`troupe.inspect.list.${address}`, '', {
      timeout: REQUEST_MS_MAX,
    });
    const text = reply.string();
    const { outbox } = JSON.parse(text) as { outbox?: { waiting: number } };
    return outbox?.waiting === 0 ? [] : [`${address}: ${text.slice(0, 300)}`];
  });
  return (await Promise.all(busy)).flat();
}
