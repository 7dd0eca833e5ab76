/**
 * Loops and automatic mail: what must not be sent round again, and what must never be answered.
 */
import { type Address, addressKey, parseAddress } from './address.ts';
import type { ReversePath } from './envelope.ts';
import type { Header } from './header.ts';
import { listIdOf } from './list-id.ts';

/**
 * More hops than this are a loop (RFC 5321 §6.3 asks for at least 100 in an MTA; a list stops
 * sooner).
 */
export const RECEIVED_MAX = 50;
/** Fields looked at of one name: honest mail has one. */
const FIELDS_MAX = 100;

export type Loop = 'own-list-id' | 'own-list-post' | 'own-loop-mark' | 'too-many-hops';

const LIST_ID = /<([^<>\s]{1,255})>[^<>]*$/;
const MAILTO = /<mailto:([^<>?\s]{1,320})/gi;
const BULK = /^(?:bulk|junk|list)\b/i;

/**
 * Why a post to `list` has been here before, or null. Our List-Id and List-Post say so (RFC 2919,
 * RFC 2369); a list that passes our mail on replaces both, so the mark `X-Loop` is looked at as
 * well: every list adds its own.
 */
export function loopOfPost(header: Header, list: Address): Loop | null {
  const id = listIdOf(list).toLowerCase();
  const key = addressKey(list);
  if (values(header, 'list-id').some((value) => listIdIn(value) === id)) return 'own-list-id';
  if (values(header, 'list-post').some((value) => mailtosIn(value).includes(key)))
    return 'own-list-post';
  return loopOfAny(header, list);
}

/**
 * The same for mail to `address` that is no post, such as `-owner`: members may well send us our
 * own posts there.
 */
export function loopOfAny(header: Header, address: Address): Loop | null {
  const key = addressKey(address);
  if (values(header, 'x-loop').some((value) => keyOf(value) === key)) return 'own-loop-mark';
  return header.all('received').length > RECEIVED_MAX ? 'too-many-hops' : null;
}

/**
 * True if nobody may be answered: a null sender, Auto-Submitted other than `no`, bulk precedence
 * (RFC 3834 §2).
 */
export function isAutomatic(header: Header, sender: ReversePath): boolean {
  if (sender === '') return true;
  const submitted = header.all('auto-submitted');
  if (submitted.some((value) => !/^no(?:$|[\s;(])/i.test(value))) return true;
  return header.all('precedence').some((value) => BULK.test(value));
}

function values(header: Header, name: string): readonly string[] {
  return header.all(name).slice(0, FIELDS_MAX);
}

/** The identifier between the last angle brackets, or all of a value without them. */
function listIdIn(value: string): string {
  return (LIST_ID.exec(value)?.[1] ?? value).toLowerCase();
}

function mailtosIn(value: string): readonly (string | null)[] {
  return [...value.matchAll(MAILTO)].map((match) => keyOf(match[1] ?? ''));
}

function keyOf(text: string): string | null {
  const address = parseAddress(text);
  return address === null ? null : addressKey(address);
}
