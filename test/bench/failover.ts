/**
 * How long lists are without service when their owner goes: from the strike to the hand-over to the MTA of the first post
 * that was made after it, for each list that the node owned, under a steady load and with all timings as shipped.
 *
 *   unplanned   kill -9 of the node
 *   planned     in turn `troupe node drain`, and SIGTERM as an init sends it
 */
import type { LocalNode } from '../../src/cli/cluster-nodes.ts';
import { nodeControl } from '../../src/nats/subjects.ts';
import { type Bench, figure, none } from './bench.ts';
import { openCluster, type StruckCluster } from './failover-cluster.ts';
import { type SteadyLoad, startSteadyLoad } from './failover-load.ts';
import { percentile } from './figures.ts';
import type { Scene } from './scene.ts';

const LISTS = 36;
const DRAIN_MS_MAX = 15_000;
const MS_A_SECOND = 1_000;

type Blow = 'kill -9' | 'drain' | 'SIGTERM';

export const failover: Bench = {
  name: 'failover',
  what: 'lists without service after their owner was killed, drained or stopped, under load',
  peer: '',
  flags: { rounds: { what: 'kills, and as many planned hand-overs', default: 8 } },
  runs: 1,
  says: [],
  columns: [
    figure('unplannedP50S', 2),
    figure('unplannedP99S', 2, { atMost: 20 }),
    figure('plannedP99S', 2, { atMost: 2 }),
    none('lost'),
  ],
  tools: [],
  async open(flags, scene) {
    const cluster = await openCluster(scene, LISTS);
    return async () => {
      const load = await startSteadyLoad(cluster);
      const unplanned: number[] = [];
      const planned: number[] = [];
      for (let round = 0; round < flags.number('rounds'); round++) {
        const soft = round % 2 === 0 ? 'drain' : 'SIGTERM';
        planned.push(...(await strike(cluster, load, soft, round, scene)));
        unplanned.push(...(await strike(cluster, load, 'kill -9', round, scene)));
      }
      scene.say('the load ends; what was in hand at a kill comes again after 120 s');
      const { acked, copies, duplicates, lost, wrong, broken } = await load.end();
      scene.say(`${acked} posts, ${copies} copies, ${duplicates.length} of them twice`);
      for (const line of lost.slice(0, 10)) scene.say(`lost: ${line}`);
      if (wrong.length + broken.length > 0) throw new Error([...wrong, ...broken].join('\n'));
      return {
        unplannedP50S: percentile(unplanned, 50) / MS_A_SECOND,
        unplannedP99S: percentile(unplanned, 99) / MS_A_SECOND,
        plannedP99S: percentile(planned, 99) / MS_A_SECOND,
        lost: lost.length,
      };
    };
  },
};

/** Strikes one node, waits for all of its lists, and starts it again; ms for each list. */
async function strike(
  cluster: StruckCluster,
  load: SteadyLoad,
  blow: Blow,
  round: number,
  scene: Scene,
): Promise<readonly number[]> {
  const { nodes, lists } = cluster;
  const owners = await cluster.settled();
  const node = nodes[round % nodes.length];
  if (node === undefined) throw new RangeError('no node to strike');
  const struck = lists.filter(({ slot }) => owners.get(slot) === node.name);
  const at = Date.now();
  const struckDown = deal(cluster, node, blow);
  load.avoid(node.name);
  const took = await load.strike(at, struck);
  await struckDown;
  const [best, worst] = [Math.min(...took), Math.max(...took)];
  scene.say(`${round + 1}: ${blow} ${node.name}: ${took.length} lists in ${best}–${worst} ms`);
  await node.stop(); // Drained, it owns nothing until it is started anew.
  await node.start();
  await load.back(node.name);
  return took;
}

async function deal({ nats }: StruckCluster, node: LocalNode, blow: Blow): Promise<void> {
  if (blow === 'kill -9') {
    process.kill(node.pid() ?? 0, 'SIGKILL');
  } else if (blow === 'SIGTERM') {
    await node.stop();
  } else {
    const told = JSON.stringify({ do: 'drain' });
    await nats.nc.request(nodeControl(node.name), told, { timeout: DRAIN_MS_MAX });
  }
}
