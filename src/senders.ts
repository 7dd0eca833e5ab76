/**
 * Sender processes: the same program with the role `outgoing` alone, started while there is much to send. Part of the wiring
 * (`main.ts`).
 *
 * A sender is a node of its own, with its own journal, that owns no slots. One that dies is started again, since its journal knows
 * what it had in hand; when there is nothing left to send all are ended, so that an idle machine keeps its memory. When this
 * process dies they see it, and end too.
 *
 * A sender takes a core. Where none is left it takes it from NATS, the MTA and the edge: on two cores, the MTA on the same machine,
 * no more is sent and the 99th percentile of a mail's acceptance is four times as long (measured). So none is started there.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from './clock.ts';
import type { RouteConfig } from './config.ts';
import { isTaken } from './data-directory.ts';
import { MailError } from './errors.ts';
import { createLoad, createSpareCore } from './load.ts';
import { CLASSES } from './mail/chunk.ts';
import { outgoingQueues } from './nats/queue.ts';
import { createDemand } from './runners/demand.ts';
import type { Repeat, Repeats } from './runners/repeats.ts';
import type { Node } from './site.ts';

const PROGRAM = fileURLToPath(new URL('cli/main.ts', import.meta.url));
/** How often it is looked whether there is much to send; asks nobody while this process has time to spare. */
const LOOK_MS = 2_000;
/** One that died is started again after a pause, which doubles up to the bound; one that ran for so long was well. */
const AGAIN_MS_MIN = 500;
const AGAIN_MS_MAX = 60_000;
const STEADY_MS = 60_000;
/** A runner lays down what it has in hand within 10 s of being told to stop. */
const STOP_MS_MAX = 20_000;
/** Of our own name in a sender's: a node's name has at most 32 characters. */
const NAME_LENGTH_MAX = 28;

/** Looks until the node stops; senders come and go. What they note as repeated is the node's too. */
export async function startSenders(node: Node, repeats: Pick<Repeats, 'add'>): Promise<void> {
  const { config, site, log, closers } = node;
  const most = config.outgoing.senders;
  if (most === 0) return;
  const stopping = new AbortController();
  const queues = Object.values(outgoingQueues(site.nats));
  const demand = createDemand(most, await countCutShort(node, most));
  const { isBusy } = createLoad();
  const hasCoreToSpare = createSpareCore();
  const running: Sender[] = [];
  // What is captured is kept by this node alone.
  const wanted = (): number => (routesOf(node).length === 0 ? 0 : demand.wanted());

  async function look(): Promise<void> {
    const isCoreLeft = hasCoreToSpare(); // Each time: it says what was since it was asked last.
    const busy = isBusy() && isCoreLeft;
    if (!busy && demand.wanted() === 0) return;
    const depths = await Promise.all(queues.map((queue) => queue.depth()));
    demand.see({ isBusy: busy, waiting: depths.reduce((sum, { waiting }) => sum + waiting, 0) });
  }

  async function follow(): Promise<void> {
    while (!stopping.signal.aborted) {
      while (running.length < wanted())
        running.push(startSender(node, running.length + 1, repeats));
      if (wanted() === 0) await endAll();
      await systemClock.sleep(LOOK_MS, stopping.signal);
      try {
        await look();
      } catch (error) {
        if (!(error instanceof MailError)) throw error; // NATS is away: there is another look.
      }
    }
  }

  const endAll = async (): Promise<void> => {
    await Promise.all(running.splice(0).map((sender) => sender.stop()));
  };
  const following = follow().catch((error: unknown) => log.error({ err: error }, 'no senders now'));
  closers.push(async () => {
    stopping.abort();
    await following;
    await endAll();
  });
}

/** Those of the file, and those that were added live: a sender begins with all of them, since one without any would capture. */
function routesOf({ config, parts }: Node): readonly RouteConfig[] {
  const live = (parts.routes?.all() ?? []).map(({ live: { settings } }) => settings);
  const added = live.filter(({ name }) => config.routes.every((route) => route.name !== name));
  return [...config.routes, ...added.filter(({ url }) => url !== '')];
}

