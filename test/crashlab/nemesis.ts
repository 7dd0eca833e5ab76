/**
 * What goes wrong: a deck of faults, dealt by the seed, one every 0.5–3 s, several under way at
 * once. Each is noted with when it began and ended, and whom it hit.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Chance } from './chance.ts';
import { DEEDS, type FailOver, type Fault, type FaultKind, type Stage } from './faults.ts';

/** Of each kind so many for a hundred kills. */
const SHARES: Readonly<Record<Exclude<FaultKind, 'kill'>, number>> = {
  'owner-kill': 6,
  pause: 16,
  partition: 16,
  'power-cut': 4,
  /** Power goes on all machines at once. */
  blackout: 2,
  'disk-full': 3,
  clock: 8,
  bucket: 4,
  rolling: 2,
};
const GAP_MS = [500, 3_000] as const;

export type NemesisNeeds = Pick<
  Stage,
  'cluster' | 'network' | 'chance' | 'slots' | 'firstCopyAfter' | 'say'
>;

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
  const { cluster, chance } = needs;
  const faults: Fault[] = [];
  const failOvers: FailOver[] = [];
  const underWay = new Set<Promise<void>>();
  const healing = new AbortController();
  const skipped = impossibleIn(needs);
  const wait = (ms: number): Promise<void> =>
    pause(ms, undefined, { signal: healing.signal }).catch(() => undefined);
  const stage: Stage = {
    ...needs,
    failOvers,
    wait,
    mended: new Set(cluster.machines),
    note(kind, what, on, parts) {
      const fault = { kind, what, machines: on, parts, at: Date.now(), until: null };
      faults.push(fault);
      needs.say(`${faults.length} ${kind} ${what}`);
      return fault;
    },
    async allReady() {
      await Promise.all(underWay);
      await cluster.untilReady();
    },
  };
  return {
    faults,
    failOvers,
    skipped,
    async run(kills) {
      for (const kind of deckOf(kills, skipped, chance)) {
        await wait(chance.whole(...GAP_MS));
        const end = await DEEDS[kind](stage);
        const over = end();
        underWay.add(over);
        void over.finally(() => underWay.delete(over));
      }
    },
    async heal() {
      healing.abort();
      await Promise.all(underWay);
      for (const machine of cluster.machines) machine.revive();
      await cluster.untilReady();
    },
  };
}

/** What needs namespaces. */
function impossibleIn({ cluster, network }: NemesisNeeds): readonly FaultKind[] {
  const canFail = cluster.machines.every(({ disk }) => disk.canFail);
  return [
    ...(network.canCut ? [] : (['partition'] as const)),
    ...(canFail ? [] : (['power-cut', 'blackout', 'disk-full'] as const)),
  ];
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
