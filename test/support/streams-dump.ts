/** What stands in a site's streams, read by a plain consumer: nothing of the program is used. */
import { AckPolicy, connect, DeliverPolicy, type NatsConnection } from 'nats';

export type Stored = {
  readonly seq: number;
  readonly subject: string;
  readonly data: Uint8Array;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
};

export type Where = { readonly url: string; readonly user: string; readonly password: string };

const FETCH = 1_000;
const FETCH_MS_MAX = 10_000;

/** A plain connection of our own; `url` may be several with commas between. */
export function plainNats({ url, user, password }: Where): Promise<NatsConnection> {
  const servers = url.split(',');
  return connect({ servers, user, pass: password, name: 'accountant', maxReconnectAttempts: -1 });
}

/** All messages of a stream, or those on `subject`, in order. */
export async function dumpStream(where: Where, stream: string, subject = '>'): Promise<Stored[]> {
  const nc = await plainNats(where);
  try {
    const manager = await nc.jetstreamManager();
    const consumer = await manager.consumers.add(stream, {
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.All,
      filter_subject: subject === '>' ? '' : subject,
      inactive_threshold: 60_000_000_000,
    });
    const pulled = await nc.jetstream().consumers.get(stream, consumer.name);
    const all: Stored[] = [];
    for (let left = consumer.num_pending; left > 0; ) {
      const before = all.length;
      const messages = await pulled.fetch({ max_messages: FETCH, expires: FETCH_MS_MAX });
      for await (const { seq, subject, data, headers, info } of messages) {
        const fields = [...(headers?.keys() ?? [])].map((name) => [
          name.toLowerCase(),
          headers?.get(name) ?? '',
        ]);
        all.push({ seq, subject, data, headers: Object.fromEntries(fields) });
        left = info.pending;
        if (left === 0) break;
      }
      if (all.length === before) throw new Error(`${stream} gives no more; ${left} are missing`);
    }
    await manager.consumers.delete(stream, consumer.name);
    return all;
  } finally {
    await nc.close();
  }
}
