/** What waits that is more urgent than bounces: mail that came in, and mail that goes out. */
import type { Nats } from './connect.ts';
import { apiRequest, failure } from './stored.ts';
import { mailDurable, outgoingDurable } from './streams.ts';
import { mail } from './subjects.ts';

/** So many mails in hand or waiting are no backlog: runners take more than that at once. */
const INCOMING_FEW = 32;

type Consumer = {
  readonly name: string;
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly ack_floor: { readonly stream_seq: number };
};

/** Two requests, or three where bounces wait. Throws MailError 451 while NATS does not answer. */
export async function backlogOf(
  nats: Nats,
): Promise<{ readonly why: string | null; readonly oldestAt: number | null }> {
  const [incoming, outgoing] = await Promise.all([
    consumersOf(nats, 'TROUPE_MAIL'),
    consumersOf(nats, 'TROUPE_OUTGOING'),
  ]);
  const mails = sum(incoming, [mailDurable('post'), mailDurable('command'), mailDurable('owner')]);
  const classes = ['notice', 'post', 'bulk'] as const;
  const chunks = sum(outgoing, classes.map(outgoingDurable));
  const bounces = incoming.find(({ name }) => name === mailDurable('bounce'));
  const oldestAt =
    bounces !== undefined && bounces.num_pending + bounces.num_ack_pending > 0
      ? await storedAt(nats, bounces)
      : null;
  if (chunks > 0) return { why: `${chunks} chunks in outgoing`, oldestAt };
  if (mails > INCOMING_FEW) return { why: `${mails} mails in incoming`, oldestAt };
  return { why: null, oldestAt };
}

async function consumersOf(nats: Nats, stream: string): Promise<readonly Consumer[]> {
  const answer = await apiRequest(nats, `$JS.API.CONSUMER.LIST.${stream}`, { offset: 0 });
  if (answer.error !== undefined) throw failure(answer.error);
  return (answer.consumers ?? []) as readonly Consumer[];
}

const sum = (consumers: readonly Consumer[], names: readonly string[]): number =>
  consumers
    .filter(({ name }) => names.includes(name))
    .reduce((total, one) => total + one.num_pending + one.num_ack_pending, 0);

/** When the first that is not finished was stored; null if it is done meanwhile. */
async function storedAt(nats: Nats, { ack_floor }: Consumer): Promise<number | null> {
  const answer = await apiRequest(nats, '$JS.API.STREAM.MSG.GET.TROUPE_MAIL', {
    seq: ack_floor.stream_seq + 1,
    next_by_subj: mail('bounce'),
  });
  if (answer.error !== undefined) return null;
  return Date.parse((answer.message as { readonly time: string }).time);
}
