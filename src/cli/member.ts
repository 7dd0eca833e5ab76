/** `troupe member`: add, remove, list and import members. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Option } from 'commander';
import type { Command, NewMember, Role, RosterPage } from '../../actors/protocol.ts';
import { OperatorError, textOf, UsageError } from '../errors.ts';
import type { DirectoryEntry } from '../nats/directory.ts';
import { type Context, DONE, type ExitCode, FAILED, type Register } from './context.ts';
import { failureOf } from './explain.ts';
import { type ImportSummary, importMembers, MEMBERS_A_COMMAND } from './import.ts';
import { linesOf, nameOf, parseLine } from './import-lines.ts';
import { clean, printFields, printJsonItems, table, timeText, toJson } from './print.ts';
import { createProgress } from './progress.ts';
import { addressFrom, command, commandId, findList, question, type Site } from './site.ts';

const PAGE = 1_000;

export const register: Register = (program, run) => {
  const member = program.command('member').description('members of a list');
  member
    .command('add <list> <address...>')
    .description('add members: addresses, or "Name <address>"')
    .option('--name <name>', 'the display name of the one member')
    .action((list: string, texts: string[], flags: { name?: string }) =>
      run((c) => add(c, list, texts, flags.name)),
    );
  member
    .command('remove <list> <address...>')
    .alias('rm')
    .description('remove members')
    .action((list: string, texts: string[]) => run((c) => remove(c, list, texts)));
  member
    .command('ls <list>')
    .description('the roster')
    .addOption(
      new Option('--role <role>', 'which roster')
        .choices(['member', 'owner', 'moderator'])
        .default('member'),
    )
    .action((list: string, flags: { role: 'member' | Role }) =>
      run((c) => ls(c, list, flags.role)),
    );
  member
    .command('import <list> <file>')
    .description('add members from a file, one a line; - reads the standard input')
    .option('--again', 'count every line afresh, even those of an import that was interrupted')
    .action((list: string, file: string, flags: { again?: boolean }) =>
      run((c) => importFile(c, list, file, flags.again === true)),
    );
};

// ── add, remove ───────────────────────────────────────────────────────────

async function add(
  context: Context,
  text: string,
  texts: readonly string[],
  name: string | undefined,
): Promise<ExitCode> {
  const members = texts.map((t) => memberFrom(t));
  if (name !== undefined && members.length > 1) {
    throw new UsageError(
      '--name is for one member',
      'Write several as "Name <address>", or use troupe member import.',
    );
  }
  const named = name === undefined ? members : members.map((m) => ({ ...m, name: nameOf(name) }));
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    let added = 0;
    let already = 0;
    for (let i = 0; i < named.length; i += MEMBERS_A_COMMAND) {
      const some = named.slice(i, i + MEMBERS_A_COMMAND);
      const what: Command = { type: 'add-members', members: some, by: context.by };
      const { answer } = await addOrUnchanged(context, site, list, what);
      added += answer.added;
      already += answer.already + (answer.isUnchanged ? some.length : 0);
    }
    const before = already > 0 ? `, ${already} already there` : '';
    const line = `${added} added to ${list.address}${before}`;
    context.out.print(context.out.json ? toJson({ added, already }) : line);
    return DONE;
  });
}

type Added = { readonly added: number; readonly already: number; readonly isUnchanged: boolean };

/** Adding who is there already is no failure, however the list words it. */
async function addOrUnchanged(
  context: Context,
  site: Site,
  list: DirectoryEntry,
  what: Command,
): Promise<{ readonly answer: Added }> {
  try {
    const { answer } = await command(site, list, commandId(context.random), what);
    if (answer.type !== 'members-added') return { answer: UNCHANGED };
    return { answer: { added: answer.added, already: answer.already, isUnchanged: false } };
  } catch (error) {
    if (failureOf(error).code === 'nothing-to-do') return { answer: UNCHANGED };
    throw error;
  }
}

const UNCHANGED: Added = { added: 0, already: 0, isUnchanged: true };

function memberFrom(text: string): NewMember {
  const parsed = parseLine(text, false);
  if (parsed.kind === 'member') return parsed.member;
  return { address: addressFrom(text), name: '' };
}

async function remove(context: Context, text: string, texts: readonly string[]): Promise<ExitCode> {
  const addresses = texts.map(addressFrom);
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const removed: string[] = [];
    const failed: { address: string; why: string }[] = [];
    for (const address of addresses) {
      const what: Command = { type: 'remove-member', who: { address }, by: context.by };
      try {
        await command(site, list, commandId(context.random), what);
        removed.push(address);
      } catch (error) {
        failed.push({ address, why: failureOf(error).text });
      }
    }
    if (context.out.json) context.out.print(toJson({ removed, failed }));
    else {
      for (const address of removed) context.out.print(clean(`removed ${address}`));
      for (const { address, why } of failed) context.out.note(clean(`${address}: ${why}`));
    }
    return failed.length === 0 ? DONE : FAILED;
  });
}

