/**
 * The strategy `adaptive`: slices follow what each route was seen to do, slowly and within bounds. Pure.
 *
 * A route's speed is what it accepted while it had something in hand, less what it failed. Whoever is faster than the rest
 * for its weight gets a little more, whoever is slower a little less; a route without mail says nothing and stays.
 */

/** Between two moves. */
export const ADAPT_EVERY_MS = 10_000;
/** How far one move goes, and how far all of them may go from the weight that an operator gave. */
export const ADAPT_STEP = 0.1;
export const FACTOR_MIN = 1 / 4;
export const FACTOR_MAX = 4;
/** Below this many recipients a move would follow noise. */
const RECIPIENTS_MIN = 20;

/** Of one route since the last move. */
export type Seen = {
  readonly weight: number;
  readonly factor: number;
  readonly accepted: number;
  readonly failed: number;
  /** Ms with something in hand. */
  readonly busyMs: number;
};

/** The next factors by name; a route's slice is its weight times its factor. */
export function adapted(routes: ReadonlyMap<string, Seen>): ReadonlyMap<string, number> {
  const speeds = new Map(
    [...routes].flatMap(([name, one]) => {
      const speed = speedOf(one);
      return speed === null ? [] : [[name, speed / one.weight] as const];
    }),
  );
  const mean = [...speeds.values()].reduce((sum, speed) => sum + speed / speeds.size, 0);
  return new Map(
    [...routes].map(([name, { factor }]) => {
      const speed = speeds.get(name);
      if (speed === undefined || speeds.size < 2 || mean === 0) return [name, factor];
      return [name, towards(factor, speed / mean)];
    }),
  );
}

function speedOf({ accepted, failed, busyMs }: Seen): number | null {
  const tried = accepted + failed;
  if (tried < RECIPIENTS_MIN || busyMs <= 0) return null;
  return (accepted / busyMs) * (accepted / tried);
}

function towards(factor: number, wanted: number): number {
  const step = Math.min(Math.max(wanted / factor, 1 - ADAPT_STEP), 1 + ADAPT_STEP);
  return Math.min(Math.max(factor * step, FACTOR_MIN), FACTOR_MAX);
}
