/**
 * `troupe member import` of a large file into an empty list, as an operator runs it: the whole process, start and end included.
 * The limit is the same members as raw records, appended to a file stream of the same server one after another.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ADD_MEMBERS_MAX } from '../../actors/protocol.ts';
import { aside, type Bench, figure } from './bench.ts';
import { storeRate } from './limits.ts';
import { makeList, memberOf, openSite } from './site.ts';

export const imports: Bench = {
  name: 'import',
  what: 'a file of members imported by the command line',
  peer: 'Mailman 3: 67–88 members/s from the command line, so half an hour for 138,000',
  flags: { members: { what: 'lines of the file', default: 138_000 } },
  says: ['members'],
  columns: [
    figure('seconds', 2, { atMost: 10 }),
    figure('limitSeconds', 2),
    figure('ratio', 1),
    aside('perSecond'),
    aside('startSeconds', 2),
  ],
  tools: [],
  async open(flags, scene) {
    const members = flags.number('members');
    const bench = await openSite(scene, null);
    const directory = mkdtempSync(join(tmpdir(), 'troupe-bench-'));
    scene.closing(() => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, 'members.txt');
    const lines = Array.from({ length: members }, (_, i) => `${memberOf(i + 1)}\n`);
    writeFileSync(file, lines.join(''));
    const records = recordsOf(members);
    const timed = async <T>(...args: readonly string[]) => {
      const startedAt = performance.now();
      const said = await bench.site.troupe<T>(...args);
      return { said, seconds: (performance.now() - startedAt) / 1_000 };
    };
    return async (run) => {
      const { address } = await makeList(bench, `import-${run}`, {}, 0);
      const empty = await timed('list', 'show', address);
      const { said, seconds } = await timed<{ added: number }>('member', 'import', address, file);
      if (said.added !== members) throw new Error(`added: ${JSON.stringify(said)}`);
      const things = records.map((record) => [record]);
      const limitSeconds = records.length / (await storeRate(bench, things, 1));
      const ratio = seconds / limitSeconds;
      const perSecond = members / seconds;
      return { seconds, limitSeconds, ratio, perSecond, startSeconds: empty.seconds };
    };
  },
};

/** What the list's records hold of so many members: the members of a command each. */
function recordsOf(members: number): readonly Uint8Array[] {
  return Array.from({ length: Math.ceil(members / ADD_MEMBERS_MAX) }, (_, i) => {
    const first = i * ADD_MEMBERS_MAX;
    const many = Math.min(ADD_MEMBERS_MAX, members - first);
    const named = Array.from({ length: many }, (_, j) => ({
      address: memberOf(first + j + 1),
      name: '',
    }));
    return Buffer.from(JSON.stringify(named));
  });
}
