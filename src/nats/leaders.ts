/**
 * Starting before the servers are ready: a cluster that comes up, after a power cut say, answers
 * nothing until it has elected who leads it and each stream. Whoever starts meanwhile waits, says
 * so once, and goes on by itself.
 */
import { MailError, OperatorError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Clock } from '../world.ts';

/** JetStream is there, or is to be, and nobody leads it yet. */
export class NoLeaderError extends OperatorError {
  constructor(cause: unknown) {
    super(
      `the NATS servers have no leader, or do not answer: ${textOf(cause)}`,
      'See that most of them run, reach each other and have room on their disks; then try again.',
      cause,
    );
  }
}

/** Servers with much to recover take minutes; what takes longer needs a person. */
const WAIT_MS_MAX = 15 * 60_000;
const AGAIN_MS = 500;

export type Patience = {
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>;
  readonly log: Log;
  /** Ends the wait: the process is to stop. */
  readonly signal: AbortSignal;
  /** Called before each wait: what is to be there meanwhile. */
  readonly whileWaiting?: () => Promise<void>;
};

/**
 * What `step` gives, tried again while the servers have no leader for what it asks; it must be safe
 * to do again. Throws NoLeaderError when they still have none after {@link WAIT_MS_MAX}, and
 * whatever else `step` throws.
 */
export async function onceLed<T>(step: () => Promise<T>, patience: Patience): Promise<T> {
  const { clock, log, signal, whileWaiting } = patience;
  const deadline = clock.monotonic() + WAIT_MS_MAX;
  for (let tries = 1; ; tries++) {
    try {
      const found = await step();
      if (tries > 1) log.info({ tries }, 'NATS answers');
      return found;
    } catch (error) {
      if (!mayPass(error) || signal.aborted) throw error;
      const cause = error instanceof MailError ? error.cause : error;
      if (clock.monotonic() > deadline) throw new NoLeaderError(cause);
      if (tries === 1) log.warn({ error: textOf(cause) }, 'waiting for NATS: it has no leader yet');
    }
    await whileWaiting?.();
    await clock.sleep(AGAIN_MS, signal);
  }
}

const mayPass = (error: unknown): boolean =>
  error instanceof NoLeaderError || (error instanceof MailError && error.isTransient);
