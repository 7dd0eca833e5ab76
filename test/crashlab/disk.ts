/**
 * A machine's disk: an ext4 of its own in a file, which can lose its power and run full. Outside of
 * the bottle it is a directory, which can do neither.
 */
import {
  appendFileSync,
  mkdirSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isBottled, tool } from './bottle.ts';

/** Sparse: only what is written is taken. Nodes want 512 MiB free, nats-server reserves 1 GiB. */
const BYTES = 3 * 1024 ** 3;
/** EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (fs/ext4/ext4.h): as if power went now. */
const SHUTDOWN =
  'open(my $d, "<", $ARGV[0]) or die $!; my $f = pack("L", 2); ioctl($d, 0x8004587D, $f) or die $!';
const REST_BYTES = 32 * 1024 ** 2;
const UNMOUNT_TRIES_MAX = 50;
const UNMOUNT_AGAIN_MS = 100;

export type Disk = {
  readonly path: string;
  readonly canFail: boolean;
  /** Whatever has not been synced is gone. Stop the processes before, end them after. */
  cutPower(): void;
  /** Mounts it again as a machine that boots; nothing may have it open any more. */
  boot(): Promise<void>;
  /** Takes all the room there is. */
  fill(): void;
  free(): void;
};

/** A disk with nothing on it. */
export function createDisk(directory: string, name: string): Disk {
  const path = join(directory, name);
  const image = join(directory, `${name}.ext4`);
  const filler = join(path, 'filler');
  mkdirSync(path);
  const canFail = isBottled();
  const mount = (): void => void tool('mount', '-o', 'loop', image, path);
  const free = (): void => rmSync(filler, { force: true });
  if (canFail) {
    writeFileSync(image, '');
    truncateSync(image, BYTES);
    tool('mkfs.ext4', '-q', '-m', '0', image);
    mount();
  }
  return {
    path,
    canFail,
    cutPower: () => void tool('perl', '-e', SHUTDOWN, path),
    async boot() {
      for (let tries = 1; ; tries++) {
        try {
          tool('umount', path);
          break;
        } catch (error) {
          if (tries === UNMOUNT_TRIES_MAX) throw error;
          await pause(UNMOUNT_AGAIN_MS);
        }
      }
      mount();
      free(); // That it was freed may not have been on the disk yet.
    },
    fill() {
      const { bavail, bsize } = statfsSync(path);
      // Most of it at once; how much the file system wants for itself shows at the end only.
      const most = Math.max(bsize, bavail * bsize - REST_BYTES);
      tool('fallocate', '-l', String(most), filler);
      const more = Buffer.alloc(bsize);
      try {
        for (let bytes = 0; bytes < 2 * REST_BYTES; bytes += bsize) appendFileSync(filler, more);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    },
    free,
  };
}
