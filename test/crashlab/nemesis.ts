/**
 * What goes wrong: a deck of faults, dealt by the seed, one every 0.5–3 s, several under way at
 * once. Each is noted with when it began and ended, and whom it hit.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../support/until.ts';
import type { Chance } from './chance.ts';
import { type Cluster, remakeBucket } from './cluster.ts';
import { type Machine, PARTS, type Part } from './machine.ts';
import { MACHINES, type MachineNumber, type Network } from './network.ts';

export const KINDS = [
  'kill',
  'owner-kill',
  'pause',
  'partition',
  'power-cut',
  'disk-full',
  'bucket',
  'rolling',
] as const;
export type FaultKind = (typeof KINDS)[number];

/** Of each kind so many for a hundred kills. */
const SHARES: Readonly<Record<Exclude<FaultKind, 'kill'>, number>> = {
  'owner-kill': 6,
  pause: 16,
  partition: 16,
  'power-cut': 6,
  'disk-full': 3,
  bucket: 4,
  rolling: 2,
};
const PAUSE_S_MAX = 30;
const PARTITION_S_MAX = 12;
const DISK_FULL_MS = 5_000;
const DOWN_MS_MAX = 2_500;
const GAP_MS = [500, 3_000] as const;
/** Of power cuts: all three machines at once. */
const ALL_MACHINES = 0.25;
/** Of a site; said again here, as the lab takes nothing from the program. */
const SLOTS = 64;
const READY_MS_MAX = 60_000;
const FAIL_OVER_MS_MAX = 90_000;

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

export type NemesisNeeds = {
  readonly cluster: Cluster;
  readonly network: Network;
  readonly chance: Chance;
  /** Slots that have lists in them. */
  readonly slots: ReadonlySet<number>;
  /** Resolves with when the first post that was made after `at`, to a list of these slots, came. */
  readonly firstCopyAfter: (at: number, slots: ReadonlySet<number>, ms: number) => Promise<number>;
  readonly say: (text: string) => void;
};

export type Nemesis = {
  readonly faults: readonly Fault[];
  readonly failOvers: readonly FailOver[];
  /** Kinds that cannot be done here. */
  readonly skipped: readonly FaultKind[];
  /** Deals out the whole deck; resolves when the last one has been dealt. */
  run(kills: number): Promise<void>;
  /** Ends all that is under way; resolves when every process is ready. */
  heal(): Promise<void>;
};

