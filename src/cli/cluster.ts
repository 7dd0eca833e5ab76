/**
 * `troupe cluster up`: three nats-servers and three nodes on this machine, to see who owns what and what happens when one is killed.
 *
 * What is killed is started again after a while. Ctrl-C stops the nodes first, then the servers. It is for trying out: everything
 * shares one disk.
 */
import { mkdir, realpath } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { OperatorError, UsageError } from '../errors.ts';
import { findServer } from '../nats/find-server.mjs';
import { type LocalCluster, startLocalCluster } from '../nats/local-cluster.ts';
import { INSPECT_NODES, INSPECT_SLOTS } from '../nats/subjects.ts';
import { makeSample, SAMPLE_LIST } from '../ops/sample.ts';
import { type LocalNode, openLocalNode } from './cluster-nodes.ts';
import { type ClusterState, newsOf, viewOf } from './cluster-view.ts';
import { type Context, DONE, type ExitCode, FAILED, type Register } from './context.ts';
import { nodesOf, slotsOf } from './places.ts';
import { type Out, toJson } from './print.ts';
import type { Site } from './site.ts';

const ROOT = resolve(import.meta.dirname, '..', '..');
const NODES = ['n1', 'n2', 'n3'] as const;
/** What the streams may share: three copies of it are on one disk. */
const STORAGE_BYTES = 1024 ** 3;
const LOOK_EVERY_MS = 1_000;
const ASK_MS_MAX = 2_000;
/** Long enough to see a take-over end before the one that was killed comes back. */
const AGAIN_AFTER_MS = 45_000;
/** A fresh cluster elects leaders for each stream, and its nodes share the slots. */
const SHARED_MS_MAX = 120_000;

type Flags = { readonly directory: string; readonly once?: boolean; readonly for?: string };

export const register: Register = (program, run) => {
  const cluster = program.command('cluster').description('a cluster on this machine, to try');
  cluster
    .command('up')
    .description('start three nats-servers and three nodes, and show who owns what until Ctrl-C')
    .option('--directory <path>', 'where it keeps everything', join(ROOT, '.troupe', 'cluster'))
    .option('--once', 'show it once when every slot has an owner, then stop')
    .option('--for <seconds>', 'stop after so long')
    .action((flags: Flags) => run((c) => up(c, flags)));
};

type Running = { readonly cluster: LocalCluster; readonly nodes: readonly LocalNode[] };

async function up(context: Context, flags: Flags): Promise<ExitCode> {
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => ending.abort());
  const seconds = flags.for === undefined ? null : secondsFrom(flags.for);
  await mkdir(flags.directory, { recursive: true, mode: 0o700 });
  const directory = await realpath(flags.directory);
  context.out.note(`starting three nats-servers and three nodes under ${directory} …`);
  const cluster = await startLocalCluster({
    directory,
    binary: serverHere(),
    storage: STORAGE_BYTES,
  });
  const nodes: LocalNode[] = [];
  try {
    for (const name of NODES) nodes.push(await openLocalNode(directory, name, cluster));
    const started = Promise.all(nodes.map((node) => node.start()));
    await Promise.race([started, untilAborted(ending.signal)]);
    if (ending.signal.aborted) return DONE;
    return await watch(context, { cluster, nodes }, { ...flags, seconds }, ending.signal);
  } finally {
    context.out.note('stopping the nodes, then the servers …');
    await Promise.all(nodes.map((node) => node.stop()));
    await cluster.stop();
  }
}

function serverHere(): string {
  const { found, passed } = findServer(ROOT, process.env);
  if (found !== null) return found.binary;
  throw new OperatorError(
    ['no nats-server was found', ...passed].join('; '),
    'Run `npm run cluster`, which fetches one, or set TROUPE_NATS_SERVER to its path.',
  );
}

function secondsFrom(text: string): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0) return seconds;
  throw new UsageError(`“${text}” is not a number of seconds`, 'Say for example --for 60.');
}

