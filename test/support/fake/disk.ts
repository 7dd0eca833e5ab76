/** A disk with as much room as a test says. */
import { MailError } from '../../../src/errors.ts';
import type { Disk } from '../../../src/world.ts';

export type FakeDisk = Disk & {
  /** Null: it cannot be asked. */
  setFreeBytes(bytes: number | null): void;
};

export function createFakeDisk(freeBytes: number): FakeDisk {
  let free: number | null = freeBytes;
  return {
    freeBytes: async () => {
      if (free === null) throw new MailError(451, '4.3.0', 'not ready');
      return free;
    },
    setFreeBytes: (bytes) => {
      free = bytes;
    },
  };
}
