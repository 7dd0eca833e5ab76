/**
 * Suspects: addresses that a list of the site found dead by verified bounces, in the bucket
 * `troupe_suspects` that every owner of lists follows (decision 0012).
 *
 *   <base32 of SHA-256 of the address>  → Suspect: who found it, when, and why
 *
 * The first list that finds it writes the row. It goes with its age, or when any list sends to the
 * address again.
 */
import type { Cause } from '../../actors/bounces.ts';
import { MailError } from '../errors.ts';
import { type Address, parseAddress } from '../mail/address.ts';
import { type ListKey, parseListKey } from '../mail/list-key.ts';
import type { Kv } from '../world.ts';
import { BadMessage, check, decode, encode, isCount, isObject } from './codec.ts';
import { entryKey } from './directory.ts';

export type Suspect = {
  readonly address: Address;
  /** The list that found it dead. */
  readonly list: Address;
  readonly key: ListKey;
  /** When, ms since the epoch, by that list's ledger. */
  readonly at: number;
  /** The probe's bounce; without what the other side said, which is that list's own. */
  readonly cause: Cause;
};

/** A row as it stands since `revision`; null: the address is not suspect, or the row is not ours. */
export type SuspectRow = {
  readonly name: string;
  readonly revision: number;
  readonly suspect: Suspect | null;
};

/** Throws MailError 451 4.3.0 while NATS is away; each may be done twice. */
export type Suspects = {
  /** Does nothing where a row stands; false where the bucket has no room. */
  add(suspect: Suspect): Promise<boolean>;
  remove(address: Address): Promise<void>;
  /** All rows by revision, then `ready`, then each change, until the signal aborts. */
  follow(signal: AbortSignal): AsyncIterable<SuspectRow | 'ready'>;
};

/** The name of an address's row. */
export const suspectName = (address: Address): string => entryKey(address);

export function createSuspects(kv: Kv): Suspects {
  return {
    async add(suspect) {
      const cause = { ...suspect.cause, diagnostic: '' };
      try {
        await kv.create(suspectName(suspect.address), encode({ ...suspect, cause }));
        return true;
      } catch (error) {
        // A hint is not worth a queue that waits for room.
        if (error instanceof MailError && error.code === FULL) return false;
        throw error;
      }
    },
    async remove(address) {
      const name = suspectName(address);
      if ((await kv.get(name)) !== null) await kv.delete(name);
    },
    async *follow(signal) {
      for await (const row of kv.watch(signal)) {
        if (row === 'ready') yield row;
        else {
          const suspect = row.value === null ? null : suspectOf(row.value);
          yield { name: row.key, revision: row.revision, suspect };
        }
      }
    },
  };
}

/** The reply code for a stream without room. */
const FULL = 452;

/** Null for what this version did not write. */
function suspectOf(value: Uint8Array): Suspect | null {
  try {
    const { address, list, key, at, cause } = decode(value);
    check(isAddress(address) && isAddress(list) && isCount(at), 'address, list, at');
    const listKey = parseListKey(String(key));
    check(listKey !== null && isCause(cause), 'key, cause');
    return { address, list, key: listKey, at, cause };
  } catch (error) {
    if (error instanceof BadMessage) return null;
    throw error;
  }
}

const isAddress = (value: unknown): value is Address =>
  typeof value === 'string' && parseAddress(value) === value;

function isCause(value: unknown): value is Cause {
  if (!isObject(value)) return false;
  const { seq, reason, status, code, diagnostic } = value;
  return (
    isCount(seq) &&
    typeof reason === 'string' &&
    (status === null || typeof status === 'string') &&
    (code === null || isCount(code)) &&
    diagnostic === ''
  );
}
