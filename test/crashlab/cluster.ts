/** The three machines as one site: started, made lists on, asked whether it rests, read out. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NatsConnection } from 'nats';
import type { SinkProcess } from '../support/sink-process.ts';
import { DOMAIN, type Ran, runTroupe } from '../support/site.ts';
import { dumpStream, plainNats, type Where } from '../support/streams-dump.ts';
import { until } from '../support/until.ts';
import { jetStream } from './jet-stream.ts';
import { createMachine, environment, type Machine, PARTS, whereOf } from './machine.ts';
import { MACHINES, type Network } from './network.ts';
import { diagnose, untilQuiet } from './rest.ts';

const NATS_READY_MS_MAX = 240_000;
const READY_MS_MAX = 240_000;

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
  /** What waits where, and why, for the report of a stall. */
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
  const made = () => jetStream(nc, 'STREAM.INFO.KV_troupe_site');
  await until('the streams are made', made, READY_MS_MAX);
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
    untilQuiet: (lists, ms) => untilQuiet(nc, lists, ms),
    owners: () => ownersIn(where),
    diagnose: () => diagnose(nc, directory),
    async close() {
      await Promise.all(machines.flatMap(({ parts }) => PARTS.map((part) => parts[part].kill())));
      await nc.close();
    },
  };
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
  const create = () => jetStream(nc, `STREAM.CREATE.${bucket}`, config);
  await until(`${bucket} is made again`, create, READY_MS_MAX);
}

// ── Lists ─────────────────────────────────────────────────────────────────

/** Makes lists with so many members each. */
export async function createLists(
  cluster: Cluster,
  directory: string,
  sizes: readonly number[],
): Promise<readonly List[]> {
  // Slots still move to nodes that have just come; meanwhile nobody runs their lists.
  const must = (...args: readonly string[]): Promise<boolean> => {
    const run = async (): Promise<boolean> => {
      const { code, stderr } = await cluster.troupe(...args);
      if (code === 0) return true;
      throw new Error(stderr);
    };
    return until(`troupe ${args.join(' ')}`, run, READY_MS_MAX);
  };
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
