/** Dates as mail writes them (RFC 5322 §3.3), always in UTC. */

/** The last second that Date can say in four digits of year. */
const DATE_MAX = Date.UTC(9999, 11, 31, 23, 59, 59);

/** `ms` since the epoch; what is no time, or out of bounds, becomes the nearest that is. */
export function dateOf(ms: number): string {
  const safe = Number.isFinite(ms) ? Math.min(Math.max(ms, 0), DATE_MAX) : 0;
  return new Date(safe).toUTCString().replace('GMT', '+0000');
}
