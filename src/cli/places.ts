/** What nodes answer about nodes and slots, as the command line reads it; a newer node may say more. */
import { z } from 'zod';

const node = z.object({
  node: z.string(),
  roles: z.array(z.string()),
  version: z.string(),
  pid: z.number(),
  startedAt: z.number(),
  isDraining: z.boolean(),
  leaseMsLeft: z.number(),
  slots: z.number(),
  standby: z.number(),
});
const slot = z.object({
  slot: z.number(),
  owner: z.string().nullable(),
  since: z.number().nullable(),
  shouldOwn: z.string().nullable(),
  next: z.string().nullable(),
  lists: z.number(),
  epoch: z.number().nullable(),
});
const nodes = z.object({ nodes: z.array(node) });
const slots = z.object({ slots: z.array(slot) });
const drained = z.object({ tookMs: z.number() });

export type NodeRow = z.output<typeof node>;
export type SlotRow = z.output<typeof slot>;

/** Throws where the answer is none. */
export const nodesOf = (answer: unknown): readonly NodeRow[] => nodes.parse(answer).nodes;
export const slotsOf = (answer: unknown): readonly SlotRow[] => slots.parse(answer).slots;
export const drainedOf = (answer: unknown): { readonly tookMs: number } => drained.parse(answer);