const directoryOf = ({ site }: Node, number: number): string =>
  join(site.data, 'senders', String(number));

/** Senders, counted from the first, up to the last that did not end in order: it may have chunks in hand. */
async function countCutShort(node: Node, most: number): Promise<number> {
  let count = 0;
  for (let number = 1; number <= most; number++) {
    if (await isTaken(directoryOf(node, number))) count = number;
  }
  return count;
}

type Sender = {
  /** Lets it lay down what it has in hand; resolves when it is gone. */
  stop(): Promise<void>;
};

/** Keeps one sender running until it is stopped. */
function startSender(node: Node, number: number, repeats: Pick<Repeats, 'add'>): Sender {
  const { log } = node;
  const stopping = new AbortController();
  let child: ChildProcess | null = null;

  async function keep(): Promise<void> {
    for (let pause = AGAIN_MS_MIN; !stopping.signal.aborted; pause *= 2) {
      const began = systemClock.monotonic();
      const started = spawnProgram(await writeConfig(node, number));
      child = started;
      hearRepeats(started, repeats);
      log.info({ sender: number, pid: started.pid }, 'a sender starts: there is much to send');
      if (stopping.signal.aborted) started.kill('SIGTERM');
      const how = await endOf(started);
      if (stopping.signal.aborted) return;
      if (systemClock.monotonic() - began > STEADY_MS) pause = AGAIN_MS_MIN;
      pause = Math.min(pause, AGAIN_MS_MAX);
      log.warn({ sender: number, ...how, pause }, 'a sender ended; it is started again');
      await systemClock.sleep(pause, stopping.signal);
    }
  }

  const kept = keep().catch((error: unknown) => {
    log.error({ sender: number, err: error }, 'a sender cannot be started');
  });
  return {
    async stop() {
      stopping.abort();
      child?.kill('SIGTERM');
      const late = setTimeout(() => child?.kill('SIGKILL'), STOP_MS_MAX);
      await kept;
      clearTimeout(late);
      log.info({ sender: number }, 'a sender has ended: there is nothing left to send');
    },
  };
}

/** Tells the node what this process may have repeated, if it is a sender: nobody asks a sender, and it may be gone soon. */
export function tellNode(repeat: Repeat): void {
  if (process.connected) process.send?.(repeat, () => undefined); // A node that is gone has no count.
}

export function hearRepeats(sender: ChildProcess, repeats: Pick<Repeats, 'add'>): void {
  sender.on('message', (said) => {
    const { class: name, recipients } = said as Partial<Repeat>;
    const cls = CLASSES.find((one) => one === name);
    if (cls !== undefined && recipients !== undefined) repeats.add({ class: cls, recipients });
  });
}

/** Its own name and data directory, our NATS server, everything else as ours; in a file, since a variable would be read by `ps`. */
async function writeConfig(node: Node, number: number): Promise<string> {
  const { config, site } = node;
  const data = directoryOf(node, number);
  const file = join(data, 'config.yaml');
  const given = {
    ...config,
    routes: routesOf(node),
    data,
    node: `${config.node.slice(0, NAME_LENGTH_MAX)}-s${number}`,
    roles: ['outgoing'],
    nats: site.login,
    outgoing: { ...config.outgoing, senders: 0 },
  };
  await mkdir(data, { recursive: true, mode: 0o700 });
  await writeFile(file, JSON.stringify(given), { mode: 0o600 }); // JSON is YAML.
  return file;
}

/** In a session of its own, since Ctrl-C is for us; it ends when the channel between us closes (main.ts). */
function spawnProgram(config: string): ChildProcess {
  const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith('TROUPE_'));
  const child = spawn(process.execPath, [PROGRAM, '--config', config, 'serve'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: Object.fromEntries(inherited),
  });
  child.on('error', () => undefined); // Told by its end.
  return child;
}

async function endOf(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
    return { code, signal };
  } catch {
    return { code: null, signal: null }; // It could not even be spawned.
  }
}
