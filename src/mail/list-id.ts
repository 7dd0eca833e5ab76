/**
 * A list's identifier in the List-Id header (RFC 2919 §2): `dev@example.org` is `dev.example.org`.
 */
import { type Address, domainOf, localPartOf } from './address.ts';

export function listIdOf(list: Address): string {
  return `${localPartOf(list)}.${domainOf(list)}`;
}