// ── ls ────────────────────────────────────────────────────────────────────

type Member = RosterPage['members'][number];

async function* pagesOf(
  site: Site,
  list: DirectoryEntry,
  role: 'member' | Role,
): AsyncGenerator<readonly Member[]> {
  let after = 0;
  for (;;) {
    const asked = { ask: 'roster', role, after, limit: PAGE } as const;
    const { members, next } = (await question<RosterPage>(site, list, asked)).answer;
    yield members;
    // A page that does not go on would be asked for again for ever.
    if (next === null || next <= after) return;
    after = next;
  }
}

async function ls(context: Context, text: string, role: 'member' | Role): Promise<ExitCode> {
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const pages = pagesOf(site, list, role);
    if (context.out.json) await printJsonItems(context.out, flat(pages));
    else await printRoster(context, pages, role, `${list.address} has no ${role} yet.`);
    return DONE;
  });
}

async function* flat<T>(pages: AsyncIterable<readonly T[]>): AsyncGenerator<T> {
  for await (const page of pages) yield* page;
}

async function printRoster(
  context: Context,
  pages: AsyncIterable<readonly Member[]>,
  role: 'member' | Role,
  none: string,
): Promise<void> {
  const isMembers = role === 'member';
  const columns = isMembers ? ['>number', 'address', 'name', 'joined'] : ['address'];
  let count = 0;
  for await (const page of pages) {
    const rows = page.map((m) =>
      isMembers ? [m.number, m.address, m.name, timeText(m.joinedAt)] : [m.address],
    );
    const lines = table(columns, rows, context.out.colour);
    // The title stands once, at the top.
    for (const line of count === 0 ? lines : lines.slice(1)) context.out.print(line);
    count += page.length;
  }
  if (count === 0) context.out.print(none);
}

// ── import ────────────────────────────────────────────────────────────────

async function importFile(
  context: Context,
  text: string,
  file: string,
  isAgain: boolean,
): Promise<ExitCode> {
  const total = file === '-' ? null : await sizeOf(file);
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const { n } = await question(site, list, { ask: 'list' });
    const progress = createProgress(context.out, context.clock);
    const summary = await importMembers(linesOf(inputOf(file)), {
      salt: `${list.key}\0${isAgain ? commandId(context.random) : ''}`,
      n,
      by: context.by,
      send: (id, what) => command(site, list, id, what),
      progress: (counts, bytes) =>
        progress.show(bytes, total, `${counts.added + counts.already + counts.repeated} members`),
    });
    progress.end();
    tellImport(context, list, summary);
    return summary.refused === 0 && summary.stopped === null ? DONE : FAILED;
  });
}

function inputOf(file: string): AsyncIterable<Uint8Array> {
  return file === '-' ? process.stdin : createReadStream(file);
}

async function sizeOf(file: string): Promise<number> {
  try {
    const found = await stat(file);
    if (found.isDirectory()) throw new Error('it is a directory');
    return found.size;
  } catch (error) {
    throw new OperatorError(
      `cannot read ${file}: ${textOf(error)}`,
      'Name a file with one member a line, or - for the standard input.',
      error,
    );
  }
}

function tellImport(context: Context, list: DirectoryEntry, summary: ImportSummary): void {
  const { out } = context;
  if (out.json) {
    out.print(toJson({ list: list.address, ...summary }));
    return;
  }
  for (const { line, count, why } of summary.bad) {
    out.note(clean(count === 1 ? `line ${line}: ${why}` : `${count} from line ${line} on: ${why}`));
  }
  const untold = summary.refused - summary.bad.reduce((sum, { count }) => sum + count, 0);
  if (untold > 0) out.note(`… and ${untold} more lines`);
  printFields(out, [
    ['list', list.address],
    ['lines', summary.lines],
    ['added', summary.added],
    ['already there', summary.already],
    ...(summary.repeated === 0
      ? []
      : ([['done by an earlier run', summary.repeated]] satisfies [string, number][])),
    ['refused', summary.refused],
  ]);
  if (summary.stopped !== null) {
    out.note('The import stopped there. Run the same command again to go on.');
  }
  if (summary.repeated > 0) {
    out.note('Lines of an earlier run were not done again; --again counts every line afresh.');
  }
}
