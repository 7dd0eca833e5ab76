/**
 * `troupe doctor --repair LIST`: what is wrong with a list's ledger, and what is in the records that cannot be folded. With
 * `--leave-out FROM-TO` they are left out from now on, by a record that says so (decision 0016).
 */
import type { ChainView, LeftOut, Repair } from '../../actors/list/repairing.ts';
import { UsageError } from '../errors.ts';
import { type Context, DONE, type ExitCode, FAILED } from './context.ts';
import { clean, type Out, printFields, timeText, toJson } from './print.ts';
import { command, commandId, findList, question } from './site.ts';

type Broken = NonNullable<ChainView['broken']>;

export async function repair(
  context: Context,
  address: string,
  leaveOut: string | undefined,
): Promise<ExitCode> {
  const { out } = context;
  return await context.withSite(async (site) => {
    const list = await findList(site, address);
    const ask = async () => (await question<ChainView>(site, list, { ask: 'chain' })).answer;
    const range = leaveOut === undefined ? null : rangeFrom(leaveOut);
    if (range !== null) {
      const { by, random } = context;
      await command(site, list, commandId(random), { type: 'repair', ...range, by });
    }
    const chain = await ask();
    if (out.json) out.print(toJson({ list: list.address, ...chain }));
    else tell(out, list.address, chain);
    return chain.broken === null ? DONE : FAILED;
  });
}

function rangeFrom(text: string): { readonly from: number; readonly to: number } {
  const [, from, to] = /^(\d{1,15})-(\d{1,15})$/.exec(text) ?? [];
  if (from !== undefined && to !== undefined) return { from: Number(from), to: Number(to) };
  throw new UsageError(
    `“${text}” is not what to leave out`,
    '`troupe doctor --repair LIST` says it: two sequences, as 345-360.',
  );
}

function tell(out: Out, list: string, { broken, repairs }: ChainView): void {
  for (const one of repairs) out.print(clean(repairText(one)));
  if (broken === null) {
    out.print(clean(`The ledger of ${list} holds together.`));
    return;
  }
  printFields(out, [
    ['list', list],
    ['broken', broken.why],
    ['would be left out', rangeText(broken)],
    ...contentsOf(broken),
  ]);
  const range = `${broken.from}-${broken.to}`;
  out.note('What they say is lost to the list, and nothing brings it back; a backup may have it.');
  out.note(clean(`To leave them out: troupe doctor --repair ${list} --leave-out ${range}`));
}

function contentsOf({ unreadable, facts, mails }: Broken): [string, unknown][] {
  const counted = Object.entries(facts).map(([type, many]) => `${many} ${type}`);
  return [
    ['unreadable', unreadable],
    ['facts', counted.length === 0 ? '-' : counted.join(', ')],
    ...(mails.length === 0 ? [] : [['posts, by their mail', mails.join(', ')] as [string, string]]),
  ];
}

function repairText(repair: Repair): string {
  const { at, by } = repair;
  const who = by.kind === 'operator' ? by.name : by.kind;
  return `${timeText(at)}: left out by ${who}: ${rangeText(repair)}`;
}

const rangeText = ({ from, to, records }: LeftOut): string =>
  records === 1 ? `the record at ${from}` : `${records} records, at ${from} to ${to}`;
