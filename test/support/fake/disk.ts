/** A disk with as much room as a test says. */
import type { Disk } from '../../../src/world.ts';

export function createFakeDisk(freeBytes: number): Disk & { setFreeBytes(bytes: number): void } {
  let free = freeBytes;
  return {
    freeBytes: async () => free,
    setFreeBytes: (bytes) => {
      free = bytes;
    },
  };
}
