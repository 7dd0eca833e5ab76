/** The lists of served slots that are set aside: nothing is decided, sent or answered for them until somebody has looked. */
import { type ListKey, slotOf } from '../mail/list-key.ts';
import { asideIn, asideRow } from '../store/aside.ts';
import type { BrokenChainError } from './chain.ts';
import type { HostWorld } from './world.ts';

export type Aside = {
  has(key: ListKey): boolean;
  why(key: ListKey): string | null;
  all(): readonly { readonly key: ListKey; readonly why: string }[];
  add(key: ListKey, error: BrokenChainError): void;
  remove(key: ListKey): void;
  /** The slot is served from now on: what its recovery found is known. */
  serve(slot: number): void;
  /** The slot is served no more: what is wrong with its lists is another's to know. */
  forget(slot: number): void;
};

export function createAside({ rows, log }: Pick<HostWorld, 'rows' | 'log'>): Aside {
  const lists = new Map<ListKey, string>();
  const say = (key: ListKey, why: string): void => {
    lists.set(key, why);
    log.error({ list: key, why }, 'host: a history does not hold together; list set aside');
  };
  return {
    has: (key) => lists.has(key),
    why: (key) => lists.get(key) ?? null,
    all: () => [...lists].map(([key, why]) => ({ key, why })),
    add: (key, { message }) => {
      rows.commit([[asideRow(key), message]]);
      say(key, message);
    },
    remove: (key) => void lists.delete(key),
    serve: (slot) => {
      for (const [key, why] of asideIn(rows)) if (slotOf(key) === slot) say(key, why);
    },
    forget: (slot) => {
      for (const key of lists.keys()) if (slotOf(key) === slot) lists.delete(key);
    },
  };
}
