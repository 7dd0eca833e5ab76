/** The nemesis: what goes wrong, and when, by the seed. Each seed has its own favourites, so that some faults meet often. */
import type { Chance } from './chance.ts';
import type { SimNode, World } from './world.ts';

type Fault = (world: World, chance: Chance) => void;

/** Breaks something for a while. */
function during(world: World, ms: number, what: string, begin: () => void, end: () => void): void {
  world.timeline.note(`NEMESIS ${what} for ${Math.round(ms)} ms`);
  begin();
  world.timeline.after(ms, `NEMESIS no more ${what}`, () => {
    end();
    world.bus.poke();
  });
}

const aNode = ({ nodes }: World, chance: Chance): SimNode => chance.pick(nodes);

const FAULTS: Readonly<Record<string, Fault>> = {
  crash: (world, chance) => aNode(world, chance).life?.die('killed'),
  'crash at an await': (world, chance) => aNode(world, chance).life?.arm(chance.whole(1, 150)),
  'power cut': (world, chance) => {
    const node = aNode(world, chance);
    node.life?.die('power cut');
    world.cutPower(node);
  },
  'lost machine': (world, chance) => {
    const node = aNode(world, chance);
    node.life?.die('machine lost');
    world.loseDisk(node);
  },
  pause: (world, chance) => {
    const { life, name } = aNode(world, chance);
    if (life === null || life.isPaused()) return;
    const ms = chance.pick([chance.between(500, 9_000), chance.between(9_000, 40_000), 150_000]);
    during(world, ms, `pause of ${name}`, life.pause, life.resume);
  },
  'loss of messages': (world, chance) => {
    const lossy = chance.between(0.02, 0.3);
    during(
      world,
      chance.between(2_000, 30_000),
      `loss of ${lossy.toFixed(2)}`,
      () => {
        world.net.lossy = lossy;
      },
      () => {
        world.net.lossy = 0;
      },
    );
  },
  'late messages': (world, chance) => {
    const tardy = chance.between(0.02, 0.2);
    during(
      world,
      chance.between(2_000, 30_000),
      'late messages',
      () => {
        world.net.tardy = tardy;
      },
      () => {
        world.net.tardy = 0;
      },
    );
  },
  'slow network': (world, chance) =>
    during(
      world,
      chance.between(2_000, 30_000),
      'slow network',
      () => {
        world.net.slowMs = chance.between(100, 3_000);
      },
      () => {
        world.net.slowMs = 3;
      },
    ),
  'bus away': (world, chance) =>
    during(
      world,
      chance.between(500, 25_000),
      'bus away',
      () => {
        world.net.isBusUp = false;
        world.bus.restart();
      },
      () => {
        world.net.isBusUp = true;
      },
    ),
  partition: (world, chance) => {
    const { name } = aNode(world, chance);
    during(
      world,
      chance.between(1_000, 40_000),
      `partition of ${name}`,
      () => world.net.cut.add(name),
      () => world.net.cut.delete(name),
    );
  },
  'ledger full': (world, chance) =>
    during(
      world,
      chance.between(500, 8_000),
      'full ledger',
      () => {
        world.bus.ledger.fault = () => 'full';
      },
      () => {
        world.bus.ledger.fault = () => null;
      },
    ),
  'clock jump': (world, chance) => {
    const node = aNode(world, chance);
    const sign = chance.is(0.5) ? 1 : -1;
    node.wrongMs += sign * chance.pick([chance.between(50, 5_000), chance.between(5_000, 900_000)]);
    world.timeline.note(`NEMESIS clock of ${node.name} is wrong by ${Math.round(node.wrongMs)} ms`);
  },
  'MTA away': (world, chance) =>
    during(
      world,
      chance.between(1_000, 60_000),
      'MTA away',
      () => {
        world.mta.isUp = false;
      },
      () => {
        world.mta.isUp = true;
      },
    ),
  'MTA in trouble': (world, chance) =>
    during(
      world,
      chance.between(5_000, 60_000),
      'MTA in trouble',
      () => {
        world.mta.deferring = chance.between(0, 0.4);
        world.mta.lostBefore = chance.between(0, 0.2);
        world.mta.lostAfter = chance.between(0, 0.2);
        world.mta.hanging = chance.between(0, 0.05);
      },
      world.mta.heal,
    ),
  'polite restart': (world, chance) => {
    const { life, booted } = aNode(world, chance);
    if (life === null || booted === null) return;
    world.timeline.note(`NEMESIS polite restart of ${life.name}`);
    void booted.stop().then(() => life.die('stopped politely'));
  },
};

/** What ends a process; five times in one hand would be its chunk's fault (runner.ts), and parked. */
const DEADLY = ['crash', 'crash at an await', 'power cut', 'lost machine'];
const DEATHS_MAX = 4;

/** Lets things go wrong until `untilMs`; then everything is mended. */
export function unleash(world: World, chance: Chance, untilMs: number): void {
  const favourites = Object.keys(FAULTS).filter(() => chance.is(0.4));
  const everyMs = chance.between(4_000, 30_000);
  let deaths = 0;
  world.timeline.note(`NEMESIS has ${favourites.join(', ')}; one in ${Math.round(everyMs)} ms`);
  const strike = (): void => {
    if (world.timeline.now() >= untilMs) {
      mend(world);
      return;
    }
    if (favourites.length > 0) {
      const name = chance.pick(favourites);
      if (DEADLY.includes(name)) deaths += 1;
      if (!DEADLY.includes(name) || deaths <= DEATHS_MAX) {
        world.timeline.note(`NEMESIS ${name}`);
        FAULTS[name]?.(world, chance);
      }
    }
    world.timeline.after(chance.between(0, 2 * everyMs), '', strike);
  };
  world.timeline.after(chance.between(0, 2 * everyMs), '', strike);
}

function mend(world: World): void {
  world.timeline.note('NEMESIS rests: all is mended');
  world.net.heal();
  world.mta.heal();
  world.bus.ledger.fault = () => null;
  for (const { life } of world.nodes) if (life?.isPaused()) life.resume();
  world.bus.poke();
}
