/**
 * The header fields that say what a list is (RFC 2919) and how to use it (RFC 2369, RFC 8058).
 *
 * They stand before the fields of the author, as each hand that a message passes adds its own
 * above: a signature made over the fields below still finds them (RFC 6376 §5.4.2).
 */
import type { Address } from './address.ts';
import { domainOf, localPartOf } from './address.ts';
import type { Recipe } from './chunk.ts';
import { field, phrase } from './fold.ts';
import { listIdOf } from './list-id.ts';
import type { Piece } from './pieces.ts';

/** What a robot address is for: `dev-owner@…` reaches the owners, and so on. */
export type Robot = 'bounces' | 'request' | 'owner' | 'join' | 'leave';

/**
 * A longer address of the site would not fit the lines of a header; then no https addresses are
 * given.
 */
const WEB_CHARACTERS_MAX = 700;

/** A list's robot address, e.g. `dev-owner@example.org`. */
export function robotAddress(list: Address, robot: Robot): Address {
  return `${localPartOf(list)}-${robot}@${domainOf(list)}` as Address;
}

/** The site's address, safe between angle brackets; '' if there is none that could stand there. */
export function safeWeb(web: string): string {
  const url = web.replace(/[^\x21-\x7e]|[<>"\\^`{|}]/gu, '');
  return url.length > WEB_CHARACTERS_MAX ? '' : url;
}

/** All fields of a copy of a post, each ended by CRLF, with slots in mode `individual`. */
export function listHeaders(recipe: Recipe): readonly Piece[] {
  const { list } = recipe;
  const web = safeWeb(recipe.web);
  return [
    field('Sender', [robotAddress(list, 'bounces')]),
    field('Precedence', ['list']),
    ...identity(recipe),
    field('List-Post', [mailto(list)]),
    field('List-Subscribe', [mailto(robotAddress(list, 'join'))]),
    ...unsubscribe(recipe, web),
    ...(web === '' ? [] : [field('List-Archive', [`<${web}/lists/${encoded(list)}/>`])]),
    loopMark(list),
  ];
}

/** What a notice carries: who it is from and where help is, but no way to post or leave. */
export function noticeHeaders(list: Pick<Recipe, 'list' | 'displayName'>): readonly string[] {
  return [...identity(list), loopMark(robotAddress(list.list, 'owner'))];
}

/**
 * Says which list or robot has handled a message. Unlike List-Id, which the next list replaces, it
 * is never taken off; so two lists that subscribe to each other stop too.
 */
export function loopMark(address: Address): string {
  return field('X-Loop', [address]);
}

function identity(recipe: Pick<Recipe, 'list' | 'displayName'>): readonly string[] {
  const { list, displayName } = recipe;
  return [
    field('List-Id', [...phrase(displayName), `<${listIdOf(list)}>`]),
    field('List-Help', [`<mailto:${encoded(robotAddress(list, 'request'))}?subject=help>`]),
    field('List-Owner', [mailto(robotAddress(list, 'owner'))]),
  ];
}

/** One click needs to know who clicked: only a copy of one's own has it (RFC 8058 §3.1). */
function unsubscribe(recipe: Recipe, web: string): readonly Piece[] {
  const { list } = recipe;
  if (recipe.mode === 'shared') {
    return [field('List-Unsubscribe', [mailto(robotAddress(list, 'leave'))])];
  }
  const byMail = ['<mailto:', { slot: 'leave' }, `@${domainOf(list)}>\r\n`] as const;
  if (web === '') return ['List-Unsubscribe: ', ...byMail];
  return [
    ...[`List-Unsubscribe: <${web}/u/`, { slot: 'one-click' } as const, '>,\r\n '],
    ...byMail,
    field('List-Unsubscribe-Post', ['List-Unsubscribe=One-Click']),
  ];
}

function mailto(address: Address): string {
  return `<mailto:${encoded(address)}>`;
}

/** An address in a URI (RFC 6068 §2). */
function encoded(address: Address): string {
  return encodeURIComponent(address).replaceAll('%40', '@').replaceAll('%2B', '+');
}
