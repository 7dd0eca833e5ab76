import { systemClock } from '../../src/clock.ts';
import { createLater } from '../../src/nats/later.ts';
import { dueQueue } from '../../src/nats/queue.ts';
import { createFakeLater } from '../support/fake/later.ts';
import { createFakeQueue } from '../support/fake/queue.ts';
import { startSite } from '../support/nats.ts';
import { laterContract } from './later.ts';

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
