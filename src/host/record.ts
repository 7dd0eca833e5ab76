/**
 * A record: one turn of one list, as it stands in the ledger for ever.
 *
 * `n` is contiguous from 1; `prev` is the hash of the record before, so that a history that was cut, mended or mixed up
 * shows; `epoch` is the owner's. Shapes only grow.
 */
import { createHash } from 'node:crypto';
import type { Fact } from '../../actors/protocol.ts';
import { assert } from '../assert.ts';
import type { Done } from '../store/list-rows.ts';

export type Entry = { readonly commandId: string; readonly facts: readonly Fact[] };

export type LedgerRecord = {
  readonly n: number;
  readonly epoch: number;
  readonly prev: string;
  /** Milliseconds since the epoch; never before the record's before. */
  readonly at: number;
  /** How far the outbox is done; absent where nothing has changed. */
  readonly done?: Done;
  readonly entries: readonly Entry[];
};

/** The bytes of a record. Entries come as JSON already, since the turn has measured them. */
export function encodeRecord(
  record: Omit<LedgerRecord, 'entries'>,
  entries: readonly string[],
): Uint8Array {
  const { n, epoch, prev, at, done } = record;
  const head = JSON.stringify({ n, epoch, prev, at, ...(done ? { done } : {}) });
  return Buffer.from(`${head.slice(0, -1)},"entries":[${entries.join(',')}]}`);
}

/** Parses what the ledger holds; a record that is none is a bug or another program's. */
export function decodeRecord(bytes: Uint8Array): LedgerRecord {
  const record = JSON.parse(Buffer.from(bytes).toString()) as LedgerRecord;
  assert(
    Number.isInteger(record.n) && Number.isInteger(record.epoch) && Array.isArray(record.entries),
    'not a record of the ledger',
  );
  return record;
}

/** The link of the chain: SHA-256 of a record's bytes, base64url. */
export function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64url');
}
