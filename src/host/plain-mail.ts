/** Mail that is not fanned out: notices of our own, and what is sent on to a few. One chunk each. */
import type { Address } from '../mail/address.ts';
import type { Chunk } from '../mail/chunk.ts';
import type { HostWorld } from './world.ts';

type Plain = Pick<Chunk, 'key' | 'post' | 'recipe' | 'mail' | 'trace' | 'smtputf8'>;

/** Numbers the recipients from 1. */
export function putPlain(
  world: Pick<HostWorld, 'outgoing' | 'clock'>,
  { to, ...plain }: Plain & { readonly to: readonly Address[] },
): Promise<void> {
  const recipients = to.map((address, index) => [index + 1, address] as const);
  return putNumbered(world, { ...plain, to: recipients });
}

/** For whom a number of their own matters: it stands in the return path of a probe. */
export async function putNumbered(
  world: Pick<HostWorld, 'outgoing' | 'clock'>,
  plain: Plain & Pick<Chunk, 'to'>,
): Promise<void> {
  const id = { chunk: '0', try: 0, class: 'notice' } as const;
  await world.outgoing.put([{ ...plain, ...id, firstAt: world.clock.now() }]);
}

/** A message of our own, as a chunk carries it. */
export const inline = (bytes: Uint8Array): { readonly inline: string } => ({
  inline: Buffer.from(bytes).toString('base64'),
});
