/**
 * What Troupe cannot do without is tried at each start, where it is relied on: an atomic batch into
 * OUTGOING and a schedule in LATER that is overdue. A version says what a server should know; an
 * account's limits, a setting changed by hand or another server behind the same address say
 * otherwise.
 */
import { headers, type Msg, type MsgHdrs, nuid } from 'nats';
import { MailError, OperatorError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Clock } from '../world.ts';
import type { Nats } from './connect.ts';
import {
  type ApiAnswer,
  apiRequest,
  away,
  failure,
  REQUEST_MS_MAX,
  storedMessage,
} from './stored.ts';
import { KEEP, later, laterUnder } from './subjects.ts';

/** An overdue schedule is sent within a quarter of a second; so long by a server with much to do. */
const FIRED_MS_MAX = 15_000;
const LOOK_AGAIN_MS = 25;
/** The stream has no room (server/errors.json): that says nothing of what the server knows. */
const FULL = [10_002, 10_023, 10_028, 10_047, 10_077];

const TRIED = JSON.stringify({ why: 'tried at start' });
/** Below `troupe.later`, where nothing is taken from. */
const TRIAL = 'trial';

export type TrialNeeds = {
  readonly nats: Nats;
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>;
  readonly log: Log;
};

/**
 * Throws OperatorError where the server refuses a batch or a schedule, or stores it and does not do
 * it. Where it gives no answer or has no room, the log says that it could not be tried.
 */
export async function tryServer(needs: TrialNeeds): Promise<void> {
  await Promise.all([
    judge(needs, 'atomic batches', () => tryBatch(needs)),
    judge(needs, 'message schedules', () => trySchedule(needs)),
  ]);
}

/** `attempt` gives what speaks against the server, or null. */
async function judge(
  { log }: TrialNeeds,
  what: string,
  attempt: () => Promise<string | null>,
): Promise<void> {
  let why: string | null;
  try {
    why = await attempt();
  } catch (error) {
    if (!(error instanceof MailError)) throw error;
    log.warn({ what, error: textOf(error.cause) }, 'whether NATS does it could not be tried');
    return;
  }
  if (why === null) return;
  throw new OperatorError(
    `the NATS server was tried and does not do ${what}: ${why}`,
    'Use nats-server 2.12.5 or newer (2.15 is recommended); `troupe doctor` tells settings that are not ours.',
  );
}

/** On a subject that no consumer takes from (`keep.ts`), which keeps some messages anyway. */
async function tryBatch({ nats }: TrialNeeds): Promise<string | null> {
  const subject = KEEP.get('TROUPE_OUTGOING') ?? '';
  const batch = (sequence: number): MsgHdrs => {
    const made = headers();
    made.set('Nats-Batch-Id', id);
    made.set('Nats-Batch-Sequence', String(sequence));
    return made;
  };
  const id = nuid.next();
  const commit = batch(2);
  commit.set('Nats-Batch-Commit', '1');
  const answer = await answered(async () => {
    nats.nc.publish(subject, TRIED, { headers: batch(1) });
    return await nats.nc.request(subject, TRIED, { headers: commit, timeout: REQUEST_MS_MAX });
  });
  return refusalOf(answer) ?? (answer.count === 2 ? null : 'it stores the messages one by one');
}

async function trySchedule({ nats, clock }: TrialNeeds): Promise<string | null> {
  const id = `${TRIAL}.${nuid.next().toLowerCase()}`;
  const [subject, target] = [later(`${id}.due`), later(`${id}.sent`)];
  const schedule = headers();
  schedule.set('Nats-Schedule', `@at ${new Date(0).toISOString()}`);
  schedule.set('Nats-Schedule-Target', target);
  try {
    const options = { headers: schedule, timeout: REQUEST_MS_MAX };
    const answer = await answered(() => nats.nc.request(subject, TRIED, options));
    const refusal = refusalOf(answer);
    if (refusal !== null) return refusal;
    const deadline = clock.monotonic() + FIRED_MS_MAX;
    while (clock.monotonic() < deadline) {
      const fired = await storedMessage(nats, 'TROUPE_LATER', { last_by_subj: target });
      if (fired !== null) return null;
      await clock.sleep(LOOK_AGAIN_MS);
    }
    return `nothing came of one that was due, within ${FIRED_MS_MAX / 1_000} s`;
  } finally {
    await apiRequest(nats, '$JS.API.STREAM.PURGE.TROUPE_LATER', { filter: laterUnder(id) });
  }
}

/** Throws MailError 451 4.3.0 when there is no answer. */
async function answered(ask: () => Promise<Msg>): Promise<ApiAnswer> {
  try {
    return (await ask()).json<ApiAnswer>();
  } catch (error) {
    throw away(error);
  }
}

/** In the server's words; null where it refused nothing. Throws MailError 451 4.3.0 where it may do so later. */
function refusalOf({ error }: ApiAnswer): string | null {
  if (error === undefined) return null;
  if (error.code === 503 || FULL.includes(error.err_code ?? 0)) throw failure(error);
  return error.description ?? `err ${error.err_code ?? 0}`;
}
