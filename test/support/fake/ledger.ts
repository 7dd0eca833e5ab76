/** A ledger in memory, held to the same contract as the real one; it can lose answers on demand. */
import type { ListKey } from '../../../src/mail/list-key.ts';
import { ledger as subjectOf } from '../../../src/nats/subjects.ts';
import type { Appended, Ledger, StoredRecord } from '../../../src/world.ts';

/** What happens to the next append: stored but not answered, neither, or no room. */
export type LedgerFault = 'doubt-stored' | 'doubt-lost' | 'full';

export type FakeLedger = Ledger & {
  /** Asked at each append; null lets it pass. */
  fault: (slot: number, topic: ListKey | 'owner') => LedgerFault | null;
  /** All records there are, oldest first. */
  readonly records: readonly FakeRecord[];
};

export type FakeRecord = StoredRecord & {
  readonly slot: number;
  readonly topic: ListKey | 'owner';
};

export function createFakeLedger(): FakeLedger {
  const records: FakeRecord[] = [];
  const lastOf = new Map<string, FakeRecord>();
  const followers = new Set<() => void>();
  const append = (
    slot: number,
    topic: ListKey | 'owner',
    bytes: Uint8Array,
    expected: number,
  ): Appended => {
    const fault = fake.fault(slot, topic);
    if (fault === 'full') return { kind: 'full' };
    if (fault === 'doubt-lost') return { kind: 'doubt' };
    const subject = subjectOf(slot, topic);
    if ((lastOf.get(subject)?.seq ?? 0) !== expected) return { kind: 'refused' };
    const record = { seq: records.length + 1, bytes: bytes.slice(), slot, topic };
    records.push(record);
    for (const wake of followers) wake();
    followers.clear();
    lastOf.set(subject, record);
    return fault === 'doubt-stored' ? { kind: 'doubt' } : { kind: 'stored', seq: record.seq };
  };
  const fake: FakeLedger = {
    fault: () => null,
    records,
    append: async (slot, topic, bytes, expected) => append(slot, topic, bytes, expected),
    async last(slot, topic) {
      const record = lastOf.get(subjectOf(slot, topic));
      return record === undefined ? null : { seq: record.seq, bytes: record.bytes };
    },
    async *read(slot, key, after) {
      const isWanted = (record: FakeRecord): boolean =>
        record.slot === slot && record.topic === key;
      for (const { seq, bytes } of records.slice(after).filter(isWanted)) yield { seq, bytes };
    },
    async *scan(slots, after) {
      for (const { seq, bytes, slot, topic } of records.slice(after)) {
        if (topic !== 'owner' && slots.includes(slot)) yield { seq, bytes, slot, key: topic };
      }
    },
    async *follow(slots, after, signal) {
      const ended = new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve());
      });
      for (let next = after; !signal.aborted; ) {
        const record = records[next];
        if (record === undefined) {
          await Promise.race([ended, new Promise<void>((resolve) => followers.add(resolve))]);
          continue;
        }
        next += 1;
        const { seq, bytes, slot, topic } = record;
        if (topic !== 'owner' && slots.includes(slot)) yield { seq, bytes, slot, key: topic };
      }
    },
    end: async () => records.length,
  };
  return fake;
}
