/** The sample list that a first start makes, so that a newcomer can try everything at once and mail nobody. */
import type { By } from '../../actors/protocol.ts';
import { type Address, parseAddress } from '../mail/address.ts';
import { listKeyOf } from '../mail/list-key.ts';
import type { Asker } from '../nats/ask.ts';
import type { Directory } from '../nats/directory.ts';
import type { Random } from '../world.ts';

export const SAMPLE_LIST = 'hello@lists.localhost';
/** RFC 2606 names: nobody's. */
const SAMPLE_MEMBERS = ['ada@example.org', 'grace@example.com', 'linus@example.net'];
const SAMPLE_BYTES_MAX = 10 * 1024 * 1024;

/** Makes the list, its three members and its rule that anyone may post. Throws if an answer is not what it should be. */
export async function makeSample(
  directory: Directory,
  asker: Asker,
  random: Random,
): Promise<void> {
  const address = parsed(SAMPLE_LIST);
  const by: By = { kind: 'operator', name: 'set-up' };
  const { entry } = await directory.reserve(address, listKeyOf(random.bytes(26)), SAMPLE_BYTES_MAX);
  const settings = {
    displayName: 'Hello',
    description: 'A list to try things on.',
    posting: 'anyone',
    subjectPrefix: '[hello]',
    footer: 'To leave this list: {unsubscribe}',
  } as const;
  const members = SAMPLE_MEMBERS.map((text) => ({ address: parsed(text), name: '' }));
  const owners: readonly Address[] = members.slice(0, 1).map((member) => member.address);
  const { key } = entry;
  const create = { type: 'create', address, settings, owners, by } as const;
  const replies = [
    await asker.command(key, { id: key, command: create }),
    await asker.command(key, { id: 'sample', command: { type: 'add-members', members, by } }),
  ];
  const failed = replies.find((reply) => !reply.ok);
  if (failed !== undefined) throw new Error(`the sample list: ${JSON.stringify(failed)}`);
}

function parsed(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new Error(`not an address: ${text}`);
  return address;
}
