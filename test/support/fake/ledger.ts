/** A ledger in memory, held to the same contract as the real one; it can lose answers on demand. */
import type { ListKey } from '../../../src/mail/list-key.ts';
import { ledger as subjectOf } from '../../../src/nats/subjects.ts';
import type { Appended, Ledger, StoredRecord } from '../../../src/world.ts';

/** What happens to the next append: stored but not answered, neither, or no room. */
export type LedgerFault = 'doubt-stored' | 'doubt-lost' | 'full';

export type FakeLedger = Ledger & {
  /** Asked at each append; null lets it pass. */
  fault: (slot: number, whose: ListKey | 'owner') => LedgerFault | null;
  /** All records there are, oldest first. */
  readonly records: readonly FakeRecord[];
};

export type FakeRecord = StoredRecord & {
  readonly slot: number;
  readonly whose: ListKey | 'owner';
};

export function createFakeLedger(): FakeLedger {
  const records: FakeRecord[] = [];
  const lastOf = new Map<string, FakeRecord>();
  const followers = new Set<() => void>();
  const append = (
    slot: number,
    whose: ListKey | 'owner',
    bytes: Uint8Array,
    expected: number,
  ): Appended => {
    const fault = fake.fault(slot, whose);
    if (fault === 'full') return { kind: 'full' };
    if (fault === 'doubt-lost') return { kind: 'doubt' };
    const subject = subjectOf(slot, whose);
    if ((lastOf.get(subject)?.seq ?? 0) !== expected) return { kind: 'refused' };
    const record = { seq: records.length + 1, bytes: bytes.slice(), slot, whose };
    records.push(record);
    for (const wake of followers) wake();
    followers.clear();
    lastOf.set(subject, record);
    return fault === 'doubt-stored' ? { kind: 'doubt' } : { kind: 'stored', seq: record.seq };
  };
  const fake: FakeLedger = {
    fault: () => null,
    records,
    append: async (slot, whose, bytes, expected) => append(slot, whose, bytes, expected),
    async last(slot, whose) {
      const record = lastOf.get(subjectOf(slot, whose));
      return record === undefined ? null : { seq: record.seq, bytes: record.bytes };
    },
    async *read(slot, key, after) {
      const isWanted = (record: FakeRecord): boolean =>
        record.slot === slot && record.whose === key;
      for (const { seq, bytes } of records.slice(after).filter(isWanted)) yield { seq, bytes };
    },
    async *scan(slots, after) {
      for (const { seq, bytes, slot, whose } of records.slice(after)) {
        if (whose !== 'owner' && slots.includes(slot)) yield { seq, bytes, slot, key: whose };
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
        const { seq, bytes, slot, whose } = record;
        if (whose !== 'owner' && slots.includes(slot)) yield { seq, bytes, slot, key: whose };
      }
    },
    end: async () => records.length,
  };
  return fake;
}
