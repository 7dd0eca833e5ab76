/**
 * What of a try is an event on BOUNCES: whom an MTA refused for good, with its whole reply, and who is given up on. The
 * transaction was ours, so the event says for certain whose copy of which post it was.
 */
import { type Bounce, DIAGNOSTIC_CHARACTERS_MAX } from '../mail/bounce-event.ts';
import type { Chunk, Recipe, Result } from '../mail/chunk.ts';
import { reasonOf } from '../mail/dsn-reason.ts';
import { NO_ROUTE } from './outgoing-result.ts';

/** Copies with a return path of their own: the recipients' numbers are members'. */
const OF_MEMBERS: readonly Recipe['kind'][] = ['post', 'probe'];

/** The events of a finished try; none for notices and what is forwarded, whose recipients are no members. */
export function bouncesOf(chunk: Chunk, result: Result): readonly Bounce[] {
  if (!OF_MEMBERS.includes(chunk.recipe.kind)) return [];
  const addresses = new Map(chunk.to);
  return result.refused.map(({ number, code, status, reply, route, at }): Bounce => {
    return {
      type: 'bounce',
      id: `s${chunk.post}.${chunk.chunk}.${chunk.try}.${number}`,
      at,
      kind: 'bounce',
      verified: true,
      member: number,
      post: chunk.recipe.postNumber,
      address: addresses.get(number) ?? null,
      permanent: true,
      status: status === '' ? null : status,
      code,
      // In one word, as DSNs are told apart too: most of them quote such a reply.
      reason: reply.includes(NO_ROUTE)
        ? 'system'
        : reasonOf(`${code} ${status} ${reply}`.toLowerCase(), status === '' ? null : status),
      rule: 'smtp',
      source: 'smtp',
      route: route === '' ? null : route,
      diagnostic: `${code} ${status} ${reply}`.slice(0, DIAGNOSTIC_CHARACTERS_MAX),
      dsn: '',
    };
  });
}
