import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../src/log.ts';
import { openJournal } from '../../src/store/journal.ts';
import { createFakeJournal } from '../support/fake/journal.ts';
import { journalContract } from './journal.ts';

journalContract('the journal in a file', async (clock) => {
  const path = await mkdtemp(join(tmpdir(), 'troupe-journal-'));
  const store = await openJournal(join(path, 'chunks'), { clock, log: silentLog });
  return {
    ...store,
    async close() {
      store.close();
      await rm(path, { recursive: true });
    },
  };
});

journalContract('the fake', async (clock) => ({ ...createFakeJournal(clock), close() {} }));
