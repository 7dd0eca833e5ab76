/**
 * How many recipients of one envelope each MTA takes: what its route says, or fewer where it has answered that it was too many
 * (452 4.5.3). Each process learns for itself, and forgets: an MTA is changed by its operator, too.
 */
import type { Clock, Route } from '../world.ts';

const FORGOTTEN_MS = 24 * 60 * 60_000;

type Named = Pick<Route, 'name' | 'recipientsMax'>;

export type RecipientLimits = {
  /** At least 1. */
  of(route: Named): number;
  /** It took so many of an envelope, and said that the others were too many. */
  learn(route: Named, max: number): void;
};

export function createRecipientLimits(clock: Pick<Clock, 'monotonic'>): RecipientLimits {
  /** As many as there are routes. */
  const learned = new Map<string, { readonly max: number; readonly until: number }>();
  return {
    of({ name, recipientsMax }) {
      const known = learned.get(name);
      if (known === undefined || clock.monotonic() > known.until) return recipientsMax;
      return Math.min(known.max, recipientsMax);
    },
    learn({ name }, max) {
      learned.set(name, { max: Math.max(1, max), until: clock.monotonic() + FORGOTTEN_MS });
    },
  };
}
