import { systemClock } from '../../src/clock.ts';
import { outgoingQueue } from '../../src/nats/queue.ts';
import type { Queue } from '../../src/world.ts';
import { createFakeQueue } from '../support/fake/queue.ts';
import { startSite } from '../support/nats.ts';
import { type QueueUnderTest, queueContract } from './queue.ts';

const ACK_WAIT_MS = 1_500;
const PATIENT_MS = 600_000;
const SUBJECT = 'troupe.outgoing.post';
const HASTY_SUBJECT = 'troupe.outgoing.notice';

queueContract('a work queue on a nats-server', async (): Promise<QueueUnderTest> => {
  const site = await startSite({ outgoingAckWaitMs: PATIENT_MS });
  const { consumers } = site.nats.jsm;
  const { config } = await consumers.info('TROUPE_OUTGOING', 'outgoing_notice');
  const ackWait = { ack_wait: ACK_WAIT_MS * 1_000_000 };
  await consumers.update('TROUPE_OUTGOING', 'outgoing_notice', { ...config, ...ackWait });
  const hasty = outgoingQueue(site.nats, 'notice');
  return {
    ...{ patient: outgoingQueue(site.nats, 'post'), hasty, ackWaitMs: ACK_WAIT_MS },
    async put(to: Queue, text, options) {
      const subject = to === hasty ? HASTY_SUBJECT : SUBJECT;
      await site.publisher.publish(subject, Buffer.from(text), options);
    },
    close: site.stop,
  };
});

queueContract('the fake', async (): Promise<QueueUnderTest> => {
  const patient = createFakeQueue({ clock: systemClock, ackWaitMs: PATIENT_MS });
  const hasty = createFakeQueue({ clock: systemClock, ackWaitMs: ACK_WAIT_MS });
  return {
    ...{ patient, hasty, ackWaitMs: ACK_WAIT_MS },
    put: async (to, text, options) => {
      const [queue, subject] = to === hasty ? [hasty, HASTY_SUBJECT] : [patient, SUBJECT];
      queue.put(subject, Buffer.from(text), options);
    },
    close: async () => {},
  };
});
