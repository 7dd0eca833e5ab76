/**
 * While posts are being sent, bounces come in a group at a time, so that a flood of them takes little of the machine from the posts
 * they come back of: what comes together is stored, read and counted together, for about half of what as many cost one by one
 * (bench during-post). An MTA waits at RCPT for its turn, when nothing of the mail is here yet; nothing is refused or put off.
 */
import type { Clock, Meter } from '../world.ts';
import type { EdgeNeeds, RcptAnswer } from './edge-transaction.ts';

export const GROUP_MS = 1_000;
/** Enough for 72,000 bounces an hour, at 3 % of two slow cores. */
export const GROUP_MAX = 20;
/** Many MTAs at once wait no longer than about this: each of them gives up after 5 minutes (RFC 5321 §4.5.3.2). */
export const TURN_MS_MAX = 5_000;

type Waiting = { readonly since: number; readonly go: () => void };

/** Answers as `resolve` does; for a bounce address with the next group, while posts are being sent. */
export function pacedBounces(
  resolve: EdgeNeeds['resolve'],
  isSending: () => boolean,
  { clock, meter }: { readonly clock: Pick<Clock, 'monotonic' | 'sleep'>; readonly meter: Meter },
): EdgeNeeds['resolve'] {
  /** Oldest first; no more than the edge has connections. */
  const waiting: Waiting[] = [];
  const next = async (): Promise<void> => {
    await clock.sleep(GROUP_MS);
    const late = clock.monotonic() - TURN_MS_MAX;
    const tooLong = waiting.filter(({ since }) => since <= late).length;
    const group = waiting.splice(0, isSending() ? Math.max(GROUP_MAX, tooLong) : waiting.length);
    for (const { go } of group) go();
    if (waiting.length > 0) void next();
  };
  return (address) => {
    const answer = resolve(address);
    if (answer instanceof Promise || 'refuse' in answer || answer.kind !== 'bounce') return answer;
    if (!isSending()) return answer;
    meter.count('edge_bounces_waited');
    return new Promise<RcptAnswer>((settle) => {
      waiting.push({ since: clock.monotonic(), go: () => settle(answer) });
      if (waiting.length === 1) void next();
    });
  };
}
