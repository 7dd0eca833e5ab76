/**
 * Members added one a command, each durable before it is answered, with 64 commands in flight. The limit is as many raw records
 * appended to a file stream of the same server, as many in flight; commands of one turn share a record, so it may be passed.
 */
import type { Answer } from '../../actors/protocol.ts';
import { aside, type Bench, CPU_COLUMNS, figure } from './bench.ts';
import { median, percentile } from './figures.ts';
import { storeRate } from './limits.ts';
import { adding, addressOf, cpuOfEach, makeList, openSite, tell } from './site.ts';

const WARM_UP = 500;
/** About what the record of one member has, fact and head. */
const RECORD_BYTES = 400;

export const subscribe: Bench = {
  name: 'subscribe',
  what: 'members added one a command, durable and answered',
  peer: 'Mailman 3: 16–50 a second',
  flags: {
    members: { what: 'members of one run', default: 5_000 },
    lists: { what: 'lists that they join', default: 1 },
    window: { what: 'commands in flight', default: 64 },
  },
  says: [],
  columns: [
    figure('perSecond', 0, { atLeast: 1_000 }),
    figure('p99Ms', 1),
    figure('limitPerSecond', 0),
    figure('ratio', 2),
    aside('p50Ms', 1),
    ...CPU_COLUMNS,
  ],
  tools: [],
  async open(flags, scene) {
    const bench = await openSite(scene, null);
    const lists = await Promise.all(
      Array.from({ length: flags.number('lists') }, (_, i) => makeList(bench, `list-${i}`, {}, 10)),
    );
    const asker = bench.asker();
    const add = async (run: number, members: number): Promise<readonly number[]> => {
      const ms: number[] = [];
      let next = 0;
      const work = async (): Promise<void> => {
        for (let i = next++; i < members; i = next++) {
          const list = lists[i % lists.length];
          if (list === undefined) return;
          const startedAt = performance.now();
          const command = adding([addressOf(`s${run}-${i}@members.example`)]);
          expectAdded(await tell(asker, list.key, `s.${run}.${i}`, command));
          ms.push(performance.now() - startedAt);
        }
      };
      await Promise.all(Array.from({ length: flags.number('window') }, work));
      return ms;
    };
    await add(0, WARM_UP);
    return async (run) => {
      const members = flags.number('members');
      const records = Array.from({ length: members }, () => [new Uint8Array(RECORD_BYTES)]);
      const limit = (): Promise<number> => storeRate(bench, records, flags.number('window'));
      const limitBefore = await limit();
      const before = bench.cpuMs();
      const startedAt = performance.now();
      const ms = await add(run, members);
      const perSecond = (members * 1_000) / (performance.now() - startedAt);
      const cpu = cpuOfEach(before, bench.cpuMs(), members);
      // On both sides of ours: what else the machine does falls on both.
      const limitPerSecond = (limitBefore + (await limit())) / 2;
      const ratio = perSecond / limitPerSecond;
      const times = { p99Ms: percentile(ms, 99), p50Ms: median(ms) };
      return { perSecond, ...times, limitPerSecond, ratio, ...cpu };
    };
  },
};

function expectAdded(answer: Answer): void {
  if (answer.type === 'members-added' && answer.added === 1) return;
  throw new Error(`a member was not added: ${JSON.stringify(answer)}`);
}
