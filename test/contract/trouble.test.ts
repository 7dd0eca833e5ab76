import { systemClock } from '../../src/clock.ts';
import { chunkName } from '../../src/mail/chunk.ts';
import { slotOf } from '../../src/mail/list-key.ts';
import { encodeChunk } from '../../src/nats/codec.ts';
import { createLater } from '../../src/nats/later.ts';
import { createLedger } from '../../src/nats/ledger.ts';
import { outgoingOut } from '../../src/nats/outlets.ts';
import { createPublisher } from '../../src/nats/publisher.ts';
import { dueQueue, outgoingQueue } from '../../src/nats/queue.ts';
import { outgoing as subjectOf } from '../../src/nats/subjects.ts';
import { eventually } from '../support/eventually.ts';
import { createFakeLater } from '../support/fake/later.ts';
import { createFakeLedger } from '../support/fake/ledger.ts';
import { createFakeQueue } from '../support/fake/queue.ts';
import { startSite } from '../support/nats.ts';
import { newKey } from './ledger.ts';
import { troubleContract } from './trouble.ts';

const ACK_WAIT_MS = 1_500;
const DEDUPE_MS = 7_200_000;
/** Appends that a busy server has before another: each is synced to the disk. */
const AHEAD = 40;
const AHEAD_BYTES = 16 * 1024;

troubleContract('a nats-server', async () => {
  const site = await startSite({ outgoingAckWaitMs: ACK_WAIT_MS });
  const { nats, publisher, server } = site;
  const ledger = createLedger(nats, publisher);
  const hasty = createPublisher(nats, { timeoutMs: 1 });
  return {
    outgoing: outgoingOut(publisher),
    queue: outgoingQueue(nats, 'post'),
    ackWaitMs: ACK_WAIT_MS,
    ledger,
    later: createLater(nats, publisher),
    due: dueQueue(nats),
    async restart(ms) {
      await server.kill9();
      await systemClock.sleep(ms);
      await server.restart();
      await eventually(nats.isConnected).toBe(true);
    },
    async appendInDoubt(append) {
      await server.pause();
      const outcome = await append();
      process.kill(server.pid(), 'SIGCONT');
      return outcome;
    },
    async appendUnseen(append) {
      // Ahead of it in the server's queue; a read does not stand in that one.
      const ahead = Array.from({ length: AHEAD }, () => {
        const key = newKey();
        return ledger.append(slotOf(key), key, Buffer.alloc(AHEAD_BYTES), 0);
      });
      const outcome = await append(createLedger(nats, hasty));
      void Promise.all(ahead);
      return outcome;
    },
    async close() {
      hasty.close();
      await site.stop();
    },
  };
});

troubleContract('the fake', async () => {
  const queue = createFakeQueue({
    ...{ clock: systemClock, ackWaitMs: ACK_WAIT_MS, dedupeMs: DEDUPE_MS },
  });
  const due = createFakeQueue({ clock: systemClock });
  const ledger = createFakeLedger();
  return {
    outgoing: {
      put: async (chunks) => {
        for (const chunk of chunks)
          queue.put(subjectOf(chunk.class), encodeChunk(chunk), { id: chunkName(chunk) });
      },
    },
    ...{ queue, ackWaitMs: ACK_WAIT_MS, ledger, due },
    later: createFakeLater(systemClock, due),
    async restart(ms) {
      await systemClock.sleep(ms);
      queue.forgetIds();
    },
    async appendInDoubt(append) {
      ledger.fault = () => 'doubt-stored';
      const outcome = await append();
      ledger.fault = () => null;
      return outcome;
    },
    async appendUnseen(append) {
      ledger.fault = () => 'doubt-late';
      const outcome = await append(ledger);
      ledger.fault = () => null;
      return outcome;
    },
    close: async () => {},
  };
});
