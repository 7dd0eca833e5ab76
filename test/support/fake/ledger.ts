/** A ledger in memory, held to the same contract as the real one; it can lose answers on demand. */
import type { ListKey } from '../../../src/mail/list-key.ts';
import { ledger as subjectOf } from '../../../src/nats/subjects.ts';
import type { Appended, Ledger, StoredRecord } from '../../../src/world.ts';

/**
 * What happens to the next append: stored but not answered, stored only after the next read of it, neither, or no room.
 */
export type LedgerFault = 'doubt-stored' | 'doubt-late' | 'doubt-lost' | 'full';

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
  /** Appends on their way. */
  const late: (() => void)[] = [];
  const arrive = (): void => {
    for (const store of late.splice(0)) store();
  };
  const append = (
    slot: number,
    whose: ListKey | 'owner',
    bytes: Uint8Array,
    expected: number,
  ): Appended => {
    arrive();
    const fault = fake.fault(slot, whose);
    if (fault === 'full') return { kind: 'full' };
    if (fault === 'doubt-lost') return { kind: 'doubt' };
    if (fault !== 'doubt-late') return store(slot, whose, bytes, expected, fault);
    late.push(() => store(slot, whose, bytes, expected, null));
    return { kind: 'doubt' };
  };
  const store = (
    slot: number,
    whose: ListKey | 'owner',
    bytes: Uint8Array,
    expected: number,
    fault: 'doubt-stored' | null,
  ): Appended => {
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
      arrive();
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
        if (slots.includes(record.slot)) yield record;
      }
    },
    end: async () => records.length,
  };
  return fake;
}
