import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createDisk } from '../../src/disk.ts';
import { createFakeDisk } from '../support/fake/disk.ts';
import { diskContract } from './disk.ts';

diskContract('the system', () => createDisk(tmpdir()));
diskContract('simulated', () => createFakeDisk(1_000_000));

test('a disk that cannot be asked is a transient failure that names no path', async () => {
  const disk = createDisk(join(tmpdir(), 'troupe-there-is-no-such-directory'));
  await expect(disk.freeBytes()).rejects.toMatchObject({
    code: 451,
    status: '4.3.0',
    message: expect.not.stringContaining('troupe'),
  });
});
