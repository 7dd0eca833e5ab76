/** One run of a simulated world, from a seed: work and trouble, then peace, then judgement. */
import { createChance } from './chance.ts';
import { createClients } from './clients.ts';
import { Violation } from './model.ts';
import type { Mutant } from './mutants.ts';
import { unleash } from './nemesis.ts';
import { demandQuiet, unrest } from './quiet.ts';
import { createWorld, type World } from './world.ts';

export type Outcome = {
  readonly seed: number;
  readonly steps: number;
  /** What must never be, and was; null if all is well. */
  readonly failure: string | null;
  /** The last events before it. */
  readonly trace: readonly string[];
  readonly counts: {
    readonly nodes: number;
    readonly lives: number;
    readonly records: number;
    readonly mails: number;
    readonly copies: number;
    readonly duplicates: number;
    readonly simulatedMs: number;
  };
};

/** How long work and trouble last, and how long the world then has to come to rest, ms of its own time. */
const TROUBLE_MS: readonly [number, number] = [60_000, 240_000];
const PEACE_MS_MAX = 4 * 3_600_000;
const LOOK_EVERY_MS = 1_000;
/** No run takes so many steps; one that does goes round in circles. */
const STEPS_MAX = 400_000;
const TRACE_LINES = 4_000;

export async function simulate(seed: number, mutant: Mutant | null = null): Promise<Outcome> {
  const world = createWorld(seed, mutant);
  const chance = createChance(seed).branch('story');
  const clients = createClients(world, chance.branch('clients'));
  const untilMs = chance.between(...TROUBLE_MS);
  world.timeline.after(500, '', () => clients.start(untilMs));
  unleash(world, chance.branch('nemesis'), untilMs);
  await run(world, untilMs, () => unrest(world, clients));
  if (world.failure() === null) await demandQuiet(world, clients).catch(world.fail);
  const failure = world.failure();
  const { oracle, timeline, nodes, bus } = world;
  const copies = [...oracle.copies.taken.values()].reduce((sum, many) => sum + many, 0);
  return {
    seed,
    steps: timeline.steps(),
    failure: failure === null ? null : textOf(failure),
    trace: failure === null ? [] : timeline.recent(TRACE_LINES),
    counts: {
      nodes: nodes.length,
      lives: nodes.reduce((sum, { lives }) => sum + lives, 0),
      records: bus.ledger.records.length,
      mails: clients.mails.length,
      copies,
      duplicates: oracle.copies.duplicates(),
      simulatedMs: Math.round(timeline.now()),
    },
  };
}

/** Steps until all is at rest, or something is wrong. */
async function run(world: World, untilMs: number, restless: () => string | null): Promise<void> {
  const { timeline, oracle, bus } = world;
  let lookAt = untilMs + LOOK_EVERY_MS;
  while (world.failure() === null) {
    if (timeline.now() >= lookAt) {
      lookAt = timeline.now() + LOOK_EVERY_MS;
      const why = restless();
      if (why === null) return;
      const isLate = timeline.now() > untilMs + PEACE_MS_MAX || timeline.steps() > STEPS_MAX;
      if (isLate) return world.fail(new Violation(`no rest: ${why}`));
    }
    if (!(await timeline.step())) return world.fail(new Violation('nothing happens any more'));
    oracle.look(bus);
  }
}

const textOf = (error: Error): string =>
  error instanceof Violation ? error.message : (error.stack ?? error.message);
