/** What stands on a subject at this moment. */
import type { Nats } from '../../src/nats/connect.ts';
import { type TailMessage, tail } from '../../src/nats/tail.ts';

export async function storedOn(
  nats: Nats,
  stream: string,
  subject: string,
): Promise<readonly TailMessage[]> {
  const ending = new AbortController();
  const all: TailMessage[] = [];
  for await (const message of tail(nats, { stream, subject, after: 0 }, ending.signal)) {
    if (message === 'ready') break;
    all.push(message);
  }
  return all;
}
