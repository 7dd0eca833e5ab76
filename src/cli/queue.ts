/**
 * `troupe queue`: what waits and since when, what is parked and why, and sending it back to where
 * it came from.
 */
import { OperatorError, UsageError } from '../errors.ts';
import { queueStates } from '../nats/depths.ts';
import {
  type ParkedMessage,
  type ParkedWhole,
  parkedCounts,
  parkedMessage,
  parkedMessages,
  replayParked,
} from '../nats/parked.ts';
import { type Context, DONE, type ExitCode, FAILED, type Register } from './context.ts';
import { failureOf } from './explain.ts';
import {
  bytesText,
  clean,
  cleanText,
  durationText,
  printFields,
  printTable,
  timeText,
  toJson,
} from './print.ts';
import type { Site } from './site.ts';

/** Parked messages listed at most, unless asked for more. */
const LISTED = 50;
const LISTED_MAX = 10_000;
/** Bytes of a parked message that are shown. */
const SHOWN_BYTES_MAX = 16 * 1024;

type LsFlags = {
  readonly parked?: boolean;
  readonly where?: string;
  readonly limit: string;
  readonly after: string;
};
type ReplayFlags = { readonly all?: boolean; readonly where?: string };

export const register: Register = (program, run) => {
  const queue = program.command('queue').description('what waits and what is parked');
  queue
    .command('ls')
    .description('every queue: what waits, what is in hand, since when; and what is parked')
    .option('--parked', 'list the parked messages')
    .option('--where <runner>', 'only those that this runner parked')
    .option('--limit <count>', 'parked messages listed at most', String(LISTED))
    .option('--after <seq>', 'parked messages after this one', '0')
    .action((flags: LsFlags) =>
      run((c) => (flags.parked === true || flags.where ? lsParked(c, flags) : ls(c))),
    );
  queue
    .command('show <seq>')
    .description('one parked message: where it came from, why it is parked, its bytes')
    .action((seq: string) => run((c) => show(c, seq)));
  queue
    .command('replay [seq...]')
    .description('send parked messages back to where they came from')
    .option('--all', 'all that are parked now')
    .option('--where <runner>', 'with --all: only those that this runner parked')
    .action((seqs: string[], flags: ReplayFlags) => run((c) => replay(c, seqs, flags)));
};

// ── ls ────────────────────────────────────────────────────────────────────

async function ls(context: Context): Promise<ExitCode> {
  const { out } = context;
  return await context.withSite(async ({ nats }) => {
    const [queues, parked] = await Promise.all([queueStates(nats), parkedCounts(nats)]);
    if (out.json) {
      out.print(toJson({ queues, parked: Object.fromEntries(parked) }));
      return DONE;
    }
    const now = context.clock.now();
    const rows = queues.map(({ name, waiting, inHand, oldestAt }) => {
      const age = oldestAt === null ? '-' : durationText(now - oldestAt);
      return [name, waiting, inHand, age];
    });
    printTable(out, ['queue', '>waiting', '>in hand', '>oldest'], rows, 'There is no queue yet.');
    out.print('');
    const counts = [...parked].map(([where, count]) => [where, count]);
    printTable(out, ['parked by', '>messages'], counts, 'Nothing is parked.');
    if (parked.size > 0) out.note('Look at them with: troupe queue ls --parked');
    return DONE;
  });
}

async function lsParked(context: Context, flags: LsFlags): Promise<ExitCode> {
  const limit = Math.min(LISTED_MAX, countOf(flags.limit));
  const after = countOf(flags.after);
  return await context.withSite(async (site) => {
    const { out } = context;
    const found = await collect(site, flags.where, after, limit);
    if (out.json) out.print(toJson(found));
    else {
      const rows = found.map((m) => [
        m.seq,
        timeText(m.at),
        m.where,
        m.fromSubject,
        bytesText(m.bytes),
        m.why,
      ]);
      const columns = ['>seq', 'parked', 'by', 'from', '>size', 'why'];
      printTable(out, columns, rows, 'Nothing is parked.');
      if (found.length === limit) {
        out.note(`There may be more: troupe queue ls --parked --after ${found.at(-1)?.seq ?? 0}`);
      }
    }
    return DONE;
  });
}

async function collect(
  { nats }: Site,
  where: string | undefined,
  after: number,
  limit: number,
): Promise<ParkedMessage[]> {
  const found: ParkedMessage[] = [];
  for await (const message of parkedMessages(nats, after, LISTED_MAX)) {
    if (where === undefined || message.where === where) found.push(message);
    if (found.length >= limit) break;
  }
  return found;
}

// ── show, replay ──────────────────────────────────────────────────────────

async function show(context: Context, seqText: string): Promise<ExitCode> {
  const seq = countOf(seqText);
  return await context.withSite(async ({ nats }) => {
    const message = await parkedMessage(nats, seq);
    if (message === null) {
      throw new OperatorError(`nothing is parked as ${seq}`, 'See `troupe queue ls --parked`.');
    }
    const { data, headers, ...rest } = message;
    if (context.out.json) {
      const inBase64 = Buffer.from(data).toString('base64');
      context.out.print(toJson({ ...rest, headers, data: inBase64 }));
    } else printWhole(context, message);
    return DONE;
  });
}

function printWhole({ out }: Context, message: ParkedWhole): void {
  printFields(out, [
    ['seq', message.seq],
    ['parked', timeText(message.at)],
    ['by', message.where],
    ['why', message.why],
    ['from', `${message.fromSubject} ${message.fromSeq}`],
    ['size', bytesText(message.bytes)],
    ...message.headers,
  ]);
  out.print('');
  const shown = message.data.subarray(0, SHOWN_BYTES_MAX);
  out.print(cleanText(Buffer.from(shown).toString('utf8')).trimEnd());
  const more = message.data.length - shown.length;
  if (more > 0) out.note(`… ${bytesText(more)} more; --json has all of it`);
}

async function replay(
  context: Context,
  seqTexts: readonly string[],
  flags: ReplayFlags,
): Promise<ExitCode> {
  if ((seqTexts.length === 0) !== (flags.all === true)) {
    throw new UsageError(
      'say which messages to replay',
      'Name their sequences (troupe queue ls --parked), or give --all.',
    );
  }
  const named = seqTexts.map(countOf);
  return await context.withSite(async (site) => {
    const seqs =
      flags.all === true
        ? (await collect(site, flags.where, 0, LISTED_MAX)).map(({ seq }) => seq)
        : named;
    const replayed: number[] = [];
    const failed: { seq: number; why: string }[] = [];
    for (const seq of seqs) {
      try {
        const { fromSubject } = await replayParked(site.nats, seq);
        replayed.push(seq);
        if (!context.out.json) context.out.print(clean(`replayed ${seq} to ${fromSubject}`));
      } catch (error) {
        failed.push({ seq, why: failureOf(error).text });
      }
    }
    if (context.out.json) context.out.print(toJson({ replayed, failed }));
    else if (seqs.length === 0) context.out.print('Nothing is parked.');
    else for (const { seq, why } of failed) context.out.note(clean(`${seq}: ${why}`));
    return failed.length === 0 ? DONE : FAILED;
  });
}

function countOf(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new UsageError(`“${text}” is not a number`, 'See `troupe queue ls --parked`.');
}
