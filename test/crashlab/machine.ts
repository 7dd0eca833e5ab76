/**
 * One machine of the lab: a disk, a nats-server of the cluster, and a node in three processes, each
 * with a data directory of its own: edge and incoming, host, outgoing.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { findNatsServer } from '../support/nats.ts';
import { DOMAIN, NODE } from '../support/site.ts';
import { createMachineClock, type MachineClock } from './clock.ts';
import { createDisk, type Disk } from './disk.ts';
import { MACHINES, type MachineNumber, type Network } from './network.ts';
import { createProcess, type Process } from './process.ts';

const ROOT = resolve(import.meta.dirname, '..', '..');
const CLI = join(ROOT, 'src', 'cli', 'main.ts');
const NATS_PORT = 4222;
const CLUSTER_PORT = 6222;
export const SMTP_PORT = 2525;
const USER = 'troupe';
const PASSWORD = 'crashlab';
const NATS_STORAGE = '1GB';
/** Transactions of one outgoing process at once: what a kill of it may repeat. */
export const CONNECTIONS = 4;
/** Chunks that one outgoing process has in hand at once: what its loss may repeat. */
export const CONCURRENCY = 4;
export const ACK_WAIT_MS = 10_000;
/** Small, so that faults fall before, between and after them. */
const CHECKPOINT = { events: 20, ms: 1_000 } as const;
/** Posts are always under way here: bounces would wait for the end of the run. */
const BOUNCE_AGE_MS_MAX = 2_000;
/** Whom the sink refused for now is tried again while the run lasts. */
const RETRY_MS_MAX = 5_000;

/** Stores that are not synced, and where each notes in which boot it was opened. */
const UNSYNCED = ['host/state', 'host/bounces', 'outgoing/journal'] as const;
const BOOT_MARK = 'opened-in';

/** The processes of a machine; `edge` is the incoming runner as well. */
export const PARTS = ['nats', 'edge', 'host', 'outgoing'] as const;
export type Part = (typeof PARTS)[number];
const ROLES = { edge: 'edge,incoming', host: 'host', outgoing: 'outgoing' } as const;

export type Machine = {
  readonly number: MachineNumber;
  readonly address: string;
  readonly disk: Disk;
  readonly clock: MachineClock;
  readonly parts: Readonly<Record<Part, Process>>;
  /** False from a power cut to the boot after it. */
  hasPower(): boolean;
  /** Starts a process, unless there is no power: the boot does it then. */
  start(part: Part): void;
  /** Resumes what is paused and starts what is down. */
  revive(): void;
  /**
   * Whatever was not synced is gone, and every process; nothing is said after the cut that is not on
   * the disk.
   */
  cutPower(): Promise<void>;
  /**
   * Its disk again after a power cut, a boot that its files can tell from the one before, and every
   * process.
   */
  boot(): Promise<void>;
  /** True when every process runs, and every one of the node says that it is ready. */
  isReady(): boolean;
};

/** Where clients find the cluster. */
export function whereOf(network: Network) {
  const url = MACHINES.map((machine) => `nats://${network.address(machine)}:${NATS_PORT}`).join();
  return { url, user: USER, password: PASSWORD };
}

/** What every process of the site is told, the operator's commands included. */
export function environment(network: Network, sinkUrl: string): Readonly<Record<string, string>> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('TROUPE_'));
  const { url, user, password } = whereOf(network);
  const route = { name: 'sink', url: sinkUrl, connections: CONNECTIONS };
  return {
    ...(Object.fromEntries(inherited) as Record<string, string>),
    NO_COLOR: '1',
    TROUPE_DOMAINS: DOMAIN,
    TROUPE_NATS_URL: url,
    TROUPE_NATS_USER: user,
    TROUPE_NATS_PASSWORD: password,
    TROUPE_NATS_STORAGE: NATS_STORAGE,
    TROUPE_HTTP_URL: `https://${DOMAIN}`,
    TROUPE_SMTP_PORT: String(SMTP_PORT),
    TROUPE_LMTP_PORT: '0',
    TROUPE_TRUSTED: '10.0.0.0/8,127.0.0.0/8',
    TROUPE_ROUTES: JSON.stringify([route]),
    TROUPE_OUTGOING_ACK_WAIT_MS: String(ACK_WAIT_MS),
    TROUPE_OUTGOING_CONCURRENCY: String(CONCURRENCY),
    TROUPE_OUTGOING_RETRY_MS_MAX: String(RETRY_MS_MAX),
    TROUPE_BOUNCES_CHECKPOINT_EVENTS: String(CHECKPOINT.events),
    TROUPE_BOUNCES_CHECKPOINT_MS: String(CHECKPOINT.ms),
    TROUPE_BOUNCES_MAX_AGE_MS: String(BOUNCE_AGE_MS_MAX),
    TROUPE_OUTGOING_SENDERS: '0', // The books know one outgoing process a machine.
    TROUPE_LOG_LEVEL: process.env.CRASHLAB_LOG_LEVEL ?? 'info',
  };
}

