/**
 * Who should own a slot: rendezvous hashing. Every node computes the same order from the same nodes, and a node that comes or
 * goes moves only the slots that it gains or leaves.
 */
import { createHash } from 'node:crypto';

/** The nodes in the order in which they should own the slot: the first owns it, the second follows its ledger. */
export function rank(slot: number, nodes: readonly string[]): readonly string[] {
  return nodes
    .map((node) => ({ node, weight: weightOf(slot, node) }))
    .sort((a, b) => b.weight - a.weight || (a.node < b.node ? -1 : 1))
    .map(({ node }) => node);
}

/** Keeps the order of each slot until it is told to forget: it is asked for again and again, and the nodes seldom change. */
export function createRanking() {
  const kept = new Map<number, readonly string[]>();
  return {
    of(slot: number, nodes: () => readonly string[]): readonly string[] {
      const order = kept.get(slot) ?? rank(slot, nodes());
      kept.set(slot, order);
      return order;
    },
    forget: (): void => kept.clear(),
  };
}

/** 48 bits of a hash: exact in a number, and no two nodes share one in practice. */
function weightOf(slot: number, node: string): number {
  return createHash('sha256').update(`${slot}\0${node}`).digest().readUIntBE(0, 6);
}
