/** The faults, each as what it does and what ends it. */
import { until } from '../support/until.ts';
import type { Chance } from './chance.ts';
import { type Cluster, remakeBucket } from './cluster.ts';
import { type Machine, PARTS, type Part } from './machine.ts';
import { MACHINES, type MachineNumber, type Network } from './network.ts';

export type FaultKind =
  | 'kill'
  | 'owner-kill'
  | 'pause'
  | 'partition'
  | 'power-cut'
  | 'blackout'
  | 'disk-full'
  | 'clock'
  | 'bucket'
  | 'rolling';

export type Fault = {
  readonly kind: FaultKind;
  /** Whom it hit: `m1-host`, `m1`, `m1>m2`. */
  readonly what: string;
  readonly machines: readonly MachineNumber[];
  /** Processes that it hit; empty where it hit none directly. */
  readonly parts: readonly Part[];
  /** Ms since the epoch. */
  readonly at: number;
  /** When it was over; null while it lasts. */
  until: number | null;
};

/** How long the lists of a killed owner were without service, ms. */
export type FailOver = { readonly owner: string; readonly ms: number };

/** What faults work with. */
export type Stage = {
  readonly cluster: Cluster;
  readonly network: Network;
  readonly chance: Chance;
  /** Slots that have lists in them. */
  readonly slots: ReadonlySet<number>;
  /** Resolves with when the first post that was made after `at`, to a list of these slots, came. */
  readonly firstCopyAfter: (at: number, slots: ReadonlySet<number>, ms: number) => Promise<number>;
  readonly say: (text: string) => void;
  note(kind: FaultKind, what: string, on: readonly MachineNumber[], parts: readonly Part[]): Fault;
  readonly failOvers: FailOver[];
  /** A wait that healing cuts short. */
  wait(ms: number): Promise<void>;
  /** Machines whose disks are well. */
  readonly mended: Set<Machine>;
  /** Lets what is under way come to its end, for what needs the others whole. */
  allReady(): Promise<void>;
};

/** Strikes; what it gives runs while the next faults are dealt, and ends it. */
export type Deed = (stage: Stage) => Promise<() => Promise<void>>;

export const DEEDS: Readonly<Record<FaultKind, Deed>> = {
  kill,
  'owner-kill': killOwner,
  pause,
  partition,
  'power-cut': async (stage) => cutPower(stage, [stage.chance.pick(await whole(stage))]),
  blackout: async (stage) => cutPower(stage, await whole(stage)),
  'disk-full': fillDisk,
  clock: jumpClock,
  bucket: remakeOne,
  rolling: restartAll,
};

const PAUSE_S_MAX = 30;
const PAUSE_S_SHORT = 8;
/** Of pauses: those that may outlast a lease and an ack_wait. */
const LONG = 0.3;
const PARTITION_S_MAX = 12;
const DISK_FULL_MS = 5_000;
const DOWN_MS_MAX = 2_500;
/**
 * Seconds by which a clock jumps, and back again. What is put into LATER meanwhile is as late as the
 * clock is fast, and the run waits for it at its end.
 */
const JUMPS_S = [-3_600, -60, -5, 5, 30] as const;
const JUMP_MS = [2_000, 15_000] as const;
/** Of a site; said again here, as the lab takes nothing from the program. */
const SLOTS = 64;
const READY_MS_MAX = 240_000;
const FAIL_OVER_MS_MAX = 90_000;

type Victim = { readonly machine: Machine; readonly part: Part };

/** Something that runs; waits for it where all is down. */
async function victimOf({ cluster, chance }: Stage): Promise<Victim> {
  const upParts = (): Victim[] =>
    cluster.machines.flatMap((machine) =>
      PARTS.filter((part) => machine.parts[part].isUp() && !machine.parts[part].isPaused()).map(
        (part) => ({ machine, part }),
      ),
    );
  const found = (): Victim[] | null => {
    const up = upParts();
    return up.length > 0 ? up : null;
  };
  return chance.pick(await until('something runs', found, READY_MS_MAX));
}

/** Machines whose disks are well; waits for one. */
const whole = ({ mended }: Stage): Promise<readonly Machine[]> =>
  until('a disk is well', () => (mended.size > 0 ? [...mended] : null), READY_MS_MAX);

async function kill(stage: Stage) {
  const { machine, part } = await victimOf(stage);
  const downMs = stage.chance.whole(0, DOWN_MS_MAX);
  const fault = stage.note('kill', machine.parts[part].name, [machine.number], [part]);
  await machine.parts[part].kill();
  return async () => {
    await stage.wait(downMs);
    machine.start(part);
    fault.until = Date.now();
  };
}

async function killOwner(stage: Stage) {
  const { cluster, chance, failOvers, note, say } = stage;
  await stage.allReady();
  const allOwned = () => ownersOf(cluster);
  const owners = await until('every slot has its owner', allOwned, READY_MS_MAX);
  const used = [...owners].filter(([slot]) => stage.slots.has(slot));
  const held = Map.groupBy(used, ([, node]) => node);
  const [node, slots] = chance.pick([...held]);
  const machine = cluster.machines.find(({ parts }) => parts.host.name === node);
  if (machine === undefined) throw new Error(`no machine runs ${node}`);
  const fault = note('owner-kill', node, [machine.number], ['host']);
  await machine.parts.host.kill();
  const lost = new Set(slots.map(([slot]) => slot));
  const cameAt = await stage.firstCopyAfter(fault.at, lost, FAIL_OVER_MS_MAX).catch(async () => {
    for (const line of await cluster.diagnose()) say(`  ${line}`);
    return fault.at + FAIL_OVER_MS_MAX;
  });
  failOvers.push({ owner: node, ms: cameAt - fault.at });
  say(`  its lists were without service for ${cameAt - fault.at} ms`);
  machine.start('host');
  fault.until = Date.now();
  return async () => undefined;
}

