/** `troupe list`: create, show, set, retire and list mailing lists. */
import type { Command, Role } from '../../actors/protocol.ts';
import { OperatorError, UsageError } from '../errors.ts';
import { type Address, parseListAddress } from '../mail/address.ts';
import { listKeyOf } from '../mail/list-key.ts';
import type { DirectoryEntry } from '../nats/directory.ts';
import { type Context, DONE, type ExitCode, type Register } from './context.ts';
import { failureOf, refused } from './explain.ts';
import { bytesText, clean, printFields, printTable, timeText, toJson } from './print.ts';
import { changeOf, pairOf, settingRows } from './settings.ts';
import { addressFrom, command, commandId, findList, type Site, viewOf } from './site.ts';

type SettingFlags = {
  readonly name?: string;
  readonly description?: string;
  readonly posting?: string;
  readonly prefix?: string;
  readonly footer?: string;
  readonly mode?: string;
  readonly maxSize?: string;
};
type CreateFlags = SettingFlags & { readonly owner: string[]; readonly moderator: string[] };
type SetFlags = SettingFlags & {
  readonly emergency?: string;
  readonly addOwner: string[];
  readonly removeOwner: string[];
  readonly addModerator: string[];
  readonly removeModerator: string[];
};

const collect = (value: string, before: string[]): string[] => [...before, value];

export const register: Register = (program, run) => {
  const list = program.command('list').description('mailing lists');
  withSettings(list.command('create <address>').description('create a list; again finishes it'))
    .option('--owner <address>', 'a list owner; may be repeated', collect, [])
    .option('--moderator <address>', 'a moderator; may be repeated', collect, [])
    .action((address: string, flags: CreateFlags) => run((c) => create(c, address, flags)));
  list
    .command('show <address>')
    .description('what a list is')
    .action((address: string) => run((c) => show(c, address)));
  withSettings(list.command('set <address> [setting=value...]').description('change a list'))
    .option('--emergency <on|off>', 'hold every post, whoever sent it')
    .option('--add-owner <address>', 'may be repeated', collect, [])
    .option('--remove-owner <address>', 'may be repeated', collect, [])
    .option('--add-moderator <address>', 'may be repeated', collect, [])
    .option('--remove-moderator <address>', 'may be repeated', collect, [])
    .action((address: string, pairs: string[], flags: SetFlags) =>
      run((c) => set(c, address, pairs, flags)),
    );
  list
    .command('retire <address>')
    .description('end a list: its name stays taken, its history stays')
    .option('--yes', 'really')
    .action((address: string, flags: { yes?: boolean }) =>
      run((c) => retire(c, address, flags.yes === true)),
    );
  list
    .command('ls')
    .description('the lists of this site')
    .action(() => run(ls));
};

type Program = Parameters<Register>[0];

function withSettings(verb: Program): Program {
  return verb
    .option('--name <text>', 'the name shown beside the address')
    .option('--description <text>', 'one line on what the list is for')
    .option('--posting <who>', 'closed, members or anyone')
    .option('--prefix <text>', 'what subjects begin with, e.g. [dev]')
    .option('--footer <text>', 'the end of every post; \\n for a new line')
    .option('--mode <mode>', 'individual (one envelope a member) or shared')
    .option('--max-size <size>', 'the largest post, e.g. 500KB');
}

function pairsOf(flags: SettingFlags & { readonly emergency?: string }): [string, string][] {
  const named: Readonly<Record<string, string | undefined>> = {
    name: flags.name,
    description: flags.description,
    posting: flags.posting,
    prefix: flags.prefix,
    footer: flags.footer,
    mode: flags.mode,
    'max-size': flags.maxSize,
    emergency: flags.emergency,
  };
  return Object.entries(named).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] satisfies [string, string]],
  );
}

// ── create ────────────────────────────────────────────────────────────────

/**
 * Reserves the name, then asks the list to begin: the same command again finishes what a crash left
 * half done.
 */
async function create(context: Context, text: string, flags: CreateFlags): Promise<ExitCode> {
  const { domains, maxMessageBytes } = await context.config();
  const address = listAddress(text, domains);
  const { settings } = changeOf(pairsOf(flags));
  const owners = flags.owner.map(addressFrom);
  const moderators = flags.moderator.map(addressFrom);
  return await context.withSite(async (site) => {
    const key = listKeyOf(context.random.bytes(26));
    // The entry's size is the site's until the list says its own; no mail is taken before.
    const { entry, created } = await site.directory.reserve(address, key, maxMessageBytes);
    if (!created && entry.state !== 'new') {
      const text = `${address} exists${entry.state === 'retired' ? ' and is retired' : ' already'}`;
      throw refused({ type: 'refusal', code: 'exists', text });
    }
    const roles = { owners, ...(moderators.length > 0 && { moderators }) };
    const { by } = context;
    await command(site, entry, entry.key, { type: 'create', address, settings, ...roles, by });
    tellDone(context, { created: address, key: entry.key }, `created ${address}`);
    if (owners.length === 0 && !context.out.json) {
      context.out.note(`It has no owner yet: troupe list set ${address} --add-owner YOU@DOMAIN`);
    }
    return DONE;
  });
}

