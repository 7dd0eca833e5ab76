import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { Chunk } from '../../src/mail/chunk.ts';
import { decodeDue } from '../../src/nats/codec.ts';
import { createLater } from '../../src/nats/later.ts';
import { dueQueue } from '../../src/nats/queue.ts';
import { newKey } from '../contract/ledger.ts';
import { taker } from '../contract/queue.ts';
import { aChunk } from '../support/chunk.ts';
import { eventually } from '../support/eventually.ts';
import { startSite } from '../support/nats.ts';

/** Room for what is done to it before. */
const DUE_IN_MS = 4_000;

test('what fell due while the server was dead comes when it is back', async () => {
  const site = await startSite();
  const later = createLater(site.nats, site.publisher);
  const put = (id: string, inMs: number, chunk: Chunk): Promise<void> =>
    later.put(id, Date.now() + inMs, { to: 'outgoing', chunk });
  const chunk = aChunk();
  await put('overdue', DUE_IN_MS, chunk);
  await put('replaced', DUE_IN_MS, chunk);
  await put('replaced', 3_600_000, chunk);
  await put('cancelled', DUE_IN_MS, chunk);
  await later.cancel('cancelled');
  await site.server.kill9();
  // The time passes while nobody is there.
  await systemClock.sleep(DUE_IN_MS);
  await site.server.restart();
  const due = taker(dueQueue(site.nats), 4);
  const delivery = await due.next();
  expect(delivery?.subject).toBe('troupe.due.overdue');
  expect(decodeDue(delivery?.data ?? new Uint8Array())).toEqual({ to: 'outgoing', chunk });
  delivery?.ack();
  await eventually(() => dueQueue(site.nats).depth()).toEqual({ waiting: 0, inHand: 0 });
  const { state } = await site.nats.jsm.streams.info('TROUPE_LATER', { subjects_filter: '>' });
  expect(state.subjects).toEqual({ 'troupe.later.replaced': 1 });
  await due.stop();
  await site.stop();
});

test('a stream that is nearly full refuses with 452, and loses nothing that waits', async () => {
  const site = await startSite({ maxFileStore: 100_000_000 }); // LATER has 2 MB of it.
  const later = createLater(site.nats, site.publisher);
  const key = newKey();
  const at = Date.now() + 3_600_000;
  const command = { type: 'tell-moderators', padding: 'x'.repeat(100_000) };
  let kept = 0;
  const fill = async (): Promise<void> => {
    for (; kept < 40; kept++) {
      await later.put(`n${kept}`, at, { to: 'mailbox', key, asked: { id: 'x', command } });
    }
  };
  await expect(fill()).rejects.toThrow('Mail system is full');
  expect(kept).toBeGreaterThan(10);
  expect((await site.nats.jsm.streams.info('TROUPE_LATER')).state.messages).toBe(kept);
  await site.stop();
});
