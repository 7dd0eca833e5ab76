/**
 * An event on BOUNCES (design §6): a copy came back, or what the list did about a member since.
 * The stream keeps them 60 days; the scores of a slot are a fold of them, in their order.
 *
 *   bounce     from the incoming runner (a DSN), or from outgoing (an MTA refused with 5xx, or a
 *              recipient was given up on)
 *   standing   from the list's outbox: what it did about a member; some of it resets the score
 *
 * A bounce is `verified` when our own token names member and post (a return path whose MAC is ours,
 * or a transaction of ours). Anything else is a hint: it names an address, and never counts.
 */
import { assert } from '../assert.ts';
import type { Address } from './address.ts';

/** The most of a DSN that an event carries, bytes (design §6). */
export const DSN_BYTES_MAX = 16 * 1024;
/** The most of what the other side said in words: the diagnostic, or the MTA's whole reply and what we say with it. */
export const DIAGNOSTIC_CHARACTERS_MAX = 4_500;
/** Post numbers from here on are probes of a member, counted from 0; no list has so many posts. */
export const PROBES_FROM = 2 ** 29;

/** One copy that did not arrive, or that its reader complained of. */
export type Bounce = {
  readonly type: 'bounce';
  /**
   * The same for the same cause, however often it is told: `d<sequence in MAIL>.<whose>.<n>` for a DSN,
   * `s<post>.<chunk>.<try>.<member>` for a refusal by an MTA. `[A-Za-z0-9.-]{1,128}`.
   */
  readonly id: string;
  /** When it came to us, ms since the epoch. */
  readonly at: number;
  readonly kind: 'bounce' | 'complaint';
  /** Our token or transaction says whose copy of which post it was. */
  readonly verified: boolean;
  /** Null for a hint. */
  readonly member: number | null;
  /** The post's number on its list, from {@link PROBES_FROM} on a probe; null for a hint. */
  readonly post: number | null;
  /** Whom it is about, as the DSN or the transaction says; null if neither does. */
  readonly address: Address | null;
  readonly permanent: boolean;
  /** RFC 3463, e.g. `5.1.1`. */
  readonly status: string | null;
  /** SMTP's, e.g. 550; 0 or null if there was none. */
  readonly code: number | null;
  /** Why, in one word of `dsn.ts`: `user-unknown`, `mailbox-full`, `policy`, … */
  readonly reason: string;
  /** Which rule saw it; `smtp` for a refusal by an MTA. */
  readonly rule: string;
  readonly source: 'dsn' | 'smtp';
  /** The route that was refused, where it is known. */
  readonly route: string | null;
  /** In the other side's words; at most {@link DIAGNOSTIC_CHARACTERS_MAX}. */
  readonly diagnostic: string;
  /** The beginning of the DSN, a character a byte; '' for a refusal. */
  readonly dsn: string;
};

/** What the list did about a member; only the list says so, and only after it is in its ledger. */
export type Standing = {
  readonly type: 'standing';
  /** `l<at>.<member>.<what>.<count>`: the same however often the outbox does it. */
  readonly id: string;
  readonly at: number;
  readonly member: number;
  /**
   * `probed` k-th probe was sent. `disabled`, `warned`: the state of a member who bounces. `reset`:
   * all is well again, by an owner's word, a click, or because nobody complained; what was counted
   * up to `at` is forgotten. `removed`: no longer a member.
   */
  readonly what: 'probed' | 'disabled' | 'warned' | 'reset' | 'removed';
  /** Warnings so far, or the number of the probe; 0 where that says nothing. */
  readonly count: number;
  /** True where the bouncing is why; false where an owner or the member themselves did it. */
  readonly byBounces: boolean;
  /** The {@link eventNumber} of what came back and made the list do it; null where nothing did. */
  readonly cause: number | null;
};

export type BounceEvent = Bounce | Standing;

// ── Where an event is ─────────────────────────────────────────────────────

/** Events of one message of BOUNCES at most. */
export const EVENTS_MAX = 100;

/**
 * Names an event of BOUNCES: the sequence of its message, and after the point which one of it, if it is not the first:
 * `4711`, `4711.01`, … Later events have larger numbers.
 */
