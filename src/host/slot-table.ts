/** The slots bucket: which node holds which slot, changed by compare-and-set only. It places; the ledger's epochs decide. */
import { ReplacedError } from '../errors.ts';
import { SLOTS } from '../mail/list-key.ts';
import { type SlotRow, slotRowOf, writtenRow } from '../nats/node-rows.ts';
import type { Kv } from '../world.ts';

export type SlotTable = {
  get(slot: number): SlotRow | null;
  /** What the leader says, which {@link get} may not know yet. Throws MailError 451 while NATS is away. */
  read(slot: number): Promise<SlotRow | null>;
  /** False if somebody changed the row meanwhile. Throws MailError 451 when it is not known. */
  set(slot: number, row: SlotRow): Promise<boolean>;
  readonly ended: Promise<void>;
};

type Kept = { readonly row: SlotRow; readonly revision: number };

/** Resolves once the table has been read; `changed` is called after each change. */
export async function followSlots(
  kv: Kv,
  changed: (slot: number) => void,
  signal: AbortSignal,
): Promise<SlotTable> {
  const table = new Map<number, Kept>();
  const ready = Promise.withResolvers<void>();

  function note(slot: number, value: Uint8Array | null, revision: number): void {
    const before = table.get(slot);
    if (before !== undefined && before.revision >= revision) return;
    if (value === null) table.delete(slot);
    else table.set(slot, { row: slotRowOf(value), revision });
  }

  async function follow(): Promise<void> {
    try {
      for await (const row of kv.watch(signal)) {
        if (row === 'ready') {
          ready.resolve();
          continue;
        }
        note(Number(row.key), row.value, row.revision);
        changed(Number(row.key));
      }
    } catch (error) {
      if (!(error instanceof ReplacedError)) throw error;
      table.clear(); // Owners say again what the new bucket does not.
      for (let slot = 0; slot < SLOTS; slot++) changed(slot);
      await follow();
    }
  }

  const get = (slot: number): SlotRow | null => table.get(slot)?.row ?? null;

  async function read(slot: number): Promise<SlotRow | null> {
    const there = await kv.get(String(slot));
    if (there !== null) note(slot, there.value, there.revision);
    return there === null ? null : get(slot);
  }

  const ended = follow();
  ended.catch((error) => ready.reject(error));
  await ready.promise;
  return {
    ...{ get, read },
    set: async (slot, row) => {
      const value = writtenRow(row);
      const before = table.get(slot);
      const revision =
        before === undefined
          ? await kv.create(String(slot), value)
          : await kv.update(String(slot), value, before.revision);
      if (revision === null) {
        await read(slot); // The copy lags: the next try begins from what is there.
        return false;
      }
      note(slot, value, revision);
      return true;
    },
    ended,
  };
}
