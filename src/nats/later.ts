/**
 * What must wait: messages that the server itself keeps and sends when they are due (NATS ADR-51).
 *
 * A schedule stands on `troupe.later.<id>` and is sent to `troupe.due.<id>`, from where one runner
 * forwards it. The same subject replaces, a purge cancels, and what fell due while the server was
 * down is sent when it is back.
 *
 * Times are the caller's; the server fires by its own clock. So what a caller's clock is ahead or
 * behind is taken off: whoever wants to wait for a minute waits for a minute.
 */
import { assert } from '../assert.ts';
import { systemClock } from '../clock.ts';
import { MailError } from '../errors.ts';
import type { Clock, Later } from '../world.ts';
import { encodeDue } from './codec.ts';
import type { Nats } from './connect.ts';
import type { Publisher } from './publisher.ts';
import { apiRequest, failure, storedMessage } from './stored.ts';
import { subjectsIn } from './stored-subjects.ts';
import type { StreamName } from './streams.ts';
import { DUE, later, laterUnder } from './subjects.ts';

const STREAM: StreamName = 'TROUPE_LATER';
const ID = /^[a-z0-9-]+(\.[a-z0-9-]+)*$/;
const ID_LENGTH_MAX = 200;
/**
 * The server cannot refuse when this stream is full, it drops the oldest (streams.ts): so we stop
 * before that.
 */
const FULL_FRACTION = 0.9;
/**
 * How long a look at the stream's fill holds, ms; what this process puts meanwhile is counted on
 * top.
 */
const LOOK_MS = 1_000;
/** A time in the past is due at once. */
const AT_ONCE = 0;
/** Clocks this near each other are taken for the same, ms: an answer takes time too. */
const SKEW_MS_MAX = 2_000;

type Look = { readonly room: number; readonly skewMs: number };

/** Throws MailError 452 4.3.1 when there is no room, 451 4.3.0 when NATS is away. */
export function createLater<C>(
  nats: Nats,
  publisher: Publisher,
  clock: Pick<Clock, 'now'> = systemClock,
): Later<C> {
  let look: { readonly at: number; readonly seen: Promise<Look> } | null = null;
  let putSince = 0;
  const lookNow = (): Promise<Look> => {
    const now = performance.now();
    if (look !== null && now - look.at <= LOOK_MS) return look.seen;
    const seen = lookAt(nats, clock);
    look = { at: now, seen };
    putSince = 0;
    seen.catch(() => {
      look = null;
    });
    return seen;
  };
  async function schedule(id: string, at: number, data: Uint8Array): Promise<void> {
    const looking = lookNow();
    putSince += data.length;
    const { room, skewMs } = await looking;
    if (putSince > room) {
      throw new MailError(452, '4.3.1', 'Mail system is full', new Error(`${STREAM} is full`));
    }
    await publisher.publish(later(id), data, {
      headers: {
        'Nats-Schedule': `@at ${new Date(Math.max(AT_ONCE, at - skewMs)).toISOString()}`,
        'Nats-Schedule-Target': `${DUE}.${id}`,
      },
    });
  }
  return {
    async put(id, at, due) {
      checkId(id);
      await schedule(id, at, encodeDue(due));
    },
    async hasten(prefix) {
      checkId(prefix);
      for (const subject of await subjectsIn(nats, STREAM, laterUnder(prefix))) {
        const found = await storedMessage(nats, STREAM, { last_by_subj: subject });
        // What fell due meanwhile is gone from here.
        if (found !== null) await schedule(subject.slice(later('').length), AT_ONCE, found.data);
      }
    },
    async cancel(id) {
      checkId(id);
      const subject = `$JS.API.STREAM.PURGE.${STREAM}`;
      const answer = await apiRequest(nats, subject, { filter: later(id) });
      if (answer.error !== undefined) throw failure(answer.error);
    },
  };
}

function checkId(id: string): void {
  assert(id.length <= ID_LENGTH_MAX && ID.test(id), 'the id of what waits is no subject token');
}

/** Bytes that may still be put, and by how much our clock is ahead of the server's. */
async function lookAt(nats: Nats, clock: Pick<Clock, 'now'>): Promise<Look> {
  const askedAt = clock.now();
  const answer = await apiRequest(nats, `$JS.API.STREAM.INFO.${STREAM}`, {});
  if (answer.error !== undefined) throw failure(answer.error);
  const { max_bytes: max } = answer.config as { max_bytes: number };
  const { bytes } = answer.state as { bytes: number };
  const room = max <= 0 ? Number.POSITIVE_INFINITY : max * FULL_FRACTION - bytes;
  const skewMs = (askedAt + clock.now()) / 2 - Date.parse(String(answer.ts));
  return { room, skewMs: Math.abs(skewMs) > SKEW_MS_MAX ? Math.round(skewMs) : 0 };
}
