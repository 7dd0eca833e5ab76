/** Our own trace line (RFC 5321 §4.4): says that the mail passed here, and lets loops be counted by others too. */
import { type Address, domainOf } from './address.ts';
import { dateOf } from './date.ts';
import type { Envelope } from './envelope.ts';

/** What a peer calls itself is its own word: only what a name or a literal is made of is repeated. */
const NOT_A_NAME = /[^A-Za-z0-9.:[\]_-]/g;
const NAME_LENGTH_MAX = 100;

/** The value of a Received field for a mail to this list, without line breaks. */
export function receivedOf(envelope: Envelope, list: Address): string {
  const helo = nameOf(envelope.helo);
  const peer = nameOf(envelope.peer);
  const by = domainOf(list);
  const date = dateOf(envelope.receivedAt);
  return `from ${helo} ([${peer}]) by ${by} id ${nameOf(envelope.trace)}; ${date}`;
}

function nameOf(text: string): string {
  return text.replace(NOT_A_NAME, '').slice(0, NAME_LENGTH_MAX) || 'unknown';
}
