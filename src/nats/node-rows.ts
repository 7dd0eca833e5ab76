/** What the buckets `troupe_nodes` and `troupe_slots` hold, as JSON: who lives, and who has which slot. */

/** A node's lease: what it says of itself. */
export type NodeRow = {
  readonly node: string;
  /** Another one each time the node starts. */
  readonly incarnation: string;
  readonly roles: readonly string[];
  readonly version: string;
  readonly pid: number;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly isDraining: boolean;
  /** Counts renewals: tells a row of ours that was written in doubt. */
  readonly beat: number;
};

/** Who holds a slot, or was handed it and is about to; `node` is null where nobody lives to have it, or nobody ever had it. */
export type SlotRow = {
  readonly node: string | null;
  readonly incarnation: string;
  /** Since when, ms since the epoch. */
  readonly at: number;
};

export const writtenRow = (row: NodeRow | SlotRow): Uint8Array => Buffer.from(JSON.stringify(row));
export const nodeRowOf = (value: Uint8Array): NodeRow => parsed(value) as NodeRow;
export const slotRowOf = (value: Uint8Array): SlotRow => parsed(value) as SlotRow;

const parsed = (value: Uint8Array): unknown => JSON.parse(Buffer.from(value).toString());
