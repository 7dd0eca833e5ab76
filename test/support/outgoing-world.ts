/** The outgoing runner over a fake MTA, a pool of the real kind and a journal in memory. */
import { silentLog } from '../../src/log.ts';
import type { Chunk } from '../../src/mail/chunk.ts';
import { createPool, type Pool } from '../../src/smtp/pool.ts';
import type { Journal } from '../../src/world.ts';
import { createFakeClock, type FakeClock } from './fake/clock.ts';
import { createFakeJournal } from './fake/journal.ts';
import { createFakeSmtp, type FakeSmtp } from './fake/smtp.ts';
import { member, type OutgoingStory, outgoingStory } from './outgoing-story.ts';

const pools: Pool[] = [];

/** For `afterEach`. */
export function stopPools(): void {
  for (const pool of pools.splice(0)) pool.stop();
}

export type OutgoingWorld = OutgoingStory & {
  readonly smtp: FakeSmtp;
  readonly clock: FakeClock;
  readonly journal: Journal;
  readonly pool: Pool;
  /** The same world after its process was killed: the journal is what is left. */
  restarted(): OutgoingStory;
};

export function startOutgoing(
  options: { connectionsMax?: number; recipientsMax?: number; raw?: null } = {},
): OutgoingWorld {
  const smtp = createFakeSmtp();
  const clock = createFakeClock();
  const { journal } = createFakeJournal(clock);
  const pool = createPool({ name: 'mta', smtp, clock, log: silentLog, ...options });
  pools.push(pool);
  const story = outgoingStory({
    route: pool,
    journal,
    clock,
    ...('raw' in options && { raw: null }),
  });
  const restarted = (): OutgoingStory => {
    const next = createPool({ name: 'mta', smtp, clock, log: silentLog, ...options });
    pools.push(next);
    return outgoingStory({ route: next, journal, clock, before: story });
  };
  return { ...story, smtp, clock, journal, pool, restarted };
}

/** Each copy that the MTA took, in order. */
export const recipients = (smtp: FakeSmtp): string[] =>
  smtp.mails.flatMap((mail) => mail.recipients);
/** The addresses of the recipients with these indices. */
export const members = (...indices: readonly number[]): string[] => indices.map(member);
/** Sends to some, and then its process is gone: nothing after the journal's note happens. */
export async function crashAfter(accepted: number, it: OutgoingWorld, chunk: Chunk): Promise<void> {
  const crash = new Promise<never>(() => undefined);
  const crashed = Promise.withResolvers<void>();
  const { pace } = it.smtp;
  let begun = 0;
  it.smtp.pace = async () => {
    begun += 1;
    if (begun <= accepted) return;
    crashed.resolve();
    await crash;
  };
  void it.dispose(chunk);
  await crashed.promise;
  it.smtp.pace = pace;
}
