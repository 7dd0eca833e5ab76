/**
 * Bans: who may not write to any list of the site, in the words of its configuration.
 *
 *   eve@evil.example    one address
 *   @evil.example       every address of a domain
 *   @.evil.example      every address of its subdomains
 *   spam-*@*            `*` stands for any number of characters, none too
 *
 * Patterns are these globs and no regular expressions: what a stranger sends is matched in linear time.
 */
import { type Address, addressKey, parseAddress, parseDomain } from './address.ts';

export const BAN_LENGTH_MAX = 254;
/** With so many pieces between its stars a glob says nothing that a shorter one does not. */
const STARS_MAX = 8;
const GLOB = /^[^\s@]*@[^\s@]+$/;

/** What a ban says: an address, or the pieces of a glob between its stars. */
type Ban = { readonly is: string } | { readonly pieces: readonly string[] };

/** True for what can be banned. */
export const isBan = (text: string): boolean => banOf(text) !== null;

/** True of a sender whom one of these names; letters of either case are the same. Throws nothing: what is no ban bans nobody. */
export function createBans(texts: readonly string[]): (sender: Address) => boolean {
  const bans = texts.map(banOf).filter((ban) => ban !== null);
  const whole = new Set(bans.flatMap((ban) => ('is' in ban ? [ban.is] : [])));
  const globs = bans.flatMap((ban) => ('pieces' in ban ? [ban.pieces] : []));
  return (sender) => {
    const key = addressKey(sender);
    const domain = key.slice(key.lastIndexOf('@'));
    return whole.has(key) || whole.has(domain) || globs.some((pieces) => fits(key, pieces));
  };
}

function banOf(text: string): Ban | null {
  if (text.length > BAN_LENGTH_MAX) return null;
  if (text.includes('*')) {
    const pieces = text.toLowerCase().normalize('NFC').split('*');
    return GLOB.test(text) && pieces.length <= STARS_MAX + 1 ? { pieces } : null;
  }
  if (text.startsWith('@.')) {
    const domain = parseDomain(text.slice(2));
    return domain === null ? null : { pieces: ['', '@', `.${domain}`] };
  }
  if (text.startsWith('@')) {
    const domain = parseDomain(text.slice(1));
    return domain === null ? null : { is: `@${domain}` };
  }
  const address = parseAddress(text);
  return address === null ? null : { is: addressKey(address) };
}

/** Each piece as early as may be, the last one at the end: no other way to place them can fit where this does not. */
function fits(key: string, [first = '', ...rest]: readonly string[]): boolean {
  const last = rest.pop() ?? '';
  if (!key.startsWith(first)) return false;
  let from = first.length;
  for (const piece of rest) {
    const at = key.indexOf(piece, from);
    if (at < 0) return false;
    from = at + piece.length;
  }
  return key.length - last.length >= from && key.endsWith(last);
}
