/** A simulated world: some nodes over one bus, an MTA, clients and a nemesis, all from one seed. */
import { textOf } from '../../src/errors.ts';
import { type Booted, boot, type Surroundings } from './boot.ts';
import { type Bus, createBus, STARTED_AT } from './bus.ts';
import { type Chance, createChance } from './chance.ts';
import { createSimDisk, type Disk } from './disk.ts';
import { createLife, type Life } from './life.ts';
import { createMta, type Mta } from './mta.ts';
import { type Mutant, mutate } from './mutants.ts';
import { createNet, type Net } from './net.ts';
import { createOracle, type Oracle } from './oracle.ts';
import { createTimeline, type Timeline } from './timeline.ts';

export type SimNode = {
  readonly name: string;
  disk: Disk;
  life: Life | null;
  booted: Booted | null;
  /** How wrong its wall clock is, ms. */
  wrongMs: number;
  lives: number;
};

export type World = {
  readonly seed: number;
  readonly timeline: Timeline;
  readonly net: Net;
  readonly bus: Bus;
  readonly mta: Mta;
  readonly oracle: Oracle;
  readonly nodes: readonly SimNode[];
  /** The first thing that must not be ends the run. */
  fail(error: unknown): void;
  failure(): Error | null;
  /** The machine is gone, its disk with it. */
  loseDisk(node: SimNode): void;
  /** Rows and journal lose what was not flushed. */
  cutPower(node: SimNode): void;
};

/** A process that ended is started again after so long. */
const RESTART_MS: readonly [number, number] = [200, 20_000];

export function createWorld(seed: number, mutant: Mutant | null): World {
  const chance = createChance(seed);
  const timeline = createTimeline(chance.branch('ties'));
  const net = createNet(timeline, chance.branch('net'));
  let failure: Error | null = null;
  const fail = (error: unknown): void => {
    failure ??= error instanceof Error ? error : new Error(textOf(error));
  };
  const oracle = guarded(createOracle(), fail);
  const bus = createBus(timeline, chance.branch('bus'), oracle);
  const mta = createMta(timeline, chance.branch('mta'), oracle.took);
  const restarts = chance.branch('restarts');
  const around = { timeline, chance: chance.branch('disk'), bus, mta, witness: oracle };
  const start = starter({ ...around, mutate: mutate(mutant) }, { net, oracle, restarts, fail });
  const nodes: SimNode[] = [];
  const diskOf = (name: string): Disk | undefined => nodes.find((node) => node.name === name)?.disk;
  oracle.attach({ bus, diskOf });
  const world: World = {
    ...{ seed, timeline, net, bus, mta, oracle, nodes, fail },
    failure: () => failure,
    loseDisk(node) {
      oracle.lostDisk(node.disk);
      node.disk = createSimDisk(clockOf(node, timeline));
    },
    cutPower(node) {
      // The journal outlives a process, not a power cut.
      oracle.lostDisk(node.disk);
      node.disk.cutPower(chance);
      const fresh = createSimDisk(clockOf(node, timeline));
      node.disk = { ...node.disk, journal: fresh.journal, suspects: fresh.suspects };
    },
  };
  const many = chance.is(0.4) ? 1 : 3;
  for (let i = 1; i <= many; i++) {
    const node = newNode(`n${i}`, timeline);
    nodes.push(node);
    timeline.after(chance.between(0, 2_000), '', () => start(node));
  }
  return world;
}

function newNode(name: string, timeline: Timeline): SimNode {
  const node: Omit<SimNode, 'disk'> = { name, life: null, booted: null, wrongMs: 0, lives: 0 };
  return Object.assign(node, { disk: createSimDisk(clockOf(node, timeline)) });
}

/** What starts a node's next life, and when that has ended the one after it. */
function starter(
  around: Surroundings,
  needs: Pick<World, 'net' | 'oracle' | 'fail'> & { readonly restarts: Chance },
): (node: SimNode) => void {
  const { timeline } = around;
  const { net, oracle, restarts, fail } = needs;

  /** What the world did to it is what the supervisor is for; anything else is a bug. */
  function note(life: Life, error: unknown): void {
    const name = error instanceof Error ? error.name : '';
    if (name !== 'MailError') fail(error);
    timeline.note(`${life.name} fatal: ${textOf(error)}`);
  }

  return function start(node: SimNode): void {
    node.lives += 1;
    const life = createLife({
      ...{ node: node.name, name: `${node.name}.${node.lives}`, timeline, net },
      chance: restarts.branch(`${node.name}.${node.lives}`),
      now: clockOf(node, timeline).now,
    });
    node.life = life;
    timeline.note(`${life.name} starts`);
    life.onDeath(() => {
      node.life = null;
      node.booted = null;
      oracle.died(life, node.disk);
      timeline.after(restarts.between(...RESTART_MS), '', () => start(node));
    });
    const fatal = (error: unknown): void => {
      if (life.isAlive()) note(life, error);
      life.die(`fatal: ${textOf(error)}`);
    };
    boot(life, node.disk, around, fatal).then((booted) => {
      if (life.isAlive()) node.booted = booted;
    }, fatal);
  };
}

const clockOf = (node: Pick<SimNode, 'wrongMs'>, timeline: Timeline) => ({
  now: () => Math.floor(STARTED_AT + timeline.now() + node.wrongMs),
  monotonic: timeline.now,
  sleep: async () => undefined,
});

/** A violation is seen deep inside the program, which would catch it: it is noted, and the run ends after this step. */
function guarded(oracle: Oracle, fail: (error: unknown) => void): Oracle {
  const guard =
    <A extends unknown[]>(run: (...args: A) => void) =>
    (...args: A): void => {
      try {
        run(...args);
      } catch (error) {
        fail(error);
      }
    };
  return {
    ...oracle,
    look: guard(oracle.look),
    chunk: guard(oracle.chunk),
    kept: guard(oracle.kept),
    took: guard(oracle.took),
    given: guard(oracle.given),
    acked: guard(oracle.acked),
    answered: (...args) => guard(oracle.answered(...args)),
  };
}

export type { Chance };