export function createNemesis(needs: NemesisNeeds): Nemesis {
  const { cluster, network, chance, say } = needs;
  const { machines } = cluster;
  const faults: Fault[] = [];
  const failOvers: FailOver[] = [];
  const underWay = new Set<Promise<void>>();
  const healing = new AbortController();
  const canFail = machines.every(({ disk }) => disk.canFail);
  const skipped: FaultKind[] = [
    ...(network.canCut ? [] : (['partition'] as const)),
    ...(canFail ? [] : (['power-cut', 'disk-full'] as const)),
  ];

  function note(
    kind: FaultKind,
    what: string,
    on: readonly MachineNumber[],
    parts: readonly Part[],
  ): Fault {
    const fault = { kind, what, machines: on, parts, at: Date.now(), until: null };
    faults.push(fault);
    say(`${faults.length} ${kind} ${what}`);
    return fault;
  }

  /** A wait that healing cuts short. */
  const wait = (ms: number): Promise<void> =>
    pause(ms, undefined, { signal: healing.signal }).catch(() => undefined);

  /** Machines whose disks are well; waits for one. */
  const mended = new Set(machines);
  const whole = (): Promise<readonly Machine[]> =>
    until('a disk is well', () => (mended.size > 0 ? [...mended] : null));

  const upParts = (): { machine: Machine; part: Part }[] =>
    machines.flatMap((machine) =>
      PARTS.filter((part) => machine.parts[part].isUp() && !machine.parts[part].isPaused()).map(
        (part) => ({ machine, part }),
      ),
    );

  /** Something that runs; waits for it where all is down. */
  async function victim(): Promise<{ machine: Machine; part: Part }> {
    const found = await until('something runs', () => {
      const up = upParts();
      return up.length > 0 ? up : null;
    });
    return chance.pick(found);
  }

  const deeds: Readonly<Record<FaultKind, () => Promise<() => Promise<void>>>> = {
    async kill() {
      const { machine, part } = await victim();
      const downMs = chance.whole(0, DOWN_MS_MAX);
      const fault = note('kill', machine.parts[part].name, [machine.number], [part]);
      await machine.parts[part].kill();
      return async () => {
        await wait(downMs);
        machine.start(part);
        fault.until = Date.now();
      };
    },
    async 'owner-kill'() {
      await allReady();
      const owners = await until('every slot has its owner', allOwned, FAIL_OVER_MS_MAX);
      const used = [...owners].filter(([slot]) => needs.slots.has(slot));
      const held = Map.groupBy(used, ([, node]) => node);
      const [node, slots] = chance.pick([...held]);
      const machine = machines.find(({ parts }) => parts.host.name === node);
      if (machine === undefined) throw new Error(`no machine runs ${node}`);
      const fault = note('owner-kill', node, [machine.number], ['host']);
      await machine.parts.host.kill();
      const lost = new Set(slots.map(([slot]) => slot));
      const cameAt = await needs
        .firstCopyAfter(fault.at, lost, FAIL_OVER_MS_MAX)
        .catch(async () => {
          for (const line of await cluster.diagnose()) say(`  ${line}`);
          return fault.at + FAIL_OVER_MS_MAX;
        });
      failOvers.push({ owner: node, ms: cameAt - fault.at });
      say(`  its lists were without service for ${cameAt - fault.at} ms`);
      machine.start('host');
      fault.until = Date.now();
      return async () => undefined;
    },
    async pause() {
      const { machine, part } = await victim();
      // Most are short; some outlast a lease and an ack_wait.
      const ms = 1_000 * chance.whole(1, chance.next() < 0.3 ? PAUSE_S_MAX : 8);
      const { name } = machine.parts[part];
      const fault = note('pause', `${name} ${ms} ms`, [machine.number], [part]);
      machine.parts[part].pause();
      return async () => {
        await wait(ms);
        machine.parts[part].resume();
        fault.until = Date.now();
      };
    },
    async partition() {
      const cuts = drawCuts(chance);
      const ms = 1_000 * chance.whole(1, PARTITION_S_MAX);
      const what = cuts.map(([from, to]) => `${from}>${to}`).join(' ');
      const hit = new Set(cuts.flat());
      const fault = note('partition', `${what} ${ms} ms`, [...hit], []);
      for (const [from, to] of cuts) network.cut(from, to);
      return async () => {
        await wait(ms);
        for (const [from, to] of cuts) network.heal(from, to);
        fault.until = Date.now();
      };
    },
    async 'power-cut'() {
      const lit = await whole();
      const hit = chance.next() < ALL_MACHINES ? lit : [chance.pick(lit)];
      const downMs = chance.whole(0, DOWN_MS_MAX);
      const name = hit.map(({ number }) => `m${number}`).join(' ');
      const numbers = hit.map(({ number }) => number);
      const fault = note('power-cut', name, numbers, PARTS);
      for (const machine of hit) mended.delete(machine);
      await Promise.all(hit.map((machine) => machine.cutPower()));
      return async () => {
        await wait(downMs);
        await Promise.all(hit.map((machine) => machine.boot()));
        for (const machine of hit) mended.add(machine);
        fault.until = Date.now();
      };
    },
    async 'disk-full'() {
      const machine = chance.pick(await whole());
      const fault = note('disk-full', `m${machine.number}`, [machine.number], PARTS);
      mended.delete(machine);
      machine.disk.fill();
      return async () => {
        await wait(DISK_FULL_MS);
        machine.disk.free();
        // A server that met a full disk has shut JetStream down: its operator starts it again.
        await machine.parts.nats.stop();
        machine.start('nats');
        mended.add(machine);
        fault.until = Date.now();
      };
    },
    async bucket() {
      await allReady();
      const bucket = chance.pick(['KV_troupe_slots', 'KV_troupe_nodes']);
      const fault = note('bucket', bucket, [], []);
      await remakeBucket(cluster, bucket);
      fault.until = Date.now();
      return async () => undefined;
    },
    async rolling() {
      await allReady();
      const fault = note('rolling', 'all', MACHINES, PARTS);
      for (const machine of machines) {
        for (const part of [...PARTS].reverse()) {
          await machine.parts[part].stop();
          machine.start(part);
        }
        await until(`m${machine.number} is back`, () => machine.isReady() || null, READY_MS_MAX);
      }
      fault.until = Date.now();
      return async () => undefined;
    },
  };

  async function allOwned(): Promise<ReadonlyMap<number, string> | null> {
    const owners = await cluster.owners();
    const held = [...owners.values()].filter((node) => node !== '');
    if (held.length === SLOTS) return owners;
    throw new Error(`${held.length} have one`);
  }

  /** Lets what is under way come to its end, for what needs the others whole. */
  async function allReady(): Promise<void> {
    await Promise.all(underWay);
    await cluster.untilReady();
  }

  async function deal(kind: FaultKind): Promise<void> {
    const after = await deeds[kind]();
    const over = after();
    underWay.add(over);
    void over.finally(() => underWay.delete(over));
  }

  return {
    faults,
    failOvers,
    skipped,
    async run(kills) {
      for (const kind of deckOf(kills, skipped, chance)) {
        await wait(chance.whole(...GAP_MS));
        await deal(kind);
      }
    },
    async heal() {
      healing.abort();
      await Promise.all(underWay);
      for (const machine of machines) {
        for (const part of PARTS) {
          machine.parts[part].resume();
          machine.start(part);
        }
      }
      await cluster.untilReady();
    },
  };
}

/** All faults of a run, in the order of the seed; kills of owners count as kills. */
function deckOf(kills: number, skipped: readonly FaultKind[], chance: Chance): FaultKind[] {
  const shares = Object.entries(SHARES) as [Exclude<FaultKind, 'kill'>, number][];
  const others = shares
    .filter(([kind]) => !skipped.includes(kind))
    .flatMap(([kind, share]) =>
      Array.from({ length: Math.max(1, Math.round((kills * share) / 100)) }, () => kind),
    );
  const owners = others.filter((kind) => kind === 'owner-kill').length;
  const plain = Array.from({ length: Math.max(0, kills - owners) }, () => 'kill' as const);
  return chance.shuffled<FaultKind>([...others, ...plain]);
}

/** One machine alone, both ways; or one pair, both ways or one. */
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
