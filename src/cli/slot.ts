/** `troupe slot ls`: who owns each of the 64 shares of the lists, and who would be next. */
import { INSPECT_SLOTS } from '../nats/subjects.ts';
import { type Context, DONE, type ExitCode, FAILED, type Register } from './context.ts';
import { type SlotRow, slotsOf } from './places.ts';
import { printTable, timeText, toJson } from './print.ts';

export const register: Register = (program, run) => {
  const slot = program.command('slot').description('the shares of the lists, and who owns them');
  slot
    .command('ls')
    .description('every slot: owner, epoch, next, lists; exits 1 if one has no owner')
    .action(() => run(ls));
};

async function ls(context: Context): Promise<ExitCode> {
  const { out } = context;
  return await context.withSite(async (site) => {
    const answer = await site.request(INSPECT_SLOTS, undefined);
    const rows = slotsOf(answer);
    if (out.json) out.print(toJson(answer));
    else {
      const columns = ['>slot', 'owner', '>epoch', 'next', '>lists', 'state'];
      printTable(out, columns, rows.map(rowOf), 'There are no slots.');
    }
    const free = rows.filter(({ owner }) => owner === null).length;
    if (free > 0 && !out.json) {
      out.note(`${free} of ${rows.length} slots have no owner: their lists wait.`);
    }
    return free > 0 ? FAILED : DONE;
  });
}

function rowOf(row: SlotRow): (string | number)[] {
  const { slot, owner, epoch, next, lists } = row;
  return [slot, owner ?? 'nobody', epoch ?? '-', next ?? '-', lists, stateOf(row)];
}

/** `owned`, or what is to happen. */
function stateOf({ owner, since, shouldOwn }: SlotRow): string {
  if (owner === null) {
    const when = since === null ? 'never owned' : `no owner since ${timeText(since)}`;
    return shouldOwn === null ? `${when}; no node may own it` : `${when}; ${shouldOwn} should`;
  }
  return shouldOwn === null || shouldOwn === owner ? 'owned' : `to be handed to ${shouldOwn}`;
}
