/** What stands on a subject at this moment. */
import type { Nats } from '../../src/nats/connect.ts';
import type { Stored } from '../../src/nats/stored.ts';
import { tail } from '../../src/nats/tail.ts';

export async function storedOn(
  nats: Nats,
  stream: string,
  subject: string,
): Promise<readonly Stored[]> {
  const ending = new AbortController();
  const all: Stored[] = [];
  for await (const message of tail(nats, { stream, subject, after: 0 }, ending.signal)) {
    if (message === 'ready') break;
    all.push(message);
  }
  return all;
}
