/**
 * Memory at rest: the resident set of every process of a site, some time after it was started as operators start it, the
 * launcher included, beside a bare nats-server on the same store and a bare Node; and where lists are asked for, what each one adds to the node's heap once it sleeps.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { newPlace } from '../support/site.ts';
import { until } from '../support/until.ts';
import { aside, type Bench, figure } from './bench.ts';
import { weighLists } from './idle-lists.ts';
import { bareRssMb } from './limits.ts';
import { cpuMsOf, family, rssMbOf } from './processes.ts';
import type { Scene } from './scene.ts';

const LAUNCHER = resolve(import.meta.dirname, '..', '..', 'src', 'troupe.mjs');
const REST_MS = 10_000;
const READY_MS_MAX = 60_000;

type Started = {
  /** The launcher, the node and its nats-server. */
  readonly pids: readonly [number, number, number];
  /** Its data directory. */
  readonly data: string;
  stop(): Promise<void>;
  remove(): void;
};

export const idle: Bench = {
  name: 'idle',
  what: 'resident memory of all processes of a site, 10 s after its start by `troupe serve`',
  peer: 'Mailman 3 core: 1,249–1,361 MiB in 16 processes',
  flags: { lists: { what: 'lists that sleep; what each adds to the heap is weighed', default: 0 } },
  says: [],
  columns: [
    figure('rssMb', 0, { atMost: 250 }),
    figure('limitMb', 0),
    figure('ratio', 2),
    { ...figure('lists', 0), onlyWith: 'lists' },
    { ...figure('heapPerListBytes', 0, { atMost: 1_024 }), onlyWith: 'lists' },
    aside('launcherMb'),
    aside('nodeMb'),
    aside('natsMb'),
    aside('processes'),
    aside('cpuPercent', 1),
  ],
  tools: [],
  async open(flags, scene) {
    const lists = flags.number('lists');
    const heapPerListBytes = lists > 0 ? await weighLists(lists, scene) : 0;
    return async () => {
      const { pids, data, stop, remove } = await start(scene);
      const [launcher, node, nats] = pids;
      const all = (of: (pid: number) => number): number =>
        [...family(pids)].reduce((sum, pid) => sum + of(pid), 0);
      await pause(REST_MS / 2);
      const before = all(cpuMsOf);
      await pause(REST_MS / 2);
      const figures = {
        lists,
        heapPerListBytes,
        rssMb: all(rssMbOf),
        launcherMb: rssMbOf(launcher),
        nodeMb: rssMbOf(node),
        natsMb: rssMbOf(nats),
        processes: family(pids).size,
        cpuPercent: ((all(cpuMsOf) - before) * 100) / (REST_MS / 2),
      };
      await stop();
      const limitMb = await bareRssMb(data, REST_MS, scene);
      remove();
      return { ...figures, limitMb, ratio: figures.rssMb / limitMb };
    };
  },
};

/** Resolves when the site is ready. */
async function start(scene: Scene): Promise<Started> {
  const { directory, data, env } = newPlace();
  const noted = (file: string) =>
    JSON.parse(readFileSync(join(data, file), 'utf8')) as { readonly pid: number };
  const launcher = spawn(process.execPath, [LAUNCHER, 'serve'], { env, stdio: 'ignore' });
  const gone = once(launcher, 'exit');
  const stop = async (): Promise<void> => {
    launcher.kill('SIGTERM');
    await gone;
  };
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  scene.closing(remove);
  scene.closing(stop);
  const node = await until('the site is ready', () => noted('site.json').pid, READY_MS_MAX);
  return { pids: [launcher.pid ?? 0, node, noted('nats.json').pid], data, stop, remove };
}
