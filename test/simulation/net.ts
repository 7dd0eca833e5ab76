/**
 * The network of a simulated world: between every process and the bus a message takes a while, may be lost, may come late,
 * and does not come at all while the process is cut off or the bus is away.
 */
import type { Chance } from './chance.ts';
import type { Timeline } from './timeline.ts';

export type Net = {
  /** How likely a message is lost, or so late that nobody waits for it any more. */
  lossy: number;
  tardy: number;
  /** The slowest ordinary message, ms. */
  slowMs: number;
  isBusUp: boolean;
  /** Nodes that are cut off from the bus. */
  readonly cut: Set<string>;
  /** Carries a message between a node and the bus; `arrive` is never called if it is lost. */
  carry(node: string, what: string, arrive: () => void): void;
  /** No faults any more; what is late comes still. */
  heal(): void;
};

/** The usual round trip is under a few milliseconds. */
const QUICK_MS = 3;
/** What is late is so late that its sender has given up on it. */
const TARDY_MS: readonly [number, number] = [4_000, 15_000];

/** What happens all the time is left out of the trace. */
export const DULL = /watch|follow/;

export function createNet(timeline: Timeline, chance: Chance): Net {
  const net: Net = {
    lossy: 0,
    tardy: 0,
    slowMs: QUICK_MS,
    isBusUp: true,
    cut: new Set(),
    carry(node, what, arrive) {
      const note = (fate: string): void => {
        if (!DULL.test(what)) timeline.note(`${fate}: ${what}`);
      };
      if (chance.is(net.lossy)) return note('lost');
      const isTardy = chance.is(net.tardy);
      const ms = isTardy ? chance.between(...TARDY_MS) : chance.between(0.1, net.slowMs);
      timeline.after(ms, '', () => {
        if (!net.isBusUp || net.cut.has(node)) return note('cut off');
        if (isTardy) note('late');
        arrive();
      });
    },
    heal() {
      net.lossy = 0;
      net.tardy = 0;
      net.slowMs = QUICK_MS;
      net.isBusUp = true;
      net.cut.clear();
    },
  };
  return net;
}
