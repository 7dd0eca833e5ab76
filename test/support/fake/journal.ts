/**
 * The journal and the suspects in memory, held to the same contract as the store
 * (`test/contract/journal.ts`).
 */
import type { By } from '../../../src/mail/chunk.ts';
import type { Clock, HeldChunk, Journal, Suspects } from '../../../src/world.ts';

export type FakeJournal = {
  readonly journal: Journal;
  readonly suspects: Suspects;
};

export function createFakeJournal(clock: Clock): FakeJournal {
  const open = new Map<string, HeldChunk & { readonly accepted: Map<number, By> }>();
  const deaths = new Map<string, number>();
  return {
    journal: {
      held: () =>
        [...open.values()].map((chunk) => ({ ...chunk, accepted: new Map(chunk.accepted) })),
      acceptedOf: (name) => open.get(name)?.accepted ?? new Map(),
      open(name, ackToken, data) {
        const accepted = open.get(name)?.accepted ?? new Map();
        open.set(name, { name, ackToken, data, accepted, renewedAt: clock.now() });
      },
      renewed(name) {
        const chunk = open.get(name);
        if (chunk !== undefined) open.set(name, { ...chunk, renewedAt: clock.now() });
      },
      accepted(name, numbers, by) {
        for (const number of numbers) open.get(name)?.accepted.set(number, by);
      },
      close: (name) => void open.delete(name),
    },
    suspects: {
      begin(id) {
        const before = deaths.get(id);
        const now = before === undefined ? 0 : before + 1;
        deaths.set(id, now);
        return now;
      },
      end: (id) => void deaths.delete(id),
    },
  };
}
