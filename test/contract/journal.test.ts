import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../src/log.ts';
import { openJournal } from '../../src/store/journal.ts';
import { openEnv } from '../../src/store/open.ts';
import { createFakeDisk } from '../support/fake/disk.ts';
import { createFakeJournal } from '../support/fake/journal.ts';
import { journalContract } from './journal.ts';

journalContract('the journal on LMDB', async (clock) => {
  const path = await mkdtemp(join(tmpdir(), 'troupe-journal-'));
  const env = await openEnv(path, {
    ...{ disk: createFakeDisk(2 ** 40), log: silentLog, outlives: 'process' },
  });
  const store = openJournal(env, clock);
  return {
    ...store,
    async close() {
      await store.close();
      await rm(path, { recursive: true });
    },
  };
});

journalContract('the fake', async (clock) => ({ ...createFakeJournal(clock), async close() {} }));
