/**
 * The ledger: records of facts, compare-and-append per list.
 *
 * No Nats-Msg-Id here: with an expected sequence it can be answered "duplicate" although nothing
 * was stored (reliability §0.4), and same bytes sent again are told apart by the sequence alone.
 * Reads serve recovery and rebuild; what is right never rests on one.
 */
import { assert } from '../assert.ts';
import { systemClock } from '../clock.ts';
import { MailError, textOf } from '../errors.ts';
import { SLOTS } from '../mail/list-key.ts';
import type { Appended, Ledger } from '../world.ts';
import type { Nats } from './connect.ts';
import { type Found, passing } from './passing.ts';
import { type Publisher, WrongSequence } from './publisher.ts';
import { PullLost } from './pull.ts';
import { apiRequest, away, failure, storedMessage } from './stored.ts';
import { MESSAGE_BYTES_MAX, type StreamName } from './streams.ts';
import { LEDGERS, ledgerOfSlot, partsOf, ledger as subjectOf } from './subjects.ts';

const STREAM: StreamName = 'TROUPE_LEDGER';
/** A record's bytes: the largest message without the room for its headers. */
export const RECORD_BYTES_MAX = MESSAGE_BYTES_MAX - 1024;
/** How often in a row a reader that gets nowhere opens again, and at what distance. */
const REOPEN_TRIES_MAX = 20;
const REOPEN_WAIT_MS = 250;

export function createLedger(nats: Nats, publisher: Publisher): Ledger {
  return {
    append: (slot, whose, bytes, expected) =>
      append(publisher, subjectOf(slot, whose), bytes, expected),
    async last(slot, whose) {
      checkConnected(nats);
      const found = await storedMessage(nats, STREAM, { last_by_subj: subjectOf(slot, whose) });
      return found === null ? null : { seq: found.seq, bytes: found.data };
    },
    async *read(slot, key, after) {
      for await (const { seq, bytes } of records(nats, [subjectOf(slot, key)], after)) {
        yield { seq, bytes };
      }
    },
    async *scan(slots, after) {
      if (slots.length === 0) return;
      for await (const { subject, seq, bytes } of records(nats, subjectsOf(slots), after)) {
        const parts = partsOf(subject);
        if (parts === null || parts.whose === 'owner') continue;
        yield { seq, bytes, slot: parts.slot, key: parts.whose };
      }
    },
    async *follow(slots, after, signal) {
      const reached = { seq: after };
      while (!signal.aborted) {
        try {
          for await (const found of passing(nats, of(subjectsOf(slots)), reached, signal)) {
            const parts = partsOf(found.subject);
            if (parts !== null) yield { seq: found.seq, bytes: found.bytes, ...parts };
          }
        } catch (error) {
          if (!(error instanceof PullLost || error instanceof MailError)) throw error;
          nats.log.debug({ error: textOf(error.cause ?? error) }, 'the ledger is followed on');
          await systemClock.sleep(REOPEN_WAIT_MS, signal);
        }
      }
    },
    async end() {
      const answer = await apiRequest(nats, `$JS.API.STREAM.INFO.${STREAM}`, {});
      if (answer.error !== undefined) throw failure(answer.error);
      return (answer.state as { last_seq: number }).last_seq;
    },
  };
}

const of = (subjects: readonly string[]) => ({ stream: STREAM, subjects });

/** One filter where the reader wants every slot: the server then looks at no subject at all. */
function subjectsOf(slots: readonly number[]): readonly string[] {
  const distinct = new Set(slots);
  return distinct.size === SLOTS ? [LEDGERS] : [...distinct].map(ledgerOfSlot);
}

async function append(
  publisher: Publisher,
  subject: string,
  bytes: Uint8Array,
  expected: number,
): Promise<Appended> {
  assert(bytes.length <= RECORD_BYTES_MAX, 'a record is larger than a turn may make it');
  try {
    const { seq } = await publisher.publish(subject, bytes, { expectLast: expected });
    return { kind: 'stored', seq };
  } catch (error) {
    if (error instanceof WrongSequence) return { kind: 'refused' };
    if (error instanceof MailError && error.code === 452) return { kind: 'full' };
    return { kind: 'doubt' };
  }
}

/**
 * What the subjects hold above `after`, in order, up to the last there is when asked. A lost
 * connection is waited for and reading goes on where it was. Throws MailError 451 4.3.0 when that
 * does not help.
 */
async function* records(
  nats: Nats,
  subjects: readonly string[],
  after: number,
): AsyncGenerator<Found, void, void> {
  const reached = { seq: after };
  for (let tries = 0; tries < REOPEN_TRIES_MAX; ) {
    const before = reached.seq;
    try {
      yield* passing(nats, of(subjects), reached);
      return;
    } catch (error) {
      if (!(error instanceof PullLost || error instanceof MailError)) throw error;
      nats.log.debug({ error: textOf(error.cause ?? error) }, 'the ledger is read on');
    }
    tries = reached.seq > before ? 0 : tries + 1;
    await systemClock.sleep(REOPEN_WAIT_MS);
  }
  throw away(new Error('the ledger could not be read'));
}

/** A request without a connection would only wait for its time-out. */
function checkConnected(nats: Nats): void {
  if (!nats.isConnected()) throw away(new Error('not connected'));
}
