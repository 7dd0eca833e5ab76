import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { createLater } from '../../src/nats/later.ts';
import { dueQueue } from '../../src/nats/queue.ts';
import { createFakeLater } from '../support/fake/later.ts';
import { createFakeQueue } from '../support/fake/queue.ts';
import { startSite } from '../support/nats.ts';
import { laterContract } from './later.ts';
import { newKey } from './ledger.ts';
import { taker } from './queue.ts';

laterContract('schedules on a nats-server', async () => {
  const site = await startSite();
  return {
    later: createLater(site.nats, site.publisher),
    due: dueQueue(site.nats),
    close: site.stop,
  };
});

laterContract('the fake', async () => {
  const due = createFakeQueue({ clock: systemClock });
  return { later: createFakeLater(systemClock, due), due, close: async () => {} };
});

test.each([
  ['ahead', 3_600_000],
  ['behind', -3_600_000],
])('whoever’s clock is an hour %s waits as long as was meant', async (_, wrongMs) => {
  const site = await startSite();
  const now = (): number => Date.now() + wrongMs;
  const later = createLater<{ type: string }>(site.nats, site.publisher, { now });
  const due = taker(dueQueue(site.nats), 10);
  const asked = { id: 't', command: { type: 't' } };
  const putAt = Date.now();
  await later.put('t', now() + 1_500, { to: 'mailbox', key: newKey(), asked });
  (await due.next())?.ack();
  expect(Date.now() - putAt).toBeGreaterThan(1_000);
  await due.stop();
  await site.stop();
});
