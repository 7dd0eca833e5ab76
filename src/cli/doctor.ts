/**
 * `troupe doctor`: checks the running site and names what is wrong with the next step; `--rebuild`
 * folds the projections of a stopped node again from the ledger.
 */
import { statfs } from 'node:fs/promises';
import { OperatorError, textOf } from '../errors.ts';
import { checkVersion } from '../nats/connect.ts';
import { streamStates } from '../nats/depths.ts';
import { parkedCounts } from '../nats/parked.ts';
import { inspectNode } from '../nats/subjects.ts';
import { type Context, DONE, type ExitCode, FAILED, type Register } from './context.ts';
import { bytesText, clean, flatten, mark, type Out, printFields, toJson } from './print.ts';
import type { Site } from './site.ts';

/** Work is refused below this (design §11), bytes. */
const FREE_BYTES_MIN = 512 * 1024 * 1024;
const FREE_BYTES_LOW = 4 * FREE_BYTES_MIN;
/** A stream this full is told: at 100 % it refuses mail, or drops its oldest. */
const FULL_PART = 0.8;

/** `fail`: mail waits or may be lost until someone acts. `warn`: someone should look. */
export type Check = {
  readonly what: string;
  readonly level: 'ok' | 'warn' | 'fail';
  readonly text: string;
};

export const register: Register = (program, run) => {
  program
    .command('doctor')
    .description('check the running site')
    .option('--rebuild', 'fold the projections again from the ledger; the node must be stopped')
    .action((flags: { rebuild?: boolean }) =>
      run((c) => (flags.rebuild === true ? rebuildAll(c) : check(c))),
    );
};

async function check(context: Context): Promise<ExitCode> {
  const config = await context.config();
  const checks = await context.withSite(async (site) => [
    versions(site, config.durability),
    await guarded('disk', () => disk(config.data)),
    ...(await guardedAll('streams', () => streams(site))),
    await guarded('parked', () => parked(site)),
    ...(await guardedAll('node', () => node(site))),
  ]);
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

/** A check that cannot be made is a failed check, and does not hide the others. */
async function guarded(what: string, make: () => Promise<Check>): Promise<Check> {
  return (await guardedAll(what, async () => [await make()]))[0] ?? fail(what, 'no answer');
}

async function guardedAll(
  what: string,
  make: () => Promise<readonly Check[]>,
): Promise<readonly Check[]> {
  try {
    return await make();
  } catch (error) {
    return [fail(what, textOf(error))];
  }
}

const ok = (what: string, text: string): Check => ({ what, level: 'ok', text });
const warn = (what: string, text: string): Check => ({ what, level: 'warn', text });
const fail = (what: string, text: string): Check => ({ what, level: 'fail', text });

function versions({ nats }: Site, durability: 'strict' | 'relaxed'): Check {
  const { version, cluster } = nats.server;
  const text = `Node ${process.versions.node}, nats-server ${version}`;
  try {
    checkVersion(version, { durability, isCluster: cluster !== undefined });
    return ok('versions', text);
  } catch (error) {
    return fail('versions', `${text}: ${textOf(error)}`);
  }
}

async function disk(data: string): Promise<Check> {
  const { bavail, bsize } = await statfs(data);
  const free = bavail * bsize;
  const text = `${bytesText(free)} free under ${data}`;
  if (free < FREE_BYTES_MIN) return fail('disk', `${text}: new work is refused; make room`);
  return free < FREE_BYTES_LOW ? warn('disk', `${text}: make room soon`) : ok('disk', text);
}

async function streams({ nats }: Site): Promise<readonly Check[]> {
  const { streams: all, drift } = await streamStates(nats);
  const full = all.filter(({ bytes, bytesMax }) => bytesMax > 0 && bytes > FULL_PART * bytesMax);
  return [
    ok('streams', `${all.length} present, ${bytesText(all.reduce((n, s) => n + s.bytes, 0))}`),
    ...drift.map(({ stream, setting, stated, is }) =>
      is === undefined && setting === 'stream'
        ? fail('streams', `${stream} is missing: restart the node, which makes it`)
        : warn(
            'streams',
            `${stream}: ${setting} is ${JSON.stringify(is)}, not ${JSON.stringify(stated)}`,
          ),
    ),
    ...full.map(({ name, bytes, bytesMax }) => {
      const percent = Math.floor((100 * bytes) / bytesMax);
      return warn('streams', `${name} is ${percent} % full (${bytesText(bytesMax)})`);
    }),
  ];
}

async function parked({ nats }: Site): Promise<Check> {
  const counts = [...(await parkedCounts(nats))];
  if (counts.length === 0) return ok('parked', 'nothing');
  const text = counts.map(([where, count]) => `${count} by ${where}`).join(', ');
  return warn('parked', `${text}: see troupe queue ls --parked`);
}

async function node(site: Site): Promise<readonly Check[]> {
  const answer = await site.request(inspectNode(null), undefined);
  const { node: name, blocked, problems } = nodeFacts(answer);
  return [
    ok('node', `${name} answers`),
    ...blocked.map((list) => fail('lists', `${list} is blocked: see troupe inspect list ${list}`)),
    ...problems.map((problem) => warn('node', problem)),
  ];
}

/** What is read of a node's answer; a newer node may say more. */
export function nodeFacts(answer: unknown): {
  readonly node: string;
  readonly blocked: readonly string[];
  readonly problems: readonly string[];
} {
  const fields = (typeof answer === 'object' && answer !== null ? answer : {}) as {
    readonly [field in 'node' | 'blocked' | 'problems']?: unknown;
  };
  return {
    node: typeof fields.node === 'string' ? fields.node : 'a node',
    blocked: strings(fields.blocked),
    problems: strings(fields.problems),
  };
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
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
