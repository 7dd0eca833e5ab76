/**
 * `troupe doctor`: checks the running site and names what is wrong with the next step; where none answers, what the data directory
 * shows. `--rebuild` folds the projections of a stopped node again from the ledger; `--repair` is for one list (doctor-repair.ts).
 */
import { OperatorError, textOf, UsageError } from '../errors.ts';
import { type Check, fail, ok } from './checks.ts';
import { type Context, DONE, type ExitCode, FAILED, type Register } from './context.ts';
import { diskChecks } from './doctor-disk.ts';
import { dkimChecks } from './doctor-dkim.ts';
import { natsChecks } from './doctor-nats.ts';
import { nodeChecks } from './doctor-nodes.ts';
import { repair as repairList } from './doctor-repair.ts';
import { clean, flatten, mark, type Out, printFields, toJson } from './print.ts';

export const register: Register = (program, run) => {
  program
    .command('doctor')
    .description('check the running site')
    .option('--rebuild', 'fold the projections again from the ledger; the node must be stopped')
    .option('--repair <list>', 'what is wrong with the ledger of a list that is set aside')
    .option('--leave-out <from-to>', 'with --repair: these records are folded no more')
    .action((flags: Flags) => run((c) => act(c, flags)));
};

type Flags = { readonly rebuild?: boolean; readonly repair?: string; readonly leaveOut?: string };

async function act(context: Context, { rebuild, repair, leaveOut }: Flags): Promise<ExitCode> {
  if (repair !== undefined && rebuild !== true) return repairList(context, repair, leaveOut);
  if (leaveOut !== undefined || repair !== undefined)
    throw new UsageError('say one thing at a time', 'See `troupe doctor --help`.');
  return rebuild === true ? rebuildAll(context) : check(context);
}

async function check(context: Context): Promise<ExitCode> {
  const config = await context.config();
  let checks: readonly Check[];
  try {
    checks = await context.withSite(async (site) => [
      ok('node.js', `Node ${process.versions.node} here`),
      ...(await natsChecks(site, config)),
      ...(await nodeChecks(site, context)),
    ]);
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    const { lookAtRows } = await import('../main.ts');
    const away = fail('site', `${error.message}; this is what the disk shows`);
    checks = [away, ...(await diskChecks(config, lookAtRows))];
  }
  checks = [...checks, ...dkimChecks(config)];
  tell(context.out, checks);
  return checks.some(({ level }) => level === 'fail') ? FAILED : DONE;
}

/** Prints checks as lines, or as JSON. */
export function tell(out: Out, checks: readonly Check[]): void {
  if (out.json) {
    out.print(toJson({ checks }));
    return;
  }
  const width = Math.max(...checks.map(({ what }) => what.length));
  for (const { what, level, text } of checks) {
    out.print(`${mark(out, level, level.padEnd(4))}  ${what.padEnd(width)}  ${clean(text)}`);
  }
}

// ── rebuild ───────────────────────────────────────────────────────────────

async function rebuildAll(context: Context): Promise<ExitCode> {
  const config = await context.config();
  const { rebuild } = await import('../main.ts');
  let rebuilt: Awaited<ReturnType<typeof rebuild>>;
  try {
    rebuilt = await rebuild(config);
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw new OperatorError(
      `the rebuild did not finish: ${textOf(error)}`,
      'Run it again: it starts from the ledger, which it never changes.',
      error,
    );
  }
  if (context.out.json) context.out.print(toJson({ rebuilt }));
  else printFields(context.out, flatten(rebuilt));
  return rebuilt.broken.length === 0 ? DONE : FAILED;
}
