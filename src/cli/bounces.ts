/**
 * `troupe bounces`: whose mail comes back and why, what is done about it, reports, and what was not
 * understood.
 */
import type {
  BounceHistory,
  BounceReport,
  BouncesPage,
  BouncingMember,
} from '../../actors/bounces/report.ts';
import type { Command } from '../../actors/protocol.ts';
import { UsageError } from '../errors.ts';
import type { Bounce } from '../mail/bounce-event.ts';
import { readBounce } from '../nats/bounces.ts';
import type { DirectoryEntry } from '../nats/directory.ts';
import { type ParkedMessage, parkedMessage, parkedMessages, replayParked } from '../nats/parked.ts';
import { type Context, DONE, type ExitCode, FAILED, type Register } from './context.ts';
import { failureOf } from './explain.ts';
import { clean, cleanText, printFields, printTable, timeText, toJson } from './print.ts';
import { addressFrom, command, commandId, findList, question, type Site } from './site.ts';

const PAGE = 1_000;
/** Lists that a report of the whole site asks at once. */
const LISTS_AT_ONCE = 32;
/** Where the incoming runner sets aside what came to a bounce address and is not understood. */
const UNRECOGNISED = 'bounce';

export const register: Register = (program, run) => {
  const bounces = program.command('bounces').description('mail that came back');
  bounces
    .command('ls [list]')
    .description(
      'members whose mail comes back, and their score; --unrecognised: what was not understood',
    )
    .option('--unrecognised', 'mail to bounce addresses that no rule understands, and why not')
    .action((list: string | undefined, { unrecognised }: { unrecognised?: boolean }) =>
      run((c) => (unrecognised === true ? lsParked(c) : ls(c, listFrom(list)))),
    );
  bounces
    .command('show <list> <address>')
    .description("a member's history, what made the list act each time, and what came back last")
    .action((list: string, address: string) => run((c) => show(c, list, address)));
  bounces
    .command('reset <list> <address...>')
    .description('send to these members again, and forget what came back')
    .action((list: string, addresses: string[]) => run((c) => reset(c, list, addresses)));
  bounces
    .command('replay [seq...]')
    .description('look again at what was not understood: some, or --all')
    .option('--all', 'all of it')
    .action((seqs: string[], { all }: { all?: boolean }) =>
      run((c) => replay(c, seqs, all === true)),
    );
  bounces
    .command('report [list]')
    .description('what came back by day, reason, route and post; of one list or by list')
    .action((list: string | undefined) =>
      run((c) => (list === undefined ? reportSite(c) : report(c, list))),
    );
};

function listFrom(list: string | undefined): string {
  if (list !== undefined) return list;
  throw new UsageError('which list?', 'Name it: troupe bounces ls dev@example.org');
}

// ── ls ────────────────────────────────────────────────────────────────────

async function ls(context: Context, text: string): Promise<ExitCode> {
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const { members, threshold } = await bouncing(site, list);
    if (context.out.json) {
      context.out.print(toJson({ list: list.address, threshold, members }));
      return DONE;
    }
    const rows = members.map(({ number, address, score, bounces, mail, last }) => [
      ...[number, address, `${score}/${threshold}`, bounces, mail],
      ...[last === null ? '' : timeText(last.at), last?.what ?? ''],
    ]);
    const columns = ['>number', 'address', '>score', '>bounces', 'mail', 'last', 'what'];
    printTable(context.out, columns, rows, `Nothing came back of what ${list.address} sent.`);
    return DONE;
  });
}

async function bouncing(
  site: Site,
  list: DirectoryEntry,
): Promise<{ readonly members: readonly BouncingMember[]; readonly threshold: number }> {
  const members: BouncingMember[] = [];
  for (let after = 0; ; ) {
    const asked = { ask: 'bounces', after, limit: PAGE } as const;
    const page = (await question<BouncesPage>(site, list, asked)).answer;
    members.push(...page.bouncing);
    // A page that does not go on would be asked for again for ever.
    if (page.next === null || page.next <= after) return { members, threshold: page.threshold };
    after = page.next;
  }
}

async function lsParked(context: Context): Promise<ExitCode> {
  return await context.withSite(async (site) => {
    const found = await unrecognised(site);
    if (context.out.json) context.out.print(toJson(found));
    else {
      const rows = found.map(({ seq, at, why }) => [seq, timeText(at), why]);
      printTable(context.out, ['>seq', 'came', 'why not'], rows, 'All that came was understood.');
      if (found.length > 0) context.out.note('Look at one with: troupe queue show SEQ');
    }
    return DONE;
  });
}

