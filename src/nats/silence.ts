/**
 * What the server takes and never acknowledges, though it is there and answers everything else.
 *
 * A stream whose disk was full does so: nats-server 2.15.1 gives no error, and goes on giving none when there is room again, until
 * it is restarted (measured). Only who publishes can see it.
 */
import { MailError } from '../errors.ts';

/** Unanswered over so long without one answer between: a slow disk is slow for less. */
const SILENT_MS_MIN = 10_000;

export type Silence = {
  /** Runs a publish to the subject, and notes whether it was answered; refused is answered too. */
  watch<T>(subject: string, publish: () => Promise<T>): Promise<T>;
  /** The kinds of subject (`mail`, `ledger`) that are not answered now. */
  silent(): readonly string[];
  /** The connection changed: nothing is known of the server there is now. */
  forget(): void;
};

type Unanswered = { readonly first: number; last: number };

export function createSilence(needs: {
  readonly monotonic: () => number;
  readonly isConnected: () => boolean;
}): Silence {
  const unanswered = new Map<string, Unanswered>();

  function note(kind: string): void {
    const now = needs.monotonic();
    const before = unanswered.get(kind);
    if (before === undefined) unanswered.set(kind, { first: now, last: now });
    else before.last = now;
  }

  return {
    async watch(subject, publish) {
      const kind = subject.split('.')[1] ?? subject;
      try {
        const answer = await publish();
        unanswered.delete(kind);
        return answer;
      } catch (error) {
        const isSilent = error instanceof MailError && error.code === 451;
        if (!isSilent) unanswered.delete(kind);
        else if (needs.isConnected()) note(kind);
        throw error;
      }
    },
    silent: () =>
      [...unanswered]
        .filter(([, { first, last }]) => last - first >= SILENT_MS_MIN)
        .map(([kind]) => kind),
    forget: () => unanswered.clear(),
  };
}
