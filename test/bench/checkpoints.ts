/**
 * What a checkpoint costs, by how many bounces go into one: bytes written, and the processor time that each holds the node up for. The
 * fold and the store are the real ones, of one list; nothing comes by SMTP, so that it takes seconds.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fold } from '../../actors/bounces.ts';
import { createDisk } from '../../src/disk.ts';
import { openBooks } from '../../src/host/bounce-book.ts';
import { silentLog } from '../../src/log.ts';
import type { Address } from '../../src/mail/address.ts';
import type { Bounce } from '../../src/mail/bounce-event.ts';
import { listKeyOf, slotOf } from '../../src/mail/list-key.ts';
import { openRows } from '../../src/store/rows.ts';
import { type Bench, type Figures, figure } from './bench.ts';

const EVERY = [100, 1_000, 10_000] as const;
const KEY = listKeyOf(new Uint8Array(26));

export const checkpoints: Bench = {
  name: 'checkpoints',
  what: 'what the checkpoints of bounces write, by how many bounces go into one (bounces.checkpointEvents)',
  peer: 'Mailman 3: a row, and all rows read again, for each bounce',
  flags: {
    count: { what: 'bounces', default: 20_000 },
    members: {
      what: 'members that they are of, in turn, each time of another post',
      default: 2_000,
    },
  },
  says: ['count', 'members'],
  columns: EVERY.flatMap((every) => [
    figure(`checkpoints${every}`, 0),
    figure(`bytesPerBounce${every}`, 0),
    figure(`msEach${every}`, 1),
  ]),
  tools: [],
  async open(flags, scene) {
    const load = { count: flags.number('count'), members: flags.number('members') };
    const directory = mkdtempSync(join(tmpdir(), 'troupe-checkpoints-'));
    scene.closing(() => rmSync(directory, { recursive: true }));
    return async (run) => {
      const all: Record<string, number> = {};
      for (const every of EVERY) {
        const folder = join(directory, `${run}-${every}`);
        const of = await measured(folder, load, every);
        for (const [name, value] of Object.entries(of)) all[`${name}${every}`] = value;
      }
      return all;
    };
  },
};

type Load = { readonly count: number; readonly members: number };

async function measured(folder: string, load: Load, every: number): Promise<Figures> {
  const { count, members } = load;
  const rows = await openRows(folder, { disk: createDisk(tmpdir()), log: silentLog });
  const books = openBooks(rows, { rows }); // The list has none: nobody knows who got the post.
  const written = { checkpoints: 0, bytes: 0, ms: 0 };
  for (let i = 1; i <= count; i++) {
    fold(books.of(KEY), bounceOf(i % members, Math.ceil(i / members)), i);
    if (i % every !== 0 && i !== count) continue;
    const from = process.cpuUsage();
    written.bytes += books.checkpoint(slotOf(KEY), { seq: i, at: i });
    const { user, system } = process.cpuUsage(from);
    written.ms += (user + system) / 1_000;
    written.checkpoints += 1;
  }
  await rows.close();
  return {
    checkpoints: written.checkpoints,
    bytesPerBounce: written.bytes / count,
    msEach: written.ms / written.checkpoints,
  };
}

const bounceOf = (member: number, post: number): Bounce => ({
  ...{
    type: 'bounce',
    id: `d${member}x${post}`,
    at: 1_800_000_000_000,
    kind: 'bounce',
    verified: true,
  },
  ...{ member, post, address: `m${member}@members${member % 20}.example` as Address },
  ...{ permanent: true, status: '5.1.1', code: 550, reason: 'user-unknown', rule: 'rfc3464' },
  ...{ source: 'dsn', route: 'main', diagnostic: '550 5.1.1 no such user', dsn: '' },
});
