/** `troupe route`: the outgoing MTAs, each's slice of the mail and what it carries, changed while everything runs. */
import { readFile } from 'node:fs/promises';
import { OperatorError, textOf, UsageError } from '../errors.ts';
import { INSPECT_NODES, INSPECT_ROUTES, inspectRoutesAt, ROUTE_ORDERS } from '../nats/subjects.ts';
import { type Context, DONE, type ExitCode, type Register } from './context.ts';
import { nodesOf } from './places.ts';
import { durationText, printTable, toJson } from './print.ts';
import {
  markOf,
  merged,
  ownSlices,
  type RouteRow,
  type RoutesAnswer,
  routesOf,
  slices,
} from './route-rows.ts';
import type { Site } from './site.ts';

/** What is given as a number; the rest as text. */
const NUMBERS = ['weight', 'connections', 'messages', 'recipients', 'rate', 'timeoutSeconds'];
const WORDS = ['url', 'role', 'tls', 'ehlo', 'ca', 'user', 'passwordFile'];
const KNOWN = `Settings are ${[...NUMBERS, ...WORDS].join(', ')}; without a value one goes back to its default.`;
const REFUSED = 'See `troupe route ls`, and `troupe route set --help` for the settings.';
const FILES =
  'ca=FILE is read here; passwordFile=/PATH by each node that sends, from its own disk.';
const NO_PASSWORD =
  'Put it into a file on each node that sends, mode 0600: user=NAME passwordFile=/PATH.';
const FILE_BYTES_MAX = 64 * 1024;

export const register: Register = (program, run) => {
  const route = program.command('route').description('the outgoing MTAs');
  route
    .command('ls')
    .description('every route: its slice of the mail, its health, what it carries now')
    .action(() => run(ls));
  route
    .command('add <name> <url> [settings...]')
    .description('send over one more: `add backup smtp://10.0.0.2:25 weight=2 role=fallback`')
    .addHelpText('after', `\n${KNOWN}\n${FILES}`)
    .action((name: string, url: string, given: string[]) =>
      run(async (c) =>
        order(c, { do: 'add', settings: { ...(await settingsFrom(given)), name, url } }, name),
      ),
    );
  route
    .command('set <name> <settings...>')
    .description('change one: `set mta1 weight=5 rate=100`')
    .addHelpText('after', `\n${KNOWN}\n${FILES}`)
    .action((name: string, given: string[]) =>
      run(async (c) => order(c, { do: 'set', name, change: await settingsFrom(given) }, name)),
    );
  const verbs = [
    ['drain', 'give it nothing more; what is under way is finished, the rest goes by the others'],
    ['resume', 'try it, and let it take its share again'],
    ['rm', 'forget it, for good; what it has in hand goes by the others'],
  ] as const;
  for (const [verb, description] of verbs) {
    route
      .command(`${verb} <name>`)
      .description(description)
      .action((name: string) => run((c) => order(c, { do: verb, name }, name)));
  }
};

// ── ls ────────────────────────────────────────────────────────────────────

async function ls(context: Context): Promise<ExitCode> {
  return await context.withSite(async (site) => {
    show(context, await answersOf(site));
    return DONE;
  });
}

/** What each node that sends says; a node that does not answer carries what nobody knows. */
async function answersOf(site: Site): Promise<readonly RoutesAnswer[]> {
  const nodes = nodesOf(await site.request(INSPECT_NODES, undefined));
  const senders = nodes.filter(({ roles }) => roles.includes('outgoing'));
  if (senders.length < 2) return [routesOf(await site.request(INSPECT_ROUTES, undefined))];
  const asked = senders.map(({ node }) => site.request(inspectRoutesAt(node), undefined));
  const answers = await Promise.allSettled(asked);
  const told = answers.flatMap((one) => (one.status === 'fulfilled' ? [routesOf(one.value)] : []));
  if (told.length === 0) throw new OperatorError('no node that sends answers', 'See `node ls`.');
  return told;
}

