/**
 * Says a thing at most once in a while for each key, so that a storm of one kind cannot fill the
 * log.
 */
import type { Clock } from '../world.ts';

/** True if `key` may speak now: it has not for the time given. */
export type Throttle = (key: string) => boolean;

/**
 * Keys remembered; past that the one that spoke longest ago is forgotten and may speak again early.
 */
const KEYS_MAX = 10_000;

export function createThrottle(clock: Pick<Clock, 'monotonic'>, everyMs: number): Throttle {
  // A map keeps the order of insertion: the first is the one that spoke longest ago.
  const spokeAt = new Map<string, number>();
  return (key) => {
    const now = clock.monotonic();
    const before = spokeAt.get(key);
    if (before !== undefined && now - before < everyMs) return false;
    spokeAt.delete(key);
    const [oldest] = spokeAt.keys();
    if (spokeAt.size >= KEYS_MAX && oldest !== undefined) spokeAt.delete(oldest);
    spokeAt.set(key, now);
    return true;
  };
}