/** The machine with its disk, nothing of it started. */
export function createMachine(
  number: MachineNumber,
  network: Network,
  directory: string,
  env: Readonly<Record<string, string>>,
): Machine {
  const name = `m${number}`;
  const here: Here = {
    name,
    directory,
    address: network.address(number),
    on: network.on(number),
    disk: createDisk(directory, name),
    clock: createMachineClock(directory, name),
    env,
  };
  writeFileSync(join(directory, `${name}.conf`), natsConfig(network, here.address));
  const parts = {
    nats: createServer(here),
    edge: createNode('edge', here),
    host: createNode('host', here),
    outgoing: createNode('outgoing', here),
  };
  const isReady = (part: Part): boolean =>
    parts[part].isUp() && (part === 'nats' || readyPid(dataOf(here, part)) === parts[part].pid());
  const power = createPower(here.disk, parts);
  const start = (part: Part): void => {
    if (power.hasPower()) parts[part].start();
  };
  const { address, disk, clock } = here;
  return {
    ...{ number, address, disk, clock, parts, start, ...power },
    revive() {
      for (const part of PARTS) {
        parts[part].resume();
        start(part);
      }
    },
    isReady: () => power.hasPower() && PARTS.every(isReady),
  };
}

/** What the processes of a machine share. */
type Here = {
  readonly name: string;
  readonly directory: string;
  readonly address: string;
  readonly on: readonly string[];
  readonly disk: Disk;
  readonly clock: MachineClock;
  readonly env: Readonly<Record<string, string>>;
};

const dataOf = ({ disk }: Here, part: Part): string => join(disk.path, part);

function createServer({ name, directory, disk, env, on }: Here): Process {
  return createProcess(
    `${name}-nats`,
    [...on, findNatsServer(), '-c', join(directory, `${name}.conf`)],
    {
      PATH: env.PATH ?? '',
      TROUPE_NATS_NAME: name,
      TROUPE_NATS_PORT: String(NATS_PORT),
      TROUPE_NATS_USER: USER,
      TROUPE_NATS_PASSWORD: PASSWORD,
      TROUPE_NATS_STORE: `"${join(disk.path, 'nats')}"`,
      TROUPE_NATS_STORAGE: NATS_STORAGE,
    },
    join(directory, `${name}-nats.log`),
  );
}

function createNode(part: keyof typeof ROLES, here: Here): Process {
  const { name, directory, address, clock, env, on } = here;
  mkdirSync(dataOf(here, part), { recursive: true });
  return createProcess(
    `${name}-${part}`,
    [...on, NODE, CLI, 'serve'],
    {
      ...env,
      ...clock.env,
      TROUPE_DATA: dataOf(here, part),
      TROUPE_NODE: `${name}-${part}`,
      TROUPE_ROLES: ROLES[part],
      TROUPE_LISTEN: address,
      TROUPE_HOSTNAME: `${name}.example.org`,
    },
    join(directory, `${name}-${part}.log`),
  );
}

function createPower(
  disk: Disk,
  parts: Machine['parts'],
): Pick<Machine, 'hasPower' | 'cutPower' | 'boot'> {
  const all = PARTS.map((part) => parts[part]);
  let hasPower = true;
  return {
    hasPower: () => hasPower,
    async cutPower() {
      hasPower = false;
      for (const process of all) process.pause();
      disk.cutPower();
      await Promise.all(all.map((process) => process.kill()));
    },
    async boot() {
      await disk.boot();
      // All machines of the lab have one kernel, whose boot id did not change.
      for (const store of UNSYNCED) {
        const mark = join(disk.path, store, BOOT_MARK);
        if (existsSync(mark)) writeFileSync(mark, `power was cut at ${Date.now()}`);
      }
      hasPower = true;
      for (const process of all) process.start();
    },
  };
}

/** The process that wrote `site.json`: it does so when it is ready. */
function readyPid(data: string): number {
  const note = join(data, 'site.json');
  if (!existsSync(note)) return 0;
  try {
    return (JSON.parse(readFileSync(note, 'utf8')) as { pid: number }).pid;
  } catch {
    return 0; // It is being written, or its disk is away.
  }
}

/** The file that comes with the program, made a cluster as it says. */
function natsConfig(network: Network, address: string): string {
  const shipped = readFileSync(join(ROOT, 'nats.conf'), 'utf8');
  const here = shipped.replace(/^host: .*$/m, `host: ${address}`);
  const routes = MACHINES.map(
    (machine) => `"nats-route://${USER}:${PASSWORD}@${network.address(machine)}:${CLUSTER_PORT}"`,
  );
  return `${here}
cluster {
  name: crashlab
  listen: ${address}:${CLUSTER_PORT}
  authorization { user: ${USER}, password: ${PASSWORD}, timeout: 5 }
  routes: [${routes.join(', ')}]
}
`;
}
