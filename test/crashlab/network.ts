/**
 * The lab's network: each machine has a namespace and a cable to a hub, where the lab, the load and
 * the sink are. A cut makes the hub swallow what one machine sends to another: nobody is told, no
 * socket is closed.
 */
import { mkdirSync } from 'node:fs';
import { isBottled, tool } from './bottle.ts';

export const MACHINES = [1, 2, 3] as const;
export type MachineNumber = (typeof MACHINES)[number];

export type Network = {
  readonly canCut: boolean;
  address(machine: MachineNumber): string;
  /** Where the machines reach the hub. */
  readonly hub: string;
  /** What begins a command that is to run on a machine. */
  on(machine: MachineNumber): readonly string[];
  /** What `from` sends to `to` is lost from now on. */
  cut(from: MachineNumber, to: MachineNumber): void;
  heal(from: MachineNumber, to: MachineNumber): void;
};

/** Inside the bottle; elsewhere all machines are addresses on loopback, and nothing can be cut. */
export function createNetwork(): Network {
  return isBottled() ? namespaces() : loopback();
}

function loopback(): Network {
  // Several labs at once do not meet.
  const net = `127.77.${process.pid % 250}`;
  const never = (): never => {
    throw new Error('loopback cannot be cut');
  };
  return {
    canCut: false,
    address: (machine) => `${net}.${machine}`,
    hub: `${net}.9`,
    on: () => [],
    cut: never,
    heal: never,
  };
}

const NET = '10.77';
const addressOf = (machine: MachineNumber): string => `${NET}.${machine}.2`;

function namespaces(): Network {
  tool('mount', '-t', 'tmpfs', 'tmpfs', '/run');
  mkdirSync('/run/netns');
  tool('ip', 'link', 'set', 'lo', 'up');
  tool('ip', 'addr', 'add', `${NET}.9.1/32`, 'dev', 'lo');
  tool('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  for (const machine of MACHINES) {
    const [name, cable, hub] = [`m${machine}`, `v${machine}`, `${NET}.${machine}.1`];
    tool('ip', 'netns', 'add', name);
    tool('ip', 'link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    tool('ip', 'addr', 'add', `${hub}/24`, 'dev', cable);
    tool('ip', 'link', 'set', cable, 'up');
    tool('ip', '-n', name, 'addr', 'add', `${addressOf(machine)}/24`, 'dev', 'eth0');
    for (const link of ['lo', 'eth0']) tool('ip', '-n', name, 'link', 'set', link, 'up');
    tool('ip', '-n', name, 'route', 'add', 'default', 'via', hub);
  }
  /** Partitions may overlap: a way is open again when the last of its cuts has healed. */
  const cuts = new Map<string, number>();
  const change = (from: MachineNumber, to: MachineNumber, by: 1 | -1): void => {
    const way = `${from}>${to}`;
    const before = cuts.get(way) ?? 0;
    cuts.set(way, before + by);
    if ((before === 0) === (before + by === 0)) return;
    const verb = by === 1 ? 'add' : 'del';
    tool('ip', 'rule', verb, 'iif', `v${from}`, 'to', addressOf(to), 'prio', '100', 'blackhole');
  };
  return {
    canCut: true,
    address: addressOf,
    hub: `${NET}.9.1`,
    // Not `ip netns exec`: that would hold a copy of every mount.
    on: (machine) => ['nsenter', `--net=/run/netns/m${machine}`],
    cut: (from, to) => change(from, to, 1),
    heal: (from, to) => change(from, to, -1),
  };
}