/** A name for a list, by the grammar and on a domain of ours. Throws OperatorError. */
export function listAddress(text: string, domains: readonly string[]): Address {
  const address = parseListAddress(text, domains);
  if (address !== null) return address;
  const domain = text.slice(text.lastIndexOf('@') + 1).toLowerCase();
  if (text.includes('@') && parseListAddress(text, [domain]) !== null) {
    throw new OperatorError(
      `this site does not serve the domain ${domain}`,
      `Add it to \`domains\` in the configuration; served are: ${domains.join(', ')}.`,
    );
  }
  throw new OperatorError(
    `“${text}” cannot be the address of a list`,
    'Use letters, digits, dots, dashes and underscores before the @, like dev@example.org.',
  );
}

// ── show, ls ──────────────────────────────────────────────────────────────

async function show(context: Context, text: string): Promise<ExitCode> {
  return await context.withSite(async (site) => {
    const view = await viewOf(site, await findList(site, text));
    if (context.out.json) context.out.print(toJson(view));
    else {
      printFields(context.out, [
        ['address', view.address],
        ['state', view.state],
        ['members', view.members],
        ['posts', view.posts],
        ['held', view.held],
        ['owners', view.owners.join(', ')],
        ['moderators', view.moderators.join(', ')],
        ...settingRows(view.settings),
        ['created', timeText(view.createdAt)],
        ['key', view.key],
      ]);
    }
    return DONE;
  });
}

async function ls(context: Context): Promise<ExitCode> {
  return await context.withSite(async (site) => {
    const stop = new AbortController();
    const mirror = await site.directory.mirror(stop.signal);
    const entries = [...mirror.all()].sort((a, b) => (a.address < b.address ? -1 : 1));
    stop.abort();
    if (context.out.json) context.out.print(toJson(entries));
    else {
      const rows = entries.map((e) => [e.address, e.state, bytesText(e.maxMessageBytes)]);
      const none = 'There is no list yet: troupe list create dev@lists.localhost';
      printTable(context.out, ['address', 'state', '>max size'], rows, none);
    }
    return DONE;
  });
}

// ── set, retire ───────────────────────────────────────────────────────────

async function set(
  context: Context,
  text: string,
  pairs: readonly string[],
  flags: SetFlags,
): Promise<ExitCode> {
  const change = changeOf([...pairs.map(pairOf), ...pairsOf(flags)]);
  const grants = grantsOf(flags);
  const hasSettings = Object.keys(change.settings).length > 0;
  if (!hasSettings && change.emergency === null && grants.length === 0) {
    throw new UsageError(
      'nothing to set',
      `Name what to change, e.g. troupe list set ${text} posting=anyone`,
    );
  }
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const { by } = context;
    const asked: Command[] = [];
    if (hasSettings) asked.push({ type: 'set', settings: change.settings, by });
    if (change.emergency !== null) {
      asked.push({ type: change.emergency ? 'declare-emergency' : 'lift-emergency', by });
    }
    for (const what of [...asked, ...grants.map((g) => ({ ...g, by }))]) {
      await commandOrUnchanged(context, site, list, what);
    }
    tellDone(context, await viewOf(site, list), `changed ${list.address}`);
    return DONE;
  });
}

type Grant = { readonly type: 'grant' | 'revoke'; readonly role: Role; readonly address: Address };

/** Grants come first: a list that changes hands is never without an owner in between. */
function grantsOf(flags: SetFlags): Grant[] {
  const all: [Grant['type'], Role, string[]][] = [
    ['grant', 'owner', flags.addOwner],
    ['grant', 'moderator', flags.addModerator],
    ['revoke', 'owner', flags.removeOwner],
    ['revoke', 'moderator', flags.removeModerator],
  ];
  return all.flatMap(([type, role, texts]) =>
    texts.map((text) => ({ type, role, address: addressFrom(text) })),
  );
}

/** What is already as it was asked to be is no failure: an operator's script may run twice. */
async function commandOrUnchanged(
  context: Context,
  site: Site,
  list: DirectoryEntry,
  what: Command,
): Promise<void> {
  try {
    await command(site, list, commandId(context.random), what);
  } catch (error) {
    if (failureOf(error).code !== 'nothing-to-do') throw error;
  }
}

async function retire(context: Context, text: string, isSure: boolean): Promise<ExitCode> {
  if (!isSure) {
    throw new OperatorError(
      `retiring ${text} cannot be undone: it takes no more mail and its name stays taken`,
      `If you are sure: troupe list retire ${text} --yes`,
    );
  }
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    await command(site, list, commandId(context.random), { type: 'retire', by: context.by });
    tellDone(context, { retired: list.address }, `retired ${list.address}`);
    return DONE;
  });
}

/** The result for programs, or one line for people. */
function tellDone(context: Context, result: unknown, line: string): void {
  context.out.print(context.out.json ? toJson(result) : clean(line));
}