function show({ out, clock }: Context, answers: readonly RoutesAnswer[]): void {
  const routes = merged(answers);
  const [first] = answers;
  if (out.json) {
    const nodes = answers.map(({ node }) => node);
    const shares = answers.map(({ node, routes: own }) => [
      node,
      Object.fromEntries(own.map(({ name, share }) => [name, share])),
    ]);
    const { strategy, devmode } = first ?? {};
    out.print(toJson({ strategy, devmode, nodes, routes, shares: Object.fromEntries(shares) }));
    return;
  }
  const drawn = slices(routes);
  out.print(drawn === '' ? 'No route carries mail: it waits.' : `slices  ${drawn}`);
  for (const { node, routes: own } of ownSlices(answers)) {
    out.print(`        ${slices(own) || '-'}  at ${node}`);
  }
  out.print('');
  const columns = ['', 'route', 'to', 'role', '>weight', '>share', 'state', '>in hand', '>waiting'];
  const more = ['>connections', '>accepted', 'troubles'];
  const rows = routes.map((route, i) => rowOf(route, i, clock.now()));
  printTable(out, [...columns, ...more], rows, 'There are no routes.');
  for (const { node, routes: told } of answers) {
    for (const { problem } of told) if (problem !== null) out.note(`${node} cannot use ${problem}`);
  }
  if (first?.devmode) out.note(`devmode: all mail goes to ${first.devmode}, to nobody else.`);
}

function rowOf(route: RouteRow, i: number, now: number): (string | number)[] {
  const { name, to, role, weight, share, mode, how, inHand, waiting, accepted } = route;
  const { open, max } = route.connections;
  const why = mode === 'open' && how !== null ? `: ${how}` : '';
  const since = mode === 'closed' ? '' : ` (${durationText(now - route.since)})`;
  const troubles = Object.entries(route.troubles).map(([kind, count]) => `${kind} ${count}`);
  return [
    ...[markOf(i), name, to, role, weight, `${Math.round(share * 100)} %`],
    ...[`${mode}${why}${since}`, inHand, waiting, `${open}/${max}`, accepted],
    troubles.join(', ') || '-',
  ];
}

// ── Orders ────────────────────────────────────────────────────────────────

async function order(context: Context, what: unknown, name: string): Promise<ExitCode> {
  const { out } = context;
  return await context.withSite(async (site) => {
    const answer = (await site.request(ROUTE_ORDERS, what, undefined, REFUSED)) as {
      readonly routes?: unknown;
    };
    const routes = Array.isArray(answer.routes) ? answer.routes : [];
    const isThere = (one: unknown): boolean => (one as { name?: unknown }).name === name;
    if (out.json) {
      out.print(toJson(routes.find(isThere) ?? { name, removed: true }));
      return DONE;
    }
    out.print(`Done. All nodes have it; a restart keeps it, whatever the file says of ${name}.`);
    show(context, await answersOf(site));
    return DONE;
  });
}

/** `weight=5 rate=` as an object; an empty value is null: the default. Throws OperatorError. */
async function settingsFrom(given: readonly string[]): Promise<Record<string, unknown>> {
  const settings: Record<string, unknown> = {};
  for (const text of given) {
    const at = text.indexOf('=');
    const [key, value] = [text.slice(0, Math.max(0, at)), text.slice(at + 1)];
    if (key === 'password') throw new UsageError('a password is not given here', NO_PASSWORD);
    if (!NUMBERS.includes(key) && !WORDS.includes(key)) {
      throw new UsageError(`“${text}” is not a setting of a route`, KNOWN);
    }
    if (value === '') settings[key] = null;
    else if (NUMBERS.includes(key)) settings[key] = /^\d+$/.test(value) ? Number(value) : value;
    else settings[key] = key === 'ca' ? await pemIn(value) : value;
  }
  return settings;
}

/** The PEM itself. Throws OperatorError. */
async function pemIn(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new OperatorError(`${file} cannot be read: ${textOf(error)}`, 'Correct the path.', error);
  });
  if (text.length > FILE_BYTES_MAX) {
    throw new OperatorError(`${file} is larger than 64 KiB`, 'Name a PEM file.');
  }
  return text;
}