async function ownersOf(cluster: Cluster): Promise<ReadonlyMap<number, string>> {
  const owners = await cluster.owners();
  const held = [...owners.values()].filter((node) => node !== '');
  if (held.length === SLOTS) return owners;
  throw new Error(`${held.length} have one`);
}

async function pause(stage: Stage) {
  const { chance } = stage;
  const { machine, part } = await victimOf(stage);
  const ms = 1_000 * chance.whole(1, chance.next() < LONG ? PAUSE_S_MAX : PAUSE_S_SHORT);
  const { name } = machine.parts[part];
  const fault = stage.note('pause', `${name} ${ms} ms`, [machine.number], [part]);
  machine.parts[part].pause();
  return async () => {
    await stage.wait(ms);
    machine.parts[part].resume();
    fault.until = Date.now();
  };
}

async function partition(stage: Stage) {
  const { chance, network } = stage;
  const cuts = drawCuts(chance);
  const ms = 1_000 * chance.whole(1, PARTITION_S_MAX);
  const what = cuts.map(([from, to]) => `${from}>${to}`).join(' ');
  const hit = new Set(cuts.flat());
  const fault = stage.note('partition', `${what} ${ms} ms`, [...hit], []);
  for (const [from, to] of cuts) network.cut(from, to);
  return async () => {
    await stage.wait(ms);
    for (const [from, to] of cuts) network.heal(from, to);
    fault.until = Date.now();
  };
}

/** One machine alone, both ways; or one pair, both ways or one; or one that hears nobody. */
function drawCuts(chance: Chance): readonly (readonly [MachineNumber, MachineNumber])[] {
  const [a, b, c] = chance.shuffled(MACHINES) as [MachineNumber, MachineNumber, MachineNumber];
  const shape = chance.pick(['alone', 'pair', 'one-way', 'deaf'] as const);
  switch (shape) {
    case 'alone':
      return [a, b, a, c].map((from, i) => [from, [b, a, c, a][i] ?? a] as const);
    case 'pair':
      return [
        [a, b],
        [b, a],
      ];
    case 'one-way':
      return [[a, b]];
    case 'deaf':
      return [
        [b, a],
        [c, a],
      ];
  }
}

/** Of one machine, or of all that have power. */
async function cutPower(stage: Stage, hit: readonly Machine[]) {
  const { chance, mended } = stage;
  const downMs = chance.whole(0, DOWN_MS_MAX);
  const name = hit.map(({ number }) => `m${number}`).join(' ');
  const numbers = hit.map(({ number }) => number);
  const fault = stage.note(hit.length > 1 ? 'blackout' : 'power-cut', name, numbers, PARTS);
  for (const machine of hit) mended.delete(machine);
  await Promise.all(hit.map((machine) => machine.cutPower()));
  return async () => {
    await stage.wait(downMs);
    await Promise.all(hit.map((machine) => machine.boot()));
    for (const machine of hit) mended.add(machine);
    fault.until = Date.now();
  };
}

async function fillDisk(stage: Stage) {
  const { chance, mended } = stage;
  const machine = chance.pick(await whole(stage));
  const fault = stage.note('disk-full', `m${machine.number}`, [machine.number], PARTS);
  mended.delete(machine);
  machine.disk.fill();
  return async () => {
    await stage.wait(DISK_FULL_MS);
    machine.disk.free();
    // A server that met a full disk has shut JetStream down: its operator starts it again.
    await machine.parts.nats.stop();
    machine.start('nats');
    mended.add(machine);
    fault.until = Date.now();
  };
}

async function jumpClock(stage: Stage) {
  const { chance, cluster } = stage;
  const machine = chance.pick(cluster.machines);
  const seconds = chance.pick(JUMPS_S);
  const ms = chance.whole(...JUMP_MS);
  const fault = stage.note('clock', `m${machine.number} ${seconds} s`, [machine.number], []);
  machine.clock.jump(seconds * 1_000);
  return async () => {
    await stage.wait(ms);
    machine.clock.jump(-seconds * 1_000);
    fault.until = Date.now();
  };
}

async function remakeOne(stage: Stage) {
  await stage.allReady();
  const bucket = stage.chance.pick(['KV_troupe_slots', 'KV_troupe_nodes']);
  const fault = stage.note('bucket', bucket, [], []);
  await remakeBucket(stage.cluster, bucket);
  fault.until = Date.now();
  return async () => undefined;
}

async function restartAll(stage: Stage) {
  await stage.allReady();
  for (const machine of stage.cluster.machines) {
    // Each by itself: what was in hand when one ended is not what was when the next did.
    const fault = stage.note('rolling', `m${machine.number}`, [machine.number], PARTS);
    for (const part of [...PARTS].reverse()) {
      await machine.parts[part].stop();
      machine.start(part);
    }
    await until(`m${machine.number} is back`, () => machine.isReady() || null, READY_MS_MAX);
    fault.until = Date.now();
  }
  return async () => undefined;
}
