/**
 * In which order the recipients of a chunk are tried: the providers (mail domains) take turns, and while another one waits none
 * has more than half of the transactions under way. So a provider that answers slowly keeps its own recipients waiting.
 */
import { domainOf } from '../mail/address.ts';
import type { Recipient } from '../mail/chunk.ts';

export type FairOrder = {
  /**
   * The next envelope, at most `max` recipients; null when nobody is left. `done` is to be called when its transaction has ended,
   * with those who are to have another one at once.
   */
  next(max: number): Envelope | null;
  /** True while `next` has nobody. */
  isEmpty(): boolean;
  /** Nobody of this provider is tried any more; returns who they are. */
  drop(domain: string): readonly Recipient[];
};

export type Envelope = {
  readonly to: readonly Recipient[];
  done(again: readonly Recipient[]): void;
};

type Lane = { readonly domain: string; readonly left: Recipient[]; underWay: number };

/**
 * `workers`: transactions at once at most, as it is now. `mayMix`: an envelope that its provider's recipients do not fill is filled up with
 * others'; without it, what befalls an envelope befalls one provider only.
 */
export function fairOrder(
  to: readonly Recipient[],
  workers: () => number,
  mayMix: boolean,
): FairOrder {
  /** In the order of their turns: who has just had one is the last. */
  const lanes = new Map<string, Lane>();
  const laneOf = (domain: string): Lane => {
    const lane = lanes.get(domain) ?? { domain, left: [], underWay: 0 };
    lanes.set(domain, lane);
    return lane;
  };
  for (const recipient of to) laneOf(providerOf(recipient)).left.push(recipient);
  for (const { left } of lanes.values()) left.reverse(); // Taken from the end.

  const choose = (): Lane | null => firstOf(lanes.values(), Math.ceil(workers() / 2));
  function endTurn(lane: Lane): void {
    lanes.delete(lane.domain);
    if (lane.left.length > 0 || lane.underWay > 0) lanes.set(lane.domain, lane);
  }

  return {
    next(max) {
      const chosen = choose();
      if (chosen === null) return null;
      const envelope = takeFrom(chosen, max);
      chosen.underWay += 1;
      endTurn(chosen);
      while (mayMix && envelope.length < max) {
        const other = choose();
        if (other === null) break;
        envelope.push(...takeFrom(other, max - envelope.length));
        endTurn(other);
      }
      return {
        to: envelope,
        done(again) {
          chosen.underWay -= 1;
          for (const recipient of again.toReversed()) {
            laneOf(providerOf(recipient)).left.push(recipient);
          }
          if (chosen.left.length === 0 && chosen.underWay === 0) lanes.delete(chosen.domain);
        },
      };
    },
    isEmpty: () => choose() === null,
    drop: (domain) => lanes.get(domain)?.left.splice(0).reverse() ?? [],
  };
}

/** The first with somebody left and less than its share under way; where all have that much, the first with somebody left. */
function firstOf(lanes: Iterable<Lane>, share: number): Lane | null {
  let first: Lane | null = null;
  for (const lane of lanes) {
    if (lane.left.length === 0) continue;
    if (lane.underWay < share) return lane;
    first ??= lane;
  }
  return first;
}

/** Whose mailbox it is, as far as an address tells. */
export const providerOf = ([, address]: Recipient): string => domainOf(address).toLowerCase();

function takeFrom(lane: Lane, max: number): Recipient[] {
  return lane.left.splice(Math.max(0, lane.left.length - max)).reverse();
}
