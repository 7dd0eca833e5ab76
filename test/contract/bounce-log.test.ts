import { createBounceLog } from '../../src/nats/bounces.ts';
import { bouncesOut } from '../../src/nats/outlets.ts';
import { createFakeBounceLog } from '../support/fake/bounce-log.ts';
import { startSite } from '../support/nats.ts';
import { bounceLogContract } from './bounce-log.ts';

bounceLogContract('on a nats-server', async () => {
  const site = await startSite();
  const log = { ...createBounceLog(site.nats), ...bouncesOut(site.nats, site.publisher) };
  return { log, close: site.stop };
});

bounceLogContract('the fake', async () => {
  return { log: createFakeBounceLog(), close: async () => {} };
});