export function eventNumber(seq: number, index: number): number {
  assert(index < EVENTS_MAX, 'a message has no more events');
  return Number(`${seq}.${String(index).padStart(2, '0')}`);
}

/** The message that an event is in, and which of it. */
export function placeOf(number: number): { readonly seq: number; readonly index: number } {
  const seq = Math.floor(number);
  return { seq, index: Math.round((number - seq) * EVENTS_MAX) };
}

const ID = /^[A-Za-z0-9.-]{1,128}$/;
const REASON = /^[a-z][a-z0-9-]{0,39}$/;
const SCHEMA = 1;
const WHATS: readonly unknown[] = ['probed', 'disabled', 'warned', 'reset', 'removed'];

const [OPEN, COMMA, CLOSE] = ['[', ',', ']'].map((text) => Buffer.from(text)) as [
  Buffer,
  Buffer,
  Buffer,
];

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** JSON; long texts are cut to their bounds. */
export function encodeBounceEvent(event: BounceEvent): Uint8Array {
  if (event.type === 'standing') return encoder.encode(JSON.stringify({ v: SCHEMA, ...event }));
  const diagnostic = event.diagnostic.slice(0, DIAGNOSTIC_CHARACTERS_MAX);
  const dsn = event.dsn.slice(0, DSN_BYTES_MAX);
  return encoder.encode(JSON.stringify({ v: SCHEMA, ...event, diagnostic, dsn }));
}

/** Encoded events of one list as one message: what a message of BOUNCES holds, one event or an array of them. */
export function joinBounceEvents(encoded: readonly Uint8Array[]): Uint8Array {
  if (encoded.length === 1 && encoded[0] !== undefined) return encoded[0];
  const parts = encoded.flatMap((event, i) => [i === 0 ? OPEN : COMMA, event]);
  return Buffer.concat([...parts, CLOSE]);
}

/**
 * The events of a message of BOUNCES, in their order. Null for what this version did not write: it counts for nobody. Never throws.
 */
export function decodeBounceEvents(data: Uint8Array): readonly (BounceEvent | null)[] {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(data));
  } catch {
    return [null];
  }
  if (!Array.isArray(value)) return [eventOf(value)];
  return value.length > EVENTS_MAX ? [null] : value.map(eventOf);
}

function eventOf(value: unknown): BounceEvent | null {
  if (typeof value !== 'object' || value === null) return null;
  const { v, ...fields } = value as Fields;
  if (v !== SCHEMA || typeof fields.id !== 'string' || !ID.test(fields.id)) return null;
  if (!isCount(fields.at)) return null;
  if (isBounce(fields)) return fields;
  // What an earlier build wrote does not say what made the list do it.
  const standing: Fields = { cause: null, ...fields };
  return isStanding(standing) ? standing : null;
}

type Fields = Readonly<Record<string, unknown>>;

function isBounce(fields: Fields): fields is Fields & Bounce {
  const { type, kind, verified, member, post, address, permanent, reason, source } = fields;
  const names = isCount(member) && isCount(post);
  return (
    type === 'bounce' &&
    (kind === 'bounce' || kind === 'complaint') &&
    typeof verified === 'boolean' &&
    (verified ? names : member === null && post === null) &&
    (address === null || typeof address === 'string') &&
    typeof permanent === 'boolean' &&
    typeof reason === 'string' &&
    REASON.test(reason) &&
    (source === 'dsn' || source === 'smtp') &&
    isTextOrNull(fields.status) &&
    (fields.code === null || isCount(fields.code)) &&
    isTextOrNull(fields.route) &&
    [fields.rule, fields.diagnostic, fields.dsn].every((text) => typeof text === 'string')
  );
}

function isStanding(fields: Fields): fields is Fields & Standing {
  const { type, member, what, count, byBounces, cause } = fields;
  return (
    type === 'standing' &&
    isCount(member) &&
    WHATS.includes(what) &&
    isCount(count) &&
    typeof byBounces === 'boolean' &&
    (cause === null || (typeof cause === 'number' && cause >= 0))
  );
}

const isTextOrNull = (value: unknown): boolean => value === null || typeof value === 'string';
const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;
