/**
 * Bounces come in at a steady pace while posts are being sent, so that a flood of them takes little of the machine from the posts
 * they come back of. An MTA waits at RCPT for its turn, when nothing of the mail is here yet; nothing is refused or put off.
 */
import type { Clock, Meter } from '../world.ts';
import type { EdgeNeeds } from './edge-transaction.ts';

/** Enough for 72,000 an hour; at 50 a second, posts took a third longer on a slow machine (bench during-post). */
export const BOUNCES_PER_SECOND = 20;
/** Many MTAs at once wait no longer than this: each of them gives up after 5 minutes (RFC 5321 §4.5.3.2). */
export const TURN_MS_MAX = 5_000;

/** Answers as `resolve` does; for a bounce address later, while posts are being sent. */
export function pacedBounces(
  resolve: EdgeNeeds['resolve'],
  isSending: () => boolean,
  { clock, meter }: { readonly clock: Pick<Clock, 'monotonic' | 'sleep'>; readonly meter: Meter },
): EdgeNeeds['resolve'] {
  let nextAt = 0;
  return (address) => {
    const answer = resolve(address);
    if (answer instanceof Promise || 'refuse' in answer || answer.kind !== 'bounce') return answer;
    if (!isSending()) return answer;
    const now = clock.monotonic();
    const at = Math.min(Math.max(nextAt, now), now + TURN_MS_MAX);
    nextAt = at + 1_000 / BOUNCES_PER_SECOND;
    if (at === now) return answer;
    meter.count('edge_bounces_waited');
    return clock.sleep(at - now).then(() => answer);
  };
}
