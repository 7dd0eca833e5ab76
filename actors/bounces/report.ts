/** What operators may ask about bounces, and what they are answered. Read-only. */
import type { Address } from '../../src/mail/address.ts';
import type { DeliveryMode, DeliveryState } from '../delivery.ts';
import type { Word } from './copies.ts';
import type { Day } from './day.ts';
import type { Happening, Score } from './score.ts';
import type { Rules } from './scoring.ts';
import type { Tally } from './storm.ts';

export type BounceQuestion =
  /** Members of whom something came back, by number. */
  | { readonly ask: 'bounces'; readonly after: number; readonly limit: number }
  | {
      readonly ask: 'bounces-of';
      readonly who: { readonly address: Address } | { readonly number: number };
    }
  | { readonly ask: 'bounce-report' };

export type BouncingMember = {
  readonly number: number;
  readonly address: Address;
  readonly score: number;
  /** Copies that came back and are not forgotten. */
  readonly bounces: number;
  readonly mail: DeliveryMode;
  readonly last: Happening | null;
};

export type BouncesPage = {
  readonly bouncing: readonly BouncingMember[];
  readonly threshold: number;
  /** Pass as `after` for the next page; null at the end. */
  readonly next: number | null;
};

/** One member's history, also of one who left in 60 days; each line names the events in BOUNCES that it rests on. */
export type BounceHistory = BouncingMember & {
  /** Another list found the address dead, then; null if none did, or this list does not ask. */
  readonly suspect: {
    readonly list: Address;
    readonly since: number;
    readonly reason: string;
  } | null;
  readonly rules: Rules;
  readonly trouble: DeliveryState;
  readonly standing: Score['standing'];
  /** Copies that came back, by post: the word that counts. */
  readonly entries: readonly (Word & { readonly post: number })[];
  readonly history: readonly Happening[];
};

export type BounceReport = {
  readonly address: Address;
  readonly rules: Rules;
  readonly node: string;
  readonly slot: number;
  readonly asOf: number;
  /** How far the slot's bounce actor is; null where it does not run yet. */
  readonly fold: {
    readonly folded: number;
    readonly written: number;
    readonly writtenAt: number;
    readonly isCaughtUp: boolean;
    readonly asking: number;
  } | null;
  /** To what bounce work yields now, and since when; null where it does not. */
  readonly yields: { readonly why: string; readonly since: number } | null;
  /** Addresses that some list of the site found dead in 60 days. */
  readonly suspects: number;
  /** The newest first. */
  /** `day`: `2026-11-21`, UTC. */
  readonly days: readonly ({ readonly day: string } & Day)[];
  /** Posts of which something came back, the newest first. */
  readonly posts: readonly ({ readonly post: number; readonly members: number | null } & Tally)[];
};
