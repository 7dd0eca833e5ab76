/** `troupe inspect`: what a list, a node or a slot is doing, as its owner says. Changes nothing. */
import type { InspectLevel } from '../../actors/protocol.ts';
import { UsageError } from '../errors.ts';
import { SLOTS } from '../mail/list-key.ts';
import {
  inspectBounces,
  inspectList,
  inspectNode,
  inspectRoute,
  inspectSlot,
} from '../nats/subjects.ts';
import { type Context, DONE, type ExitCode, type Register } from './context.ts';
import { flatten, printFields, timeText, toJson } from './print.ts';
import { addressFrom } from './site.ts';

/** Fields that are times in ms since the epoch, shown as dates. */
const TIMES = /(?:^|\.)(?:asOf|at|since|[a-z]+At)$/;

export const register: Register = (program, run) => {
  const inspect = program
    .command('inspect')
    .description('what a list, a node, a slot or a route is doing');
  inspect
    .command('list <address>')
    .description('a list: state, counters, sequence, epoch, owner, outbox, blocked or not')
    .option('--level <level>', 'fast, confirmed by the ledger, or after a barrier in it', 'fast')
    .action((address: string, { level }: { level: string }) =>
      run((c) => show(c, inspectList(addressFrom(address)), { level: levelFrom(level) })),
    );
  inspect
    .command('bounces <address>')
    .description('what came back of a list, how far its bounces are folded, what they yield to')
    .action((address: string) => run((c) => show(c, inspectBounces(addressFrom(address)))));
  inspect
    .command('node [id]')
    .description('a node: roles, slots, lists awake, what is blocked')
    .action((id?: string) =>
      run((c) => show(c, inspectNode(id === undefined ? null : label(id, 'a node')))),
    );
  inspect
    .command('slot <number>')
    .description('a slot: who owns it, since when')
    .action((slot: string) => run((c) => show(c, inspectSlot(slotNumber(slot)))));
  inspect
    .command('route <name>')
    .description('a route: where it goes, its connections, up or not')
    .action((name: string) => run((c) => show(c, inspectRoute(label(name, 'a route')))));
};

async function show(context: Context, subject: string, body?: unknown): Promise<ExitCode> {
  return await context.withSite(async (site) => {
    const answer = await site.request(subject, body);
    if (context.out.json) context.out.print(toJson(answer));
    else printFields(context.out, flatten(answer).map(readable));
    return DONE;
  });
}

function readable([name, value]: [string, unknown]): [string, unknown] {
  return typeof value === 'number' && TIMES.test(name) ? [name, timeText(value)] : [name, value];
}

/** A name is a token of the subject, so it must be one. */
function label(text: string, of: string): string {
  if (/^[a-z0-9-]{1,32}$/.test(text)) return text;
  throw new UsageError(`“${text}” is not the name of ${of}`, 'See `troupe node ls`.');
}

const LEVELS: readonly InspectLevel[] = ['fast', 'confirmed', 'barrier'];

function levelFrom(text: string): InspectLevel {
  const level = LEVELS.find((one) => one === text);
  if (level !== undefined) return level;
  throw new UsageError(`“${text}” is not a level`, `Say ${LEVELS.join(', ')}.`);
}

function slotNumber(text: string): number {
  if (/^\d{1,2}$/.test(text) && Number(text) < SLOTS) return Number(text);
  throw new UsageError(`“${text}” is not a slot`, `Slots are 0 to ${SLOTS - 1}.`);
}
