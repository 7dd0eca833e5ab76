/** A site to be measured: the whole program in processes of its own, and a NATS connection beside them. */
import { randomBytes } from 'node:crypto';
import type { Answer, By, Command, Settings } from '../../actors/protocol.ts';
import { silentLog } from '../../src/log.ts';
import { type Address, parseAddress } from '../../src/mail/address.ts';
import { type ListKey, listKeyOf } from '../../src/mail/list-key.ts';
import { type Asker, createAsker } from '../../src/nats/ask.ts';
import { connect, type Nats } from '../../src/nats/connect.ts';
import { createDirectory, type Directory } from '../../src/nats/directory.ts';
import { openKv } from '../../src/nats/kv.ts';
import { DOMAIN, type RouteOption, startTestSite, type TestSite } from '../support/site.ts';
import type { Figures } from './bench.ts';
import { cpuMsOf } from './processes.ts';
import type { Scene } from './scene.ts';
import type { Sink } from './tools.ts';

/** Room for all that a bench stores; only what is written is taken. */
const STORAGE = '16GiB';
export const BY: By = { kind: 'operator', name: 'bench' };
const MEMBERS_A_COMMAND = 1_000;
const COMMANDS_IN_FLIGHT = 8;
export const LIST_BYTES_MAX = 10 * 1024 * 1024;

export type BenchSite = {
  readonly site: TestSite;
  /** A connection of the bench's own; another after a restart. */
  nats(): Nats;
  asker(): Asker;
  /** SIGTERM, start, connect again. */
  restart(): Promise<void>;
  /** Processor time of its two processes, ms, since they were started. */
  cpuMs(): Cpu;
};

export type Cpu = { readonly node: number; readonly nats: number };

/** What one of `count` things took, as CPU_COLUMNS names it. */
export function cpuOfEach(before: Cpu, after: Cpu, count: number): Figures {
  return {
    nodeCpuMs: (after.node - before.node) / count,
    natsCpuMs: (after.nats - before.nats) / count,
  };
}

export type BenchList = { readonly address: Address; readonly key: ListKey };

/** Starts a site that sends to the sink, or over these routes; without one it captures. */
export async function openSite(
  scene: Scene,
  to:
    | { readonly sink: Pick<Sink, 'url'>; readonly connections: number }
    | readonly RouteOption[]
    | null,
  env: Readonly<Record<string, string>> = {},
): Promise<BenchSite> {
  const routes = to !== null && 'sink' in to ? [routeTo(to.sink, to.connections)] : (to ?? []);
  const site = await startTestSite({ routes, env: { TROUPE_NATS_STORAGE: STORAGE, ...env } });
  scene.closing(site.close);
  let nats = await connectTo(site);
  scene.closing(() => nats.close());
  return {
    site,
    nats: () => nats,
    asker: () => createAsker(nats),
    cpuMs: () => ({ node: cpuMsOf(site.ports().pid), nats: cpuMsOf(site.nats().pid) }),
    async restart() {
      await nats.close();
      await site.stop();
      await site.start();
      nats = await connectTo(site);
    },
  };
}

const routeTo = ({ url }: Pick<Sink, 'url'>, connections: number): RouteOption => ({
  ...{ name: 'sink', url, connections },
});

function connectTo(site: TestSite): Promise<Nats> {
  const { url, user, password } = site.nats();
  return connect({ url, user, password, name: 'bench', log: silentLog });
}

// ── Lists ─────────────────────────────────────────────────────────────────

/** The i-th member of any list, counted from 1. */
export const memberOf = (i: number): Address => addressOf(`m${i}@members.example`);

/** Makes a list with members 1 … `members`. */
export async function makeList(
  { nats, asker }: Pick<BenchSite, 'nats' | 'asker'>,
  name: string,
  settings: Partial<Settings>,
  members: number,
): Promise<BenchList> {
  const directory: Directory = createDirectory(await openKv(nats(), 'troupe_directory'));
  const address = addressOf(`${name}@${DOMAIN}`);
  const key = listKeyOf(randomBytes(26));
  await directory.reserve(address, key, LIST_BYTES_MAX);
  await tell(asker(), key, key, { type: 'create', address, settings, owners: [], by: BY });
  await addMembers(asker(), key, 1, members);
  return { address, key };
}

async function addMembers(asker: Asker, key: ListKey, from: number, to: number): Promise<void> {
  let next = from;
  const work = async (): Promise<void> => {
    while (next <= to) {
      const first = next;
      const count = Math.min(MEMBERS_A_COMMAND, to - first + 1);
      next += count;
      const addresses = Array.from({ length: count }, (_, i) => memberOf(first + i));
      await tell(asker, key, `members.${first}`, adding(addresses));
    }
  };
  await Promise.all(Array.from({ length: COMMANDS_IN_FLIGHT }, work));
}

export function adding(addresses: readonly Address[]): Command {
  const members = addresses.map((address) => ({ address, name: '' }));
  return { type: 'add-members', members, by: BY };
}

/** Asks, and throws unless it was done. */
export async function tell(
  asker: Asker,
  key: ListKey,
  id: string,
  command: Command,
): Promise<Answer> {
  const reply = await asker.command(key, { id, command });
  if (!reply.ok) throw new Error(`${command.type}: ${JSON.stringify(reply)}`);
  return reply.answer;
}

export function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new Error(`not an address: ${text}`);
  return address;
}