/** All of it: PARKED itself is bounded, by its bytes and 90 days. */
async function unrecognised({ nats }: Site): Promise<readonly ParkedMessage[]> {
  const found: ParkedMessage[] = [];
  const all = parkedMessages(nats, 0, Number.POSITIVE_INFINITY, UNRECOGNISED);
  for await (const message of all) found.push(message);
  return found;
}

// ── show, reset, replay ───────────────────────────────────────────────────

async function show(context: Context, listText: string, addressText: string): Promise<ExitCode> {
  const { out } = context;
  const address = addressFrom(addressText);
  return await context.withSite(async (site) => {
    const list = await findList(site, listText);
    const asked = { ask: 'bounces-of', who: { address } } as const;
    const found = (await question<BounceHistory>(site, list, asked)).answer;
    const seqs = eventsOf(found.history);
    const events = await Promise.all(seqs.map((seq) => readBounce(site.nats, seq)));
    const dsns = events.flatMap((event, i) =>
      event?.type === 'bounce' ? [{ seq: seqs[i], ...event }] : [],
    );
    if (out.json) {
      out.print(toJson({ ...found, dsns }));
      return DONE;
    }
    const { trouble, rules } = found;
    printFields(out, [
      ['address', found.address],
      ['number', found.number],
      ['score', `${found.score} of ${rules.threshold} (${rules.scoring})`],
      ['mail', found.mail],
      ['suspect', suspectText(found.suspect)],
      ['disabled by', trouble.disabledBy ?? 'nobody'],
      ['warnings', `${trouble.warned} of ${rules.warnings}`],
      ['probes', trouble.probes],
    ]);
    out.print('');
    const lines = found.history.map(({ at, seq, what, cause }) => [
      ...[timeText(at), seq, what, cause ?? ''],
    ]);
    printTable(out, ['when', '>event', 'what', '>because of'], lines, 'Nothing came back.');
    for (const event of dsns) printEvent(out, event);
    if (dsns.length < seqs.length) out.note('Older events are gone: they are kept 60 days.');
    return DONE;
  });
}

/** The events that made the list do something, and what came back last; the newest first. */
function eventsOf(history: BounceHistory['history']): readonly number[] {
  const causes = history.flatMap(({ cause }) => cause ?? []);
  const last = history.findLast(({ cause }) => cause === undefined)?.seq ?? [];
  return [...new Set([...causes].concat(last))].sort((a, b) => b - a);
}

function printEvent(out: Context['out'], event: Bounce & { readonly seq: number | undefined }) {
  const { seq, at, address, reason, status, route, diagnostic, dsn } = event;
  out.print('');
  printFields(out, [
    ['event', `${seq}, ${timeText(at)}`],
    ['recipient', address ?? 'not named'],
    ['reason', `${reason} ${status ?? ''}`.trim()],
    ['route', route ?? 'not known'],
    ['reply', diagnostic],
  ]);
  if (dsn !== '') out.print(cleanText(Buffer.from(dsn, 'latin1').toString('utf8')).trimEnd());
}

/** Why the address is suspect here, though nothing need have come back of what this list sent. */
function suspectText(suspect: BounceHistory['suspect']): string {
  if (suspect === null) return 'no';
  const { reason, list, since } = suspect;
  return `${reason.replaceAll('-', ' ')} on ${list} since ${timeText(since)}`;
}

async function reset(
  context: Context,
  listText: string,
  texts: readonly string[],
): Promise<ExitCode> {
  const addresses = texts.map(addressFrom);
  return await context.withSite(async (site) => {
    const list = await findList(site, listText);
    const done: string[] = [];
    const failed: { address: string; why: string }[] = [];
    for (const address of addresses) {
      const what: Command = { type: 'set-delivery', who: { address }, on: true, by: context.by };
      try {
        await command(site, list, commandId(context.random), what);
        done.push(address);
      } catch (error) {
        failed.push({ address, why: failureOf(error).text });
      }
    }
    if (context.out.json) context.out.print(toJson({ reset: done, failed }));
    else {
      for (const address of done) context.out.print(clean(`${address} gets mail again`));
      for (const { address, why } of failed) context.out.note(clean(`${address}: ${why}`));
    }
    return failed.length === 0 ? DONE : FAILED;
  });
}

