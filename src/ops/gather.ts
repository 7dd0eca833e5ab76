/** What `/metrics` asks for when somebody scrapes; a part that cannot be had is left out. */

import type { Nats } from '../nats/connect.ts';
import { queueStates, streamStates } from '../nats/depths.ts';
import { parkedCounts } from '../nats/parked.ts';
import type { HostFacts } from './inspect.ts';
import type { Gathered } from './metrics.ts';

export async function gather(
  nats: Nats,
  host: HostFacts | null,
  edgeInFlight: number | null,
  lists: number,
  routes: NonNullable<Gathered['routes']>,
): Promise<Gathered> {
  const [queues, streams, parked] = await Promise.allSettled([
    queueStates(nats),
    streamStates(nats),
    parkedCounts(nats),
  ]);
  return {
    ...(queues.status === 'fulfilled' && { queues: queues.value }),
    ...(streams.status === 'fulfilled' && { streams: streams.value.streams }),
    ...(parked.status === 'fulfilled' && { parked: parked.value }),
    ...(host !== null && {
      host: {
        ...host,
        blocked: host.blocked.length,
        quarantined: host.quarantined.length,
        slots: host.slots.length,
      },
    }),
    ...(edgeInFlight !== null && { edgeInFlight }),
    ...{ lists, routes },
    isConnected: nats.isConnected(),
  };
}
