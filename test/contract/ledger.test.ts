import { createLedger } from '../../src/nats/ledger.ts';
import { createFakeLedger } from '../support/fake/ledger.ts';
import { startSite } from '../support/nats.ts';
import { ledgerContract } from './ledger.ts';

ledgerContract('on a nats-server', async () => {
  const site = await startSite();
  return { ledger: createLedger(site.nats, site.publisher), close: site.stop };
});

ledgerContract('the fake', async () => ({ ledger: createFakeLedger(), close: async () => {} }));
