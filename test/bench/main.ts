/**
 * `npm run bench -- NAME [flags]`: measures this machine with the whole program, driven from outside. Shows a table while
 * it runs; the last line is one JSON object. Exits 1 when something was lost or is missing, 2 for wrong words.
 */
import { accept } from './accept.ts';
import type { Bench, Figures } from './bench.ts';
import { bounces } from './bounces.ts';
import { checkpoints } from './checkpoints.ts';
import { delivery } from './delivery.ts';
import { dsn } from './dsn.ts';
import { duringPost } from './during-post.ts';
import { failover } from './failover.ts';
import { fairness } from './fairness.ts';
import { fanout } from './fanout.ts';
import { summary, tableOf } from './figures.ts';
import { type Asked, readArguments, UsageError, usage } from './flags.ts';
import { growth } from './growth.ts';
import { idle } from './idle.ts';
import { imports } from './import.ts';
import { peers } from './peers.ts';
import { posts } from './posts.ts';
import { routes } from './routes.ts';
import { createScene, type Scene } from './scene.ts';
import { subscribe } from './subscribe.ts';
import { missingTools } from './tools.ts';

const BENCHES: readonly Bench[] = [
  accept,
  fanout,
  fairness,
  posts,
  routes,
  subscribe,
  imports,
  idle,
  growth,
  delivery,
  dsn,
  bounces,
  checkpoints,
  duringPost,
  failover,
  peers,
];
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

async function main(args: readonly string[]): Promise<number> {
  const asked = readArguments(args, BENCHES);
  const { bench } = asked;
  if (bench === null) {
    console.log(usage(BENCHES));
    return 0;
  }
  const missing = missingTools(bench.tools);
  if (missing !== null) {
    process.stderr.write(`${missing}\n`);
    return 1;
  }
  const scene = createScene();
  for (const [signal, code] of Object.entries(SIGNALS)) {
    // What was under way fails while it is closed: nobody wants to hear of that.
    process.once(signal, () => void scene.close().then(() => process.exit(code)));
  }
  try {
    return await run(bench, asked, scene);
  } finally {
    await scene.close();
  }
}

async function run(named: Bench, { flags, runs, isJson }: Asked, scene: Scene): Promise<number> {
  const columns = named.columns.filter(
    ({ onlyWith }) => onlyWith === undefined || flags.number(onlyWith) > 0,
  );
  const bench = { ...named, columns };
  const table = tableOf(columns, flags);
  const show = (line: string): void => (isJson ? console.error(line) : console.log(line));
  show(`${bench.name}: ${bench.what}`);
  const measure = await bench.open(flags, scene);
  show(table.head);
  const measured: Figures[] = [];
  for (let i = 1; i <= runs; i++) {
    const figures = await measure(i);
    measured.push(figures);
    show(table.row(String(i), figures));
  }
  const all = summary(bench.columns, measured);
  show(table.row('median', all));
  for (const bar of table.bars(all)) show(bar);
  if (bench.peer !== '') show(`cited from peers.md: ${bench.peer}`);
  await scene.close();
  const said = bench.says.map((flag) => [
    flag,
    typeof bench.flags[flag]?.default === 'number' ? flags.number(flag) : flags.text(flag),
  ]);
  const told = bench.columns
    .filter(({ where }) => where === 'json')
    .map(({ name }) => [name, all[name]]);
  console.log(JSON.stringify({ bench: bench.name, ...Object.fromEntries([...said, ...told]) }));
  return bench.columns.some(({ of, name }) => of === 'sum' && all[name] !== 0) ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  const isUsage = error instanceof UsageError;
  console.error(isUsage ? `${error.message}\n\n${usage(BENCHES)}` : error);
  return isUsage ? 2 : 1;
});
