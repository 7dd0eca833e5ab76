/** The command line of the bench: a name, flags of that bench, `--runs` and `--json`. */
import { parseArgs } from 'node:util';
import type { Bench, Flag, Flags } from './bench.ts';

/** Wrong words on the command line: exit 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const RUNS_MAX = 100;
const RUNS_DEFAULT = 3;
const runsOf = (bench: Bench | null): Flag => ({
  what: 'runs, of which the median is told',
  default: bench?.runs ?? RUNS_DEFAULT,
});

export type Asked = {
  readonly bench: Bench | null;
  readonly flags: Flags;
  readonly runs: number;
  readonly isJson: boolean;
};

/** Throws {@link UsageError} for a name, a flag or a value that there is not. */
export function readArguments(args: readonly string[], benches: readonly Bench[]): Asked {
  // Two passes: which flags there are depends on the name, which may stand behind them.
  const name = args.find((word) => benches.some((bench) => bench.name === word)) ?? null;
  const bench = benches.find((one) => one.name === name) ?? null;
  const known: Readonly<Record<string, Flag>> = { ...bench?.flags, runs: runsOf(bench) };
  const { values, positionals } = parsed(args, known);
  const stray = positionals.find((word) => word !== name);
  if (stray !== undefined) throw new UsageError(`there is no bench called ${stray}`);
  const settingOf = (flag: string): number | string => {
    const of = known[flag];
    if (of === undefined) throw new TypeError(`the bench has no flag ${flag}`);
    const given = values[flag];
    return typeof given === 'string' ? checked(flag, given, of) : of.default;
  };
  for (const flag of Object.keys(known)) settingOf(flag);
  const flags = {
    number: (flag: string) => Number(settingOf(flag)),
    text: (flag: string) => String(settingOf(flag)),
  };
  const runs = flags.number('runs');
  if (runs > RUNS_MAX) throw new UsageError(`--runs is at most ${RUNS_MAX}`);
  return { bench, flags, runs, isJson: values.json === true };
}

function parsed(
  args: readonly string[],
  known: Readonly<Record<string, Flag>>,
): { values: Readonly<Record<string, unknown>>; positionals: readonly string[] } {
  const strings = Object.keys(known).map((flag) => [flag, { type: 'string' }] as const);
  try {
    return parseArgs({
      args: [...args],
      options: { ...Object.fromEntries(strings), json: { type: 'boolean' } },
      allowPositionals: true,
    });
  } catch (error) {
    const [what] = (error as Error).message.split('. ');
    throw new UsageError(what);
  }
}

function checked(name: string, given: string, flag: Flag): number | string {
  if (flag.choices !== undefined) {
    if (flag.choices.includes(given)) return given;
    throw new UsageError(`--${name} is one of ${flag.choices.join(', ')}`);
  }
  if (typeof flag.default === 'string') return given;
  const value = Number(given);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new UsageError(`--${name} is a whole number from 1`);
}

/** The benches and their flags, for people. */
export function usage(benches: readonly Bench[]): string {
  const lines = benches.flatMap(({ name, what, flags }) => [
    `  ${name.padEnd(10)} ${what}`,
    ...Object.entries(flags).map(([flag, of]) => {
      const choices = of.choices === undefined ? '' : `${of.choices.join(' or ')}; `;
      return `             --${flag}  ${of.what} (${choices}${of.default})`;
    }),
  ]);
  return [
    'npm run bench -- NAME [flags] [--runs N] [--json]',
    '',
    ...lines,
    '',
    `Each is measured --runs times (${RUNS_DEFAULT}, failover once); the last line is the median as JSON.`,
  ].join('\n');
}