async function watch(
  context: Context,
  running: Running,
  flags: Pick<Flags, 'once'> & { readonly seconds: number | null },
  signal: AbortSignal,
): Promise<ExitCode> {
  const { out, clock } = context;
  const site = await siteOf(running);
  try {
    for (const line of hints(running)) out.note(line);
    const show = shower(out);
    const again = reviver(context, running);
    const began = clock.monotonic();
    let hasSample = false;
    for (;;) {
      const state = await look(site, running);
      const isShared = state.slots?.every(({ owner }) => owner !== null) === true;
      if (isShared && !hasSample) {
        await makeSample(site.directory, site.asker, context.random);
        hasSample = true;
      }
      const age = clock.monotonic() - began;
      const isOver = flags.seconds !== null && age >= flags.seconds * 1_000;
      if (flags.once === true && !isShared && age > SHARED_MS_MAX) return FAILED;
      if (flags.once !== true || isShared) show(state, flags.once === true || isOver);
      if (signal.aborted || isOver) return DONE;
      if (flags.once === true && isShared) return DONE;
      again();
      await clock.sleep(LOOK_EVERY_MS, signal);
    }
  } finally {
    await site.close();
  }
}

/** The first node's configuration names all servers, so it does for as long as one of them runs. */
async function siteOf({ nodes }: Running): Promise<Site> {
  const { loadConfig } = await import('../config.ts');
  const { openSite } = await import('./open-site.ts');
  return await openSite(loadConfig({ file: nodes[0]?.config ?? '', env: {} }));
}

async function look(site: Site, { cluster, nodes }: Running): Promise<ClusterState> {
  const [live, slots] = await Promise.all([
    site.request(INSPECT_NODES, undefined, ASK_MS_MAX).then(nodesOf, () => null),
    site.request(INSPECT_SLOTS, undefined, ASK_MS_MAX).then(slotsOf, () => null),
  ]);
  return {
    servers: cluster.servers.map(({ name, pid, port }) => ({ name, pid: pid(), port })),
    nodes: await Promise.all(
      nodes.map(async ({ name, pid, smtpPort }) => ({
        name,
        pid: pid(),
        smtpPort: await smtpPort(),
      })),
    ),
    live,
    slots,
  };
}

/** On a terminal one view is drawn over the last; elsewhere a view is printed when there is news. */
function shower(out: Out): (state: ClusterState, isLast: boolean) => void {
  const isTerminal = process.stdout.isTTY === true && !out.json;
  let drawn = 0;
  let news = '';
  return (state, isLast) => {
    if (out.json) {
      if (isLast) out.print(toJson(state));
      return;
    }
    const lines = viewOf(state);
    if (isTerminal) {
      process.stdout.write(drawn > 0 ? `\u001b[${drawn}A\u001b[J` : '');
      drawn = lines.length + 1;
    } else if (newsOf(state) === news) return;
    news = newsOf(state);
    for (const line of [...lines, '']) out.print(line);
  };
}

/** Starts again what has been gone for a while. */
function reviver({ out, clock }: Context, { cluster, nodes }: Running): () => void {
  const goneSince = new Map<string, number>();
  return () => {
    for (const one of [...cluster.servers, ...nodes]) {
      const since = goneSince.get(one.name);
      if (one.pid() !== null) goneSince.delete(one.name);
      else if (since === undefined) goneSince.set(one.name, clock.monotonic());
      else if (clock.monotonic() - since > AGAIN_AFTER_MS) {
        goneSince.delete(one.name);
        one.start().catch((error: Error) => out.note(error.message));
      }
    }
  };
}

function hints({ nodes }: Running): string[] {
  const [first] = nodes;
  return [
    '',
    'Kill a node (kill -9 PID): its lease ends within 15 s, then its slots go to the others.',
    'Stop one (kill PID), or drain it: its slots are handed over at once.',
    'Kill one nats-server: two go on. Kill two: mail is answered 451 and waits for them.',
    `What is killed is started again after ${AGAIN_AFTER_MS / 1_000} s. Ctrl-C stops everything.`,
    '',
    `  npx troupe --config ${first?.config ?? ''} node ls`,
    `  npx troupe --config ${first?.config ?? ''} inspect list ${SAMPLE_LIST}`,
    '',
  ];
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
}
