/**
 * The real disk: how much room is left under the data directory, so that work is refused before it
 * is full.
 */
import { statfs } from 'node:fs/promises';
import { MailError } from './errors.ts';
import type { Disk } from './world.ts';

/**
 * The file system that holds `path`. `freeBytes` throws MailError 451 4.3.0 when it cannot be
 * asked.
 */
export function createDisk(path: string): Disk {
  return {
    async freeBytes() {
      try {
        const { bavail, bsize } = await statfs(path);
        return bavail * bsize;
      } catch (error) {
        throw new MailError(451, '4.3.0', 'Mail system is not ready, try again later', error);
      }
    },
  };
}
