/** The strategy `adaptive`, driven: what each route did on this node moves its slice on this node (adaptive.ts). */
import type { Clock } from '../world.ts';
import { ADAPT_EVERY_MS, adapted } from './adaptive.ts';
import type { LiveRoute } from './live-route.ts';

type Counts = ReturnType<LiveRoute['counts']> & { readonly busyMs: number };

/** Moves `factors`, by route, until the signal aborts. */
export async function adapt(
  lives: () => readonly LiveRoute[],
  factors: Map<string, number>,
  clock: Pick<Clock, 'sleep'>,
  signal: AbortSignal,
): Promise<void> {
  let before = measure(lives());
  for (;;) {
    await clock.sleep(ADAPT_EVERY_MS, signal);
    if (signal.aborted) return;
    const now = measure(lives());
    const seen = new Map(
      lives().map(({ settings: { name, weight } }) => {
        const [a, b] = [before.get(name), now.get(name)];
        const since = (of: keyof Counts): number => Math.max(0, (b?.[of] ?? 0) - (a?.[of] ?? 0));
        const [accepted, failed, busyMs] = [since('accepted'), since('failed'), since('busyMs')];
        return [name, { weight, factor: factors.get(name) ?? 1, accepted, failed, busyMs }];
      }),
    );
    factors.clear();
    for (const [name, factor] of adapted(seen)) factors.set(name, factor);
    before = now;
  }
}

function measure(lives: readonly LiveRoute[]): ReadonlyMap<string, Counts> {
  return new Map(
    lives.map(({ settings, counts, hand }) => [
      settings.name,
      { ...counts(), busyMs: hand.busyMs() },
    ]),
  );
}
