/** `troupe node`: which nodes live, what each owns, and telling one to give everything away. */
import { OperatorError } from '../errors.ts';
import { INSPECT_NODES, nodeControl } from '../nats/subjects.ts';
import { type Context, DONE, type ExitCode, type Register } from './context.ts';
import { drainedOf, type NodeRow, nodesOf } from './places.ts';
import { durationText, printTable, timeText, toJson } from './print.ts';
import type { Site } from './site.ts';

/** Handing everything over takes below 2 s; a loaded machine more. */
const DRAIN_MS_MAX = 15_000;

export const register: Register = (program, run) => {
  const node = program.command('node').description('the nodes of the site');
  node
    .command('ls')
    .description('all nodes that live: roles, slots owned and followed, lease')
    .action(() => run(ls));
  node
    .command('drain [name]')
    .description('hand every slot of a node over (default: this one); it owns none until undrained')
    .action((name?: string) => run((c) => drain(c, name)));
  node
    .command('undrain [name]')
    .description('let a drained node own slots again (default: this one)')
    .action((name?: string) => run((c) => undrain(c, name)));
};

async function ls(context: Context): Promise<ExitCode> {
  const { out } = context;
  return await context.withSite(async (site) => {
    const answer = await site.request(INSPECT_NODES, undefined);
    if (out.json) {
      out.print(toJson(answer));
      return DONE;
    }
    const columns = ['node', 'roles', 'version', 'since', '>lease', '>slots', '>standby', 'state'];
    printTable(out, columns, nodesOf(answer).map(rowOf), 'No node lives.');
    return DONE;
  });
}

function rowOf(node: NodeRow): (string | number)[] {
  return [
    node.node,
    node.roles.join(','),
    node.version,
    timeText(node.startedAt),
    durationText(node.leaseMsLeft),
    node.slots,
    node.standby,
    node.isDraining ? 'draining' : 'live',
  ];
}

/** Tells a node that lives to do something; its answer, and all that live. */
async function tell(site: Site, name: string, what: 'drain' | 'undrain') {
  const live = nodesOf(await site.request(INSPECT_NODES, undefined));
  if (!live.some(({ node }) => node === name)) {
    const names = live.map(({ node }) => node).join(', ');
    throw new OperatorError(`no node “${name}” lives`, `Those that live: ${names}.`);
  }
  return { live, answer: await site.request(nodeControl(name), { do: what }, DRAIN_MS_MAX) };
}

async function undrain(context: Context, named: string | undefined): Promise<ExitCode> {
  const { out } = context;
  const name = named ?? (await context.config()).node;
  return await context.withSite(async (site) => {
    const { answer } = await tell(site, name, 'undrain');
    if (out.json) out.print(toJson(answer));
    else out.print(`${name} may own slots again; those that are to be its own come one by one.`);
    return DONE;
  });
}

async function drain(context: Context, named: string | undefined): Promise<ExitCode> {
  const { out } = context;
  const name = named ?? (await context.config()).node;
  return await context.withSite(async (site) => {
    const { live, answer } = await tell(site, name, 'drain');
    if (out.json) out.print(toJson(answer));
    else {
      out.print(`${name} owns nothing any more (${durationText(drainedOf(answer).tookMs)}).`);
      const others = live.filter(({ node, roles }) => node !== name && roles.includes('host'));
      if (others.length === 0) {
        out.note('No other node has the role host: its lists wait until one comes.');
      }
      out.note(`Stop it now, or let it own slots again: troupe node undrain ${name}`);
    }
    return DONE;
  });
}
