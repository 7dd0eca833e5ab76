import { systemClock } from '../../src/clock.ts';
import { outgoingQueue } from '../../src/nats/queue.ts';
import { createFakeQueue } from '../support/fake/queue.ts';
import { startSite } from '../support/nats.ts';
import { type QueueUnderTest, queueContract } from './queue.ts';

const ACK_WAIT_MS = 1_500;

queueContract('a work queue on a nats-server', async (): Promise<QueueUnderTest> => {
  const site = await startSite({ outgoingAckWaitMs: ACK_WAIT_MS });
  return {
    queue: outgoingQueue(site.nats, 'post'),
    ackWaitMs: ACK_WAIT_MS,
    async put(text, options) {
      await site.publisher.publish('troupe.outgoing.post', Buffer.from(text), options);
    },
    close: site.stop,
  };
});

queueContract('the fake', async (): Promise<QueueUnderTest> => {
  const queue = createFakeQueue({ clock: systemClock, ackWaitMs: ACK_WAIT_MS });
  return {
    queue,
    ackWaitMs: ACK_WAIT_MS,
    put: async (text, options) =>
      void queue.put('troupe.outgoing.post', Buffer.from(text), options),
    close: async () => {},
  };
});
