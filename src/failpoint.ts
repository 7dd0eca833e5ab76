/**
 * Failpoints: places where a test may have the process die, as by a power button.
 *
 * `CRASH_AT=<when> <what>:<n>` ends the process when it comes for the n-th time to a place whose
 * name begins so: `CRASH_AT='stored troupe.ledger:65'`. Without the variable, as ever outside of
 * tests, a place costs one comparison.
 */
const [wanted, count = '1'] = process.env.CRASH_AT?.split(':') ?? [];
let left = Number(count);

/** Marks a place: `stored` or `publish` and a subject, `ack` and a subject, `accepted`, … */
export function crashPoint(when: string, what = ''): void {
  if (wanted === undefined || !`${when} ${what}`.startsWith(wanted)) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
}
