/**
 * The bounces of a run: DSNs to the return paths that the sink saw, while everything goes wrong, and
 * forged ones among them; and at rest, what the site makes of them.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { BouncesOf } from '../support/bounce-accountant.ts';
import { dsnFrom } from '../support/dsns.ts';
import type { JournalFile } from '../support/journal.ts';
import type { SinkLine, SinkProcess } from '../support/sink-process.ts';
import { type Loaded, type Post, sendLoad } from '../support/smtp-load.ts';
import { dumpStream } from '../support/streams-dump.ts';
import { until } from '../support/until.ts';
import type { Chance } from './chance.ts';
import type { Cluster, List } from './cluster.ts';
import { REQUEST_MS_MAX } from './jet-stream.ts';
import { SMTP_PORT } from './machine.ts';

const DSNS_A_SECOND = 5;
/** So many come at once: some of them are stored as one message. */
const DSNS_AT_ONCE = 15;
const CONNECTIONS = 15;
/** A DSN goes to one of so many copies that came last: its post's chunk may still be in hand. */
const NEWEST = 400;
/** Of a hundred DSNs: sent again though the first was answered, and not ours at all. */
const TWICE = 15;
const FORGED = 10;
/** Of one member; the program tells 64 posts of one apart. */
const OF_MEMBER_MAX = 40;
/** Reasons that count for the member, slowly, and not at all. */
const STATUSES = ['5.1.1', '5.2.2', '5.7.1', '4.4.1'] as const;
const DSN_MS_MAX = 300_000;
const FOLDED_MS_MAX = 300_000;

export type BounceLoad = {
  /** Stops making DSNs; resolves when each has its answer. */
  end(): Promise<Loaded>;
};

export type BounceNeeds = {
  readonly cluster: Cluster;
  readonly lists: readonly List[];
  readonly sink: SinkProcess;
  readonly journal: JournalFile;
  readonly chance: Chance;
};

export function startBounces({ cluster, lists, sink, journal, chance }: BounceNeeds): BounceLoad {
  const ending = new AbortController();
  const choose = choiceOf(chance);

  async function* dsns(): AsyncGenerator<Post> {
    for (let i = 0, tries = 0; !ending.signal.aborted; tries += 1) {
      const isNext = tries % DSNS_AT_ONCE === 0;
      if (isNext) await pause((DSNS_AT_ONCE * 1_000) / DSNS_A_SECOND);
      const copy = choose(sink.lines());
      if (copy === null) continue;
      const to = copy.recipients[0] ?? '';
      const message = dsnFrom({ to, status: chance.pick(STATUSES) });
      const dsn = (path: string): Post => ({
        ...{ marker: `d${i++}`, list: path, sender: '', message, bodySha: '' },
      });
      const drawn = chance.whole(1, 100);
      if (drawn <= FORGED) yield dsn(forgedPath(copy.sender, lists, chance));
      else yield dsn(copy.sender);
      if (drawn > 100 - TWICE) yield dsn(copy.sender);
    }
  }

  const load = sendLoad({
    posts: dsns(),
    connections: CONNECTIONS,
    port: () => ({ host: chance.pick(cluster.machines).address, port: SMTP_PORT }),
    journal,
    postMsMax: DSN_MS_MAX,
  });
  load.catch(() => undefined); // Told where it is awaited.
  return {
    end() {
      ending.abort();
      return load;
    },
  };
}

/** One of the newest copies that the sink took of a post; each once. */
function choiceOf(chance: Chance): (lines: readonly SinkLine[]) => SinkLine | null {
  const chosen = new Set<string>();
  const ofMember = new Map<string, number>();
  return (lines) => {
    const copy = chance.pick(lines.slice(-NEWEST));
    const { sender, marker, answer = 250, recipients } = copy;
    const to = recipients[0] ?? '';
    const before = ofMember.get(to) ?? 0;
    const isPost = marker !== '' && answer < 400;
    if (!isPost || chosen.has(sender) || before >= OF_MEMBER_MAX) return null;
    chosen.add(sender);
    ofMember.set(to, before + 1);
    return copy;
  };
}

/** A return path with another MAC, or where plain DSNs go, which anyone may write to. */
function forgedPath(path: string, lists: readonly List[], chance: Chance): string {
  if (chance.next() < 0.5) return chance.pick(lists).address.replace('@', '-bounces@');
  const at = path.indexOf('@');
  const last = path[at - 1] === 'a' ? 'b' : 'a';
  return `${path.slice(0, at - 1)}${last}${path.slice(at)}`;
}

// ── At rest ───────────────────────────────────────────────────────────────

type Report = Pick<BouncesOf, 'days' | 'posts'> & {
  readonly fold: { readonly folded: number } | null;
};

/** What operators are told of each list's bounces, once all that BOUNCES holds is folded. */
export async function readBounces(
  cluster: Cluster,
  lists: readonly List[],
): Promise<readonly BouncesOf[]> {
  const last = new Map<number, number>();
  for (const { seq, subject } of await dumpStream(cluster.where, 'TROUPE_BOUNCES')) {
    last.set(Number(subject.split('.')[2]), seq);
  }
  const all: BouncesOf[] = [];
  for (const { address, slot } of lists) {
    const read = async (): Promise<BouncesOf> => {
      const report = await reportOf(cluster, address);
      const { code, stdout, stderr } = await cluster.troupe('bounces', 'ls', address, '--json');
      if ((report.fold?.folded ?? -1) < (last.get(slot) ?? 0))
        throw new Error(JSON.stringify(report));
      if (code !== 0) throw new Error(stderr);
      const { members } = JSON.parse(stdout) as Pick<BouncesOf, 'members'>;
      return { ...report, list: address, members };
    };
    all.push(await until(`the bounces of ${address} are folded`, read, FOLDED_MS_MAX));
  }
  return all;
}

async function reportOf({ nc }: Cluster, address: string): Promise<Report> {
  const timeout = REQUEST_MS_MAX;
  return (await nc.request(`troupe.inspect.bounces.${address}`, '', { timeout })).json<Report>();
}
