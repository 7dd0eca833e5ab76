import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { openRows } from '../../src/store/rows.ts';
import { createFakeDisk } from '../support/fake/disk.ts';
import { fakeRows } from '../support/fake/rows.ts';
import { rowsContract } from './rows.ts';

const parent = await mkdtemp(join(tmpdir(), 'troupe-rows-'));
afterAll(() => rm(parent, { recursive: true, force: true }));

rowsContract('rows in memory', async () => fakeRows());
rowsContract('rows in LMDB', async () =>
  openRows(await mkdtemp(join(parent, 'env-')), { disk: createFakeDisk(1e12), log: silentLog }),
);
