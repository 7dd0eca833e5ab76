/** One day of a list, for reports. */
import type { Copy } from './copies.ts';
import { added, type Counts } from './storm.ts';

export type Day = {
  /** Copies of posts that came back, or were complained of, and addresses that plain DSNs spoke of. */
  readonly bounces: number;
  readonly hints: number;
  readonly complaints: number;
  readonly reasons: Counts;
  /** `unknown`: a DSN of a copy whose route nobody knew any more. */
  readonly routes: Counts;
};

export const NO_DAY: Day = { bounces: 0, hints: 0, complaints: 0, reasons: {}, routes: {} };
const UNKNOWN = 'unknown';

/** The day with a copy more, or (`by` -1) without it. */
export function withCopy(day: Day, { words }: Copy, by: 1 | -1): Day {
  const what = words[0].kind === 'complaint' ? 'complaints' : 'bounces';
  const routes = new Set(words.flatMap(({ route }) => route ?? []));
  const names = routes.size === 0 ? [UNKNOWN] : [...routes];
  return {
    ...{ ...day, [what]: day[what] + by },
    reasons: added(day.reasons, [...new Set(words.map(({ reason }) => reason))], by),
    routes: added(day.routes, names, by),
  };
}