async function replay(
  context: Context,
  texts: readonly string[],
  isAll: boolean,
): Promise<ExitCode> {
  if ((texts.length === 0) !== isAll || !texts.every((text) => /^\d{1,15}$/.test(text))) {
    const next = 'Name sequences of `troupe bounces ls --unrecognised`, or give --all.';
    throw new UsageError('say what to look at again', next);
  }
  return await context.withSite(async (site) => {
    // What is still not understood is set aside again: only what is there now is taken.
    const wanted = isAll
      ? (await unrecognised(site)).map(({ seq }) => seq)
      : [...new Set(texts.map(Number))];
    const replayed: number[] = [];
    for (const seq of wanted) {
      if ((await parkedMessage(site.nats, seq))?.where !== UNRECOGNISED) continue;
      await replayParked(site.nats, seq);
      replayed.push(seq);
    }
    const missing = wanted.filter((seq) => !replayed.includes(seq));
    if (context.out.json) context.out.print(toJson({ replayed, missing }));
    else context.out.print(`${replayed.length} are looked at again`);
    for (const seq of missing) context.out.note(`there is no unrecognised bounce ${seq}`);
    return missing.length === 0 ? DONE : FAILED;
  });
}

// ── report ────────────────────────────────────────────────────────────────

const reportOf = async (site: Site, list: DirectoryEntry): Promise<BounceReport> =>
  (await question<BounceReport>(site, list, { ask: 'bounce-report' })).answer;

async function report(context: Context, text: string): Promise<ExitCode> {
  const { out } = context;
  return await context.withSite(async (site) => {
    const found = await reportOf(site, await findList(site, text));
    if (out.json) {
      out.print(toJson(found));
      return DONE;
    }
    const days = found.days.map(({ day, bounces, hints, complaints, reasons, routes }) => [
      ...[day, bounces, hints, complaints, countsText(reasons), countsText(routes)],
    ]);
    const none = `Nothing came back of what ${found.address} sent in 60 days.`;
    const columns = ['day', '>bounces', '>hints', '>complaints', 'reasons', 'route'];
    printTable(out, columns, days, none);
    if (found.posts.length === 0) return DONE;
    out.print('');
    const posts = found.posts.map(({ post, members, reasons, storm }) => [
      ...[post, members ?? '?', countsText(countsOf(reasons))],
      storm === null ? '' : `storm: ${storm}; counts against nobody`,
    ]);
    printTable(out, ['>post', '>members', 'came back', ''], posts, '');
    return DONE;
  });
}

type ListCounts = {
  readonly list: string;
  readonly bounces: number;
  readonly hints: number;
  readonly complaints: number;
};

function countsOfDays(list: string, days: BounceReport['days']): ListCounts {
  const sum = (what: 'bounces' | 'hints' | 'complaints') =>
    days.reduce((total, day) => total + day[what], 0);
  return { list, bounces: sum('bounces'), hints: sum('hints'), complaints: sum('complaints') };
}

/** Every list, and every route, of the days that are kept. */
async function reportSite(context: Context): Promise<ExitCode> {
  const { out } = context;
  return await context.withSite(async (site) => {
    const stop = new AbortController();
    const mirror = await site.directory.mirror(stop.signal);
    stop.abort();
    const entries = [...mirror.all()].filter(({ state }) => state !== 'new');
    const lists: ListCounts[] = [];
    const routes: Record<string, number> = {};
    for (let from = 0; from < entries.length; from += LISTS_AT_ONCE) {
      const some = entries.slice(from, from + LISTS_AT_ONCE);
      for (const { address, days } of await Promise.all(some.map((one) => reportOf(site, one)))) {
        lists.push(countsOfDays(address, days));
        for (const [route, many] of days.flatMap((day) => Object.entries(day.routes)))
          routes[route] = (routes[route] ?? 0) + many;
      }
    }
    if (out.json) {
      out.print(toJson({ lists, routes }));
      return DONE;
    }
    const rows = lists.map(({ list, bounces, hints, complaints }) => [
      ...[list, bounces, hints, complaints],
    ]);
    printTable(out, ['list', '>bounces', '>hints', '>complaints'], rows, 'There is no list yet.');
    out.print('');
    const byRoute = Object.entries(routes).sort(([, a], [, b]) => b - a);
    printTable(out, ['route', '>bounces'], byRoute, 'Nothing came back.');
    return DONE;
  });
}

const countsOf = (reasons: BounceReport['posts'][number]['reasons']): Record<string, number> =>
  Object.fromEntries(Object.entries(reasons).map(([reason, { count }]) => [reason, count]));

const countsText = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .sort(([, a], [, b]) => b - a)
    .map(([name, many]) => `${name} ${many}`)
    .join(', ');
